"""The answer of a sweep, one sentence per cell: which framework is fastest, by how much, and how far results agree."""

from orchestrator.analysis.noise import NoiseFloors
from orchestrator.analysis.ranks import Ranking, rankings
from orchestrator.analysis.ratios import TimedRun
from orchestrator.analysis.stats import ENOUGH_REPEATS
from orchestrator.analysis.timed import timed_run
from orchestrator.records.stored import StoredRun
from orchestrator.report.tables import SummaryRow, summary_rows
from orchestrator.report.text import tiny
from orchestrator.trial import ORACLE, Cell, Turn

FEWEST_PAIRS = 2
"""One pair says nothing about the scatter; then there is no sentence."""


def ranked(stored: StoredRun, floors: NoiseFloors) -> dict[Cell, Ranking]:
    """The ranking of each cell in which two frameworks or more were timed, ended ok and passed their selfcheck.

    None for a study, pairs of builds or a comparison, which ask something else. The oracle is left out.
    """
    facts = stored.facts
    if facts.compared or facts.study or facts.pairs:
        return {}
    cells: dict[Cell, dict[str, dict[Turn, TimedRun]]] = {}
    for row in _sound(stored):
        runs = {
            one.trial.turn: timed_run(one)
            for one in stored.trials
            if (one.trial.cell, one.trial.environment_key) == (row.cell, row.key) and one.timeline.steady_steps.size
        }
        cells.setdefault(row.cell, {})[row.subject] = runs
    several = {cell: of for cell, of in cells.items() if len({subject.partition(":")[0] for subject in of}) > 1}
    known = floors.scatters(
        {(subject.partition(":")[0], cell.device) for cell, of in several.items() for subject in of}
    )
    return {cell: found for cell, found in rankings(several, known).items() if found.pairs >= FEWEST_PAIRS}


def answers(stored: StoredRun, floors: NoiseFloors | None = None) -> list[str]:
    """A sentence for each cell that has a ranking."""
    rankings_ = ranked(stored, floors or NoiseFloors())
    off = {(row.cell, row.subject): row.parity.get("logits") or 0.0 for row in _sound(stored)}
    return [
        f"{_order(cell, ranking)}; {'both compute' if len(ranking.ranks) == 2 else 'all of them compute'} the same to "
        f"{tiny(max(off[cell, rank.subject] for rank in ranking.ranks))}."
        for cell, ranking in rankings_.items()
    ]


def _sound(stored: StoredRun) -> list[SummaryRow]:
    return [
        row
        for row in summary_rows(stored)
        if row.status == "ok"
        and row.check == "passed"
        and row.medians.step_ms is not None
        and row.key.framework != ORACLE
    ]


def _order(cell: Cell, ranking: Ranking) -> str:
    """'pytorch:2.13 trains ResNet-20@32 on the CPU 3.00x as fast as tensorflow:2.21 [2.9, 3.1] in 6 pairs of runs'."""
    where, leaders = f"{cell.label} on the {cell.device.upper()}", ranking.leaders
    is_judged = ranking.pairs >= ENOUGH_REPEATS
    if is_judged and len(leaders) > 1:
        others = [rank.subject for rank in ranking.ranks if rank.subject not in leaders]
        behind = f", all before {', '.join(others)}" if others else ""
        return f"{where}: {' and '.join(leaders)} are not told apart in {ranking.pairs} pairs of runs{behind}"
    # One leader has the least rank; of few pairs all ranks are open, and the medians name the first.
    first, *rest = sorted(ranking.ranks, key=lambda rank: (rank.low, rank.seconds))
    beside = ", ".join(_times(ranking, first.subject, rank.subject) for rank in rest)
    few = "" if is_judged else f" ({ENOUGH_REPEATS} are needed for a verdict)"
    return f"{first.subject} trains {where} {beside} in {ranking.pairs} pairs of runs{few}"


def _times(ranking: Ranking, fast: str, slow: str) -> str:
    """'3.00x as fast as tensorflow:2.21 [2.90, 3.10]'; of few pairs what they range over."""
    is_turned = (fast, slow) not in ranking.ratios
    pair = (slow, fast) if is_turned else (fast, slow)
    ratio, (low, high) = ranking.ratios[pair], ranking.ranges[pair]
    shown = "({:.2f} to {:.2f})"
    if ratio.pairs >= ENOUGH_REPEATS and ratio.low is not None and ratio.high is not None:
        low, high, shown = ratio.low, ratio.high, "[{:.2f}, {:.2f}]"
    effect = ratio.effect
    if is_turned:
        effect, low, high = 1 / effect, 1 / high, 1 / low
    return f"{effect:.2f}x as fast as {slow} {shown.format(low, high)}"
