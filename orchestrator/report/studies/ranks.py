"""Which framework is fastest in each cell, with simultaneous intervals of the ranks."""

from collections.abc import Mapping

from orchestrator.analysis.ranks import Ranking
from orchestrator.analysis.stats import ENOUGH_REPEATS
from orchestrator.report.studies.section import Section, StudyTable
from orchestrator.trial import Cell


def ranks_section(rankings: Mapping[Cell, Ranking]) -> Section | None:
    """A row for each subject of a cell with six turns or more; None if there is no such cell: nothing is ordered."""
    judged = {cell: ranking for cell, ranking in rankings.items() if ranking.pairs >= ENOUGH_REPEATS}
    if not judged:
        return None
    rows = [
        {
            "cell": cell.title,
            "subject": rank.subject,
            "rank": str(rank.low) if rank.low == rank.high else f"{rank.low} to {rank.high}",
            "rank_low": rank.low,
            "rank_high": rank.high,
            "step_ms": rank.seconds * 1000,
            "runs": ranking.pairs,
        }
        for cell, ranking in judged.items()
        for rank in ranking.ranks
    ]
    headings = {"cell": "cell", "subject": "subject", "rank": "rank", "step_ms": "step ms", "runs": "pairs of runs"}
    return Section(
        anchor="ranks",
        title="Which is fastest",
        about=(
            "Every two subjects of a cell are compared in pairs of runs that followed each other. A rank lies between "
            "one more than the number of those that are surely faster, and the number of all less those surely slower; "
            "in 95 % of cases all of these intervals hold together. Steps are medians, and order nothing."
        ),
        verdicts=tuple(_sentence(cell, ranking) for cell, ranking in judged.items()),
        tables=(StudyTable("ranks", "The rank of each subject by its speed.", headings, rows),),
    )


def _sentence(cell: Cell, ranking: Ranking) -> str:
    """'ResNet-20@32 cpu: fastest: pytorch:2.13-tuned; not told apart from it: tensorflow:2.21.'"""
    first, *others = sorted(
        (rank for rank in ranking.ranks if rank.low == 1), key=lambda rank: (rank.high, rank.seconds)
    )
    apart = f"; not told apart from it: {', '.join(rank.subject for rank in others)}" if others else ""
    return f"{cell.title}: fastest: {first.subject}{apart}."
