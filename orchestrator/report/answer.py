"""The answer of a run in a few sentences: what is fastest, what tuning gave, whether all computed the same, caveats."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orchestrator.analysis import comparison
from orchestrator.analysis.noise import NoiseFloors
from orchestrator.analysis.ranks import Ranking, rankings
from orchestrator.analysis.ratios import TimedRun
from orchestrator.analysis.stats import ENOUGH_REPEATS
from orchestrator.analysis.timed import timed_run
from orchestrator.errors import SpecError
from orchestrator.records.stored import StoredRun
from orchestrator.report.next_step import next_step
from orchestrator.report.studies.section import Section
from orchestrator.report.tables import SummaryRow, groups
from orchestrator.report.text import figures3, listed, tiny
from orchestrator.trial import ORACLE, Cell, Turn

FEWEST_PAIRS = 2
"""One pair says nothing about the scatter; then there is no sentence."""

SENTENCES = 3
"""Of one line of the answer; more is in the sections below it."""


@dataclass(frozen=True)
class AnswerLine:
    """One question and what the run says to it."""

    question: str
    sentences: Sequence[str]


def answer(
    stored: StoredRun,
    rows: Sequence[SummaryRow],
    ranking: Mapping[Cell, Ranking],
    floors: NoiseFloors,
    sections: Sequence[Section],
    caveats: Sequence[str],
) -> list[AnswerLine]:
    """What a reader should know first, at most three sentences to each question.

    rows, ranking: of the run; sections: of its studies; caveats: all of them.
    """
    lines = [
        AnswerLine("Was the machine quiet?", unquiet(rows)),
        AnswerLine("What is fastest?", _fastest(stored, rows, ranking, floors, sections)),
        AnswerLine("What did tuning give?", _tuning(sections)),
        AnswerLine("Do all compute the same?", _same(stored, rows)),
        AnswerLine("What limits these numbers?", _first(caveats) or ["Nothing that waymark looks for was found."]),
        AnswerLine("What to run next?", [said] if (said := next_step(stored, rows)) else []),
    ]
    return [line for line in lines if line.sentences]


def unquiet(rows: Sequence[SummaryRow]) -> list[str]:
    """Which rows stand in no order because others worked beside them, or nobody knows whether; [] if none."""
    timed = [row for row in rows if row.load and row.key.framework != ORACLE]
    disturbed = sorted((row for row in timed if row.load == "disturbed"), key=lambda row: -(row.foreign_percent or 0.0))
    unknown = [row.name for row in timed if row.load == "unknown"]
    said = []
    if disturbed:
        names = [f"{row.name}{_share(row.foreign_percent)}" for row in disturbed]
        said.append(
            f"No. Other processes used the processors of {len(disturbed)} of {len(timed)} rows while they were timed, "
            f"so these stand in no order: {listed(names)}."
        )
    if unknown:
        said.append(
            f"{'Of others' if disturbed else 'That'} is not known of {len(unknown)} of {len(timed)} rows, whose trials "
            f"were too short to tell or measured no load, so these stand in no order: {listed(unknown)}."
        )
    return said


def _share(percent: float | None) -> str:
    return "" if percent is None else f" ({percent:.0f} %)"


def _fastest(
    stored: StoredRun,
    rows: Sequence[SummaryRow],
    ranking: Mapping[Cell, Ranking],
    floors: NoiseFloors,
    sections: Sequence[Section],
) -> list[str]:
    if stored.facts.compared:
        baseline, candidate = stored.facts.compared
        try:
            judged = comparison.rows(stored, floors)
        except SpecError as error:
            return [str(error)]
        loud = {f"{row.key.framework} {row.cell.title}" for row in rows if row.load in ("disturbed", "unknown")}
        quiet = [row for row in judged if row["cell"] not in loud]
        return _first([f"{row['cell']}: {candidate} beside {baseline} is {row['words']}." for row in quiet])
    if stored.facts.pairs:
        return []  # pairs of builds are what tuning gave
    if len(ranking) > SENTENCES:
        return _leads(ranking)
    if ranking:
        return [f"{_order(cell, rows)}." for cell, rows in ranking.items()]
    studied = [verdict for section in sections if section.anchor == stored.facts.study for verdict in section.verdicts]
    return _first(studied) if studied else _times_alone(rows)


def _leads(rankings_: Mapping[Cell, Ranking]) -> list[str]:
    """In how many cells each subject leads alone."""
    alone: dict[str, int] = {}
    for ranking in rankings_.values():
        if len(ranking.leaders) == 1 and ranking.pairs >= ENOUGH_REPEATS:
            alone[ranking.leaders[0]] = alone.get(ranking.leaders[0], 0) + 1
    said = [
        f"{subject} is the fastest in {count} of {len(rankings_)} cells."
        for subject, count in sorted(alone.items(), key=lambda item: -item[1])
    ]
    open_ = len(rankings_) - sum(alone.values())
    more = [f"In {open_} of {len(rankings_)} cells no subject leads alone; the ranks are below."] if open_ else []
    return [*_first(said, SENTENCES - len(more)), *more]


def _times_alone(rows: Sequence[SummaryRow]) -> list[str]:
    """The steps of each cell from the shortest to the longest, where no order is judged."""
    cells: dict[Cell, list[SummaryRow]] = {}
    for row in rows:
        is_equal = row.cell.scenario is None or row.check == "passed"
        if row.medians.step_ms is not None and row.key.framework != ORACLE and is_equal and row.load == "quiet":
            cells.setdefault(row.cell, []).append(row)
    several = {cell: sorted(rows, key=lambda row: row.medians.step_ms or 0.0) for cell, rows in cells.items()}
    said = [
        f"{cell.label} on the {cell.device.upper()}: a {'query' if cell.scenario else 'step'} takes "
        f"{figures3(rows[0].medians.step_ms)} ms "
        f"({rows[0].subject}) to {figures3(rows[-1].medians.step_ms)} ms ({rows[-1].subject})."
        for cell, rows in several.items()
        if len(rows) > 1
    ]
    if not said:
        is_timed = any(row.medians.step_ms is not None and row.key.framework != ORACLE for row in rows)
        return [] if cells or is_timed else ["No trial was timed."]
    why = f"No order is judged: that takes {ENOUGH_REPEATS} repeats of two frameworks or more, and passed selfchecks."
    return [*_first(said, SENTENCES - 1), why]


def _tuning(sections: Sequence[Section]) -> list[str]:
    for section in sections:
        if section.anchor == "tuning":
            return _first(section.verdicts)
        if section.anchor == "pairs":
            pairs = section.tables[0].rows
            faster = sorted((row for row in pairs if row.get("verdict") == "faster"), key=lambda row: -row["ratio"])
            said = [f"{row['candidate']} is {row['words']} than {row['baseline']} in {row['cell']}." for row in faster]
            return [*_first(said, SENTENCES - 1), f"{len(faster)} of {len(pairs)} rows are shown to be faster."]
    return []


def _same(stored: StoredRun, rows: Sequence[SummaryRow]) -> list[str]:
    ran = [row for row in rows if row.trials]
    passed = [row for row in ran if row.check == "passed"]
    if not ran:
        return []
    off = max((row.parity.get("logits") or 0.0 for row in passed), default=0.0)
    said = f"{len(passed)} of {len(ran)} rows passed their selfcheck"
    said += f"; their logits are within {tiny(off)} of the float64 reference." if passed else "."
    steps = sum(len(job.timeline.audited.steps) for job in stored.trials if job.timeline.audited)
    failed = [row.name for row in ran if row.audit == "failed"]
    missing = [row.name for row in ran if row.audit == "missing"]
    audited = f"All {steps} audited steps of the timed trials are within their bounds."
    if failed or missing:
        audited = f"Audited steps: {len(failed)} rows failed and {len(missing)} are not made yet, of {len(ran)}."
    return [said, *([audited] if steps else [])]


def _first(sentences: Sequence[str], most: int = SENTENCES) -> list[str]:
    """At most so many: the first, and if there are more than that how many."""
    if len(sentences) <= most:
        return list(sentences)
    return [*sentences[: most - 1], f"{len(sentences) - most + 1} more below."]


def ranked(stored: StoredRun, rows: Sequence[SummaryRow], floors: NoiseFloors) -> dict[Cell, Ranking]:
    """The ranking of each cell in which two frameworks or more were timed undisturbed, ended ok and passed their check.

    None for a study, pairs of builds or a comparison, which ask something else. The oracle is left out.
    """
    facts = stored.facts
    if facts.compared or facts.study or facts.pairs:
        return {}
    cells: dict[Cell, dict[str, dict[Turn, TimedRun]]] = {}
    trials = {(group.cell, group.key): group.trials for group in groups(stored)}
    for row in _sound(rows):
        timed = (job for job in trials[row.cell, row.key] if job.timeline.steady_steps.size)
        runs = {job.trial.turn: timed_run(job) for job in timed}
        cells.setdefault(row.cell, {})[row.subject] = runs
    several = {
        cell: subjects
        for cell, subjects in cells.items()
        if len({subject.partition(":")[0] for subject in subjects}) > 1
    }
    known = floors.scatters(
        {(subject.partition(":")[0], cell.device) for cell, subjects in several.items() for subject in subjects}
    )
    return {cell: ranking for cell, ranking in rankings(several, known).items() if ranking.pairs >= FEWEST_PAIRS}


def answers(rows: Sequence[SummaryRow], rankings_: Mapping[Cell, Ranking]) -> list[str]:
    """A sentence for each cell that has a ranking."""
    off = {(row.cell, row.subject): row.parity.get("logits") or 0.0 for row in _sound(rows)}
    return [
        f"{_order(cell, ranking)}; {'both compute' if len(ranking.ranks) == 2 else 'all of them compute'} the same to "
        f"{tiny(max(off[cell, rank.subject] for rank in ranking.ranks))}."
        for cell, ranking in rankings_.items()
    ]


def _sound(rows: Sequence[SummaryRow]) -> list[SummaryRow]:
    return [
        row
        for row in rows
        if row.status == "ok"
        and row.check == "passed"
        and row.medians.step_ms is not None
        and row.load == "quiet"
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
    # Of several leaders, as few pairs leave them, the medians name the first; never one that is surely slower.
    by_time = sorted(ranking.ranks, key=lambda rank: rank.seconds)
    first = min(by_time, key=lambda rank: rank.low)
    others = [rank.subject for rank in by_time if rank is not first]
    pairs = {other: pair for other in others if (pair := ranking.key(first.subject, other))}
    beside = ", ".join(_times(ranking, pair, other) for other, pair in pairs.items())
    counts = {ranking.ratios[pair].pairs for pair in pairs.values()}
    number = " to ".join(str(count) for count in sorted({min(counts), max(counts)}))
    alone = "".join(f", never in a turn with {other}" for other in others if other not in pairs)
    few = "" if is_judged else f" ({ENOUGH_REPEATS} are needed for a verdict)"
    does = "trains" if cell.scenario is None else "runs"
    return f"{first.subject} {does} {where} {beside} in {number} pairs of runs{few}{alone}"


def _times(ranking: Ranking, pair: tuple[str, str], slow: str) -> str:
    """'3.00x as fast as tensorflow:2.21 [2.90, 3.10]'; of few pairs what they range over."""
    ratio, (low, high) = ranking.ratios[pair], ranking.ranges[pair]
    shown = "({:.2f} to {:.2f})"
    if ratio.pairs >= ENOUGH_REPEATS and ratio.low is not None and ratio.high is not None:
        low, high, shown = ratio.low, ratio.high, "[{:.2f}, {:.2f}]"
    effect = ratio.effect
    if pair[0] == slow:
        effect, low, high = 1 / effect, 1 / high, 1 / low
    return f"{effect:.2f}x as fast as {slow} {shown.format(low, high)}"
