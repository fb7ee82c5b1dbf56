"""The answer of a sweep, one sentence per cell: which framework is fastest, by how much, and how far results agree."""

from collections.abc import Mapping, Sequence

from orchestrator.analysis import stats
from orchestrator.records.stored import StoredRun, StoredTrial
from orchestrator.report.tables import SummaryRow, summary_rows
from orchestrator.report.text import tiny
from orchestrator.trial import ORACLE, Cell

FEWEST_PAIRS = 2
"""An interval needs two. A verdict needs more (stats.ENOUGH_REPEATS); the sentence says so if there are fewer."""


def answers(stored: StoredRun) -> list[str]:
    """A sentence for each cell in which two frameworks or more were timed, ended ok and passed their selfcheck.

    None for a study, pairs of builds or a comparison, which ask something else. The oracle is left out.
    """
    facts = stored.facts
    if facts.compared or facts.study or facts.pairs:
        return []
    cells: dict[Cell, list[SummaryRow]] = {}
    for row in summary_rows(stored):
        is_sound = row.status == "ok" and row.check == "passed" and row.medians.step_ms is not None
        if is_sound and row.key.framework != ORACLE:
            cells.setdefault(row.cell, []).append(row)
    said = [_sentence(cell, rows, stored) for cell, rows in cells.items()]
    return [sentence for sentence in said if sentence]


def _sentence(cell: Cell, rows: Sequence[SummaryRow], stored: StoredRun) -> str:
    ranked = sorted(rows, key=lambda row: row.medians.step_ms or 0.0)
    if len({row.key.framework for row in ranked}) < 2:
        return ""
    fastest, *others = ranked
    ratios = [(row, _ratio(_steps(stored, fastest), _steps(stored, row))) for row in others]
    told = [(row, ratio) for row, ratio in ratios if ratio is not None and ratio.pairs >= FEWEST_PAIRS]
    if not told:
        return ""
    beside = ", ".join(f"{r.effect:.2f}x as fast as {row.subject} [{r.low:.2f}, {r.high:.2f}]" for row, r in told)
    pairs = min(ratio.pairs for _, ratio in told)
    few = f"; {stats.ENOUGH_REPEATS} are needed for a verdict" if pairs < stats.ENOUGH_REPEATS else ""
    off = max((row.parity.get("logits") or 0.0) for row in (fastest, *(row for row, _ in told)))
    who = "both compute" if len(told) == 1 else "all of them compute"
    return (
        f"{fastest.subject} trains {cell.label} on the {cell.device.upper()} {beside} "
        f"({pairs} pairs of runs{few}); {who} the same to {tiny(off)}."
    )


def _steps(stored: StoredRun, row: SummaryRow) -> Mapping[tuple[int, int], StoredTrial]:
    """The trials of a row by seed and repeat; two rows' trials of the same seed and repeat ran next to each other."""
    return {
        (one.trial.seed, one.trial.repeat): one
        for one in stored.trials
        if (one.trial.cell, one.trial.environment_key) == (row.cell, row.key) and one.timeline.steady_steps.size
    }


def _ratio(
    ours: Mapping[tuple[int, int], StoredTrial], theirs: Mapping[tuple[int, int], StoredTrial]
) -> stats.Ratio | None:
    common = [turn for turn in ours if turn in theirs]
    if not common:
        return None
    a, b = ([side[turn].timeline.steady_steps for turn in common] for side in (ours, theirs))
    return stats.paired_ratio(a, b)
