"""The findings of the study of 2020, each with what this machine says of it, and how far the orders agree."""

import itertools
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from orchestrator.analysis.contrasts import mean_difference
from orchestrator.analysis.noise import NoiseFloors
from orchestrator.records.stored import StoredRun
from orchestrator.report.studies.determinism import determinism
from orchestrator.report.studies.levels import UNIT_GAIN
from orchestrator.report.studies.loaders import loader_workers
from orchestrator.report.studies.pairs import pairs_section
from orchestrator.report.studies.section import Section, StudyRow, StudyTable
from orchestrator.report.study2020.claims import CLAIMS, Claim, Evidence, Verdict, verdict_of, weighed
from orchestrator.report.study2020.measured import Measured, Place, measured_paper, measured_run
from orchestrator.report.study2020.paper import Tuning, paper
from orchestrator.trial import Study

NOT_MEASURED = "not measured"
SHOWN_COMPARISONS = 4
"""Of a claim with more of them the sentence counts; the table of evidence has them all."""

DECISIVE: tuple[Study, ...] = ("build-flags", "determinism", "loader-workers", "unit-gain")
"""Studies that decide findings of their own."""

Answers = Mapping[Study, StoredRun]
"""The newest run of each of them on this machine."""


ABOUT = (
    "A finding rests on comparisons of times, or of accuracies. It holds if all that were measured surely agree with "
    "it, fails if one surely does not, and is not decided otherwise. Times are compared turn by turn (the runs of one "
    "seed and repeat), three turns at least: 1.11x means that the first takes 1.11 times as long. Accuracies are "
    "compared over frameworks, sizes and devices, and less than half a percentage point counts as no difference. In "
    "95 % of cases all intervals of times hold together, and all of accuracies. The paper's numbers are single runs, "
    "taken as they are. tau is 1 where all pairs of frameworks have the paper's order, and -1 where all are reversed; "
    "its range counts pairs that are not told apart both ways."
)


def findings(stored: StoredRun, answers: Answers, floors: NoiseFloors) -> Section | None:
    """A row for each finding; None if the run decides none of them."""
    ours, theirs = measured_run(stored), measured_paper()
    evidence, printed = weighed(CLAIMS, ours), weighed(CLAIMS, theirs)
    if not any(result.estimate for results in evidence.values() for result in results):
        return None
    has_card = bool(stored.facts.host.gpus)
    rows = [_row(claim, evidence[claim.name], printed[claim.name], has_card) for claim in CLAIMS]
    rows += _of_studies(answers, floors, has_card)
    agreement = _agreement(ours, theirs)
    tables = [
        StudyTable(
            "findings",
            "What the study found, in this run and in the paper's own numbers.",
            {"claim": "finding", "verdict": "here", "paper": "in the paper's numbers", "numbers": "what decides it"},
            rows,
        ),
        StudyTable(
            "evidence",
            "Every comparison that the findings rest on.",
            {
                "claim": "finding",
                "comparison": "comparison",
                "verdict": "agrees",
                "here": "here",
                "paper": "in the paper",
            },
            _evidence_rows(evidence, printed),
            is_detail=True,
        ),
    ]
    if agreement:
        headings = {"cell": "cell", "frameworks": "frameworks", "tau": "Kendall's tau", "tau_low": "from"}
        headings |= {"tau_high": "to", "order": "our order", "order_paper": "the paper's order"}
        tables.append(StudyTable("agreement", "How far our order of speeds is the paper's.", headings, agreement))
    return Section(
        anchor="findings",
        title=f"The study's findings{stored.facts.league_words}",
        about=ABOUT,
        verdicts=(),
        tables=tuple(tables),
        notes=(paper().caution, *paper().errata),
    )


def _row(claim: Claim, evidence: Sequence[Evidence], printed: Sequence[Evidence], has_card: bool) -> StudyRow:
    measured = [result for result in evidence if result.estimate]
    verdict: Verdict = verdict_of(evidence)
    if not measured:
        is_out_of_reach = claim.device == "gpu" and not has_card
        verdict, said = ("not measurable here", "no card") if is_out_of_reach else ("not decided", NOT_MEASURED)
        if all(result.comparison.contrast is None for result in evidence):
            said += f"; accuracies count after the study's {paper().epochs} epochs"
    else:
        said = _said(measured)
    return {
        "name": claim.name,
        "claim": claim.text,
        "verdict": verdict,
        "paper": verdict_of(printed),
        "numbers": said,
    }


def _said(measured: Sequence[Evidence]) -> str:
    if all(result.agrees is None and result.estimate and result.estimate.low is None for result in measured):
        return "single runs order nothing; three turns of each are needed (repeats)"
    if len(measured) <= SHOWN_COMPARISONS:
        return "; ".join(f"{result.comparison.label} {result.words}" for result in measured)
    counts = [(sum(result.agrees is is_so for result in measured), word) for is_so, word in _AGREES]
    shown = ", ".join(f"{count} {word}" for count, word in counts if count)
    against = [result for result in measured if result.agrees is False]
    example = f"; {against[0].comparison.label} {against[0].words}" if against else ""
    return f"of {len(measured)} comparisons {shown}{example}"


_AGREES = ((True, "agree"), (False, "disagree"), (None, "are open"))


def _evidence_rows(
    evidence: Mapping[str, Sequence[Evidence]], printed: Mapping[str, Sequence[Evidence]]
) -> list[StudyRow]:
    words = {True: "yes", False: "no", None: "not decided"}
    return [
        {
            "claim": name,
            "comparison": ours.comparison.label,
            "verdict": words[ours.agrees],
            "here": ours.words,
            "paper": theirs.words,
            "value": ours.estimate.value,
            "low": ours.estimate.low,
            "high": ours.estimate.high,
            "value_paper": theirs.estimate and theirs.estimate.value,
        }
        for name, results in evidence.items()
        for ours, theirs in zip(results, printed[name], strict=True)
        if ours.estimate
    ]


def _agreement(ours: Measured, theirs: Measured) -> list[StudyRow]:
    """A row for each cell in which two frameworks or more are in both; all pairs are judged together."""
    cells: dict[tuple[str, str], list[Place]] = {}
    for place in sorted(ours.seconds):
        if place in theirs.seconds:
            cells.setdefault((place.cell, place.device), []).append(place)
    pairs = [pair for places in cells.values() for pair in itertools.combinations(places, 2)]
    contrasts = [{slow: 1.0, fast: -1.0} for fast, slow in pairs]
    here = dict(zip(pairs, ours.estimates(contrasts), strict=True))
    there = dict(zip(pairs, theirs.estimates(contrasts), strict=True))
    rows: list[StudyRow] = []
    for (cell, device), places in cells.items():
        within = list(itertools.combinations(places, 2))
        if not within:
            continue
        signs = [(here[pair], there[pair]) for pair in within]
        values = [float(np.sign(a.value * b.value)) for a, b in signs if a and b]
        sure = [float(np.sign(a.value * b.value)) if a.is_above(0) is not None else None for a, b in signs if a and b]
        rows.append(
            {
                "cell": f"{cell} {device}",
                "frameworks": len(places),
                "tau": float(np.mean(values)),
                "tau_low": float(np.mean([-1.0 if sign is None else sign for sign in sure])),
                "tau_high": float(np.mean([1.0 if sign is None else sign for sign in sure])),
                "order": _order(ours, places),
                "order_paper": _order(theirs, places),
            }
        )
    return rows


def _order(measured: Measured, places: Sequence[Place]) -> str:
    """'neon 35.5 s, mxnet 39.4 s': by the median seconds of an epoch."""
    medians = {place.framework: float(np.median(list(measured.seconds[place].values()))) for place in places}
    return ", ".join(f"{name} {seconds:.4g} s" for name, seconds in sorted(medians.items(), key=lambda item: item[1]))


def _of_studies(answers: Answers, floors: NoiseFloors, has_card: bool) -> list[StudyRow]:
    """The findings that studies of their own decide: tuning, determinism, loader workers."""
    rows = []
    for tuning in paper().tuning:
        name = f"tuning-{tuning.framework}-{tuning.device}"
        text = f"{tuning.device.upper()}: {tuning.change} makes {tuning.framework} faster, {tuning.words}."
        rows.append(
            _study_row(
                name, text, "build-flags", answers, _tuned(tuning, floors), not has_card and tuning.device == "gpu"
            )
        )
    text = "CPU: training with a fixed seed repeats bit for bit."
    rows.append(_study_row("cpu-repeats", text, "determinism", answers, lambda stored: _repeats(stored, "cpu"), False))
    text = "GPU: training with a fixed seed repeats in no framework."
    rows.append(
        _study_row("gpu-repeats", text, "determinism", answers, lambda stored: _repeats(stored, "gpu"), not has_card)
    )
    text = "PyTorch: loader workers do not pay."
    rows.append(
        _study_row("loader-workers", text, "loader-workers", answers, lambda stored: _loaders(stored, floors), False)
    )
    text = "CNTK: with its own momentum (unit_gain=True) its accuracy suffers."
    rows.append(_study_row("unit-gain", text, "unit-gain", answers, _unit_gain, False))
    # waymark's loop is its clock, so no run of it can hold the framework's own.
    measured = "no run measures it; `python -m benchmarks.adapter_pairs cntk resnet20 32 --own-loop` does"
    text = "CNTK: its own training function is faster than a loop around it."
    rows.append(
        {"name": "own-loop", "claim": text, "verdict": "not decided", "paper": "as stated", "numbers": measured}
    )
    return rows


def _study_row(
    name: str,
    text: str,
    study: Study,
    answers: Answers,
    decide: Callable[[StoredRun], tuple[Verdict, str] | None],
    is_out_of_reach: bool,
) -> StudyRow:
    stored = answers.get(study)
    decision = decide(stored) if stored else None
    if decision and stored:
        verdict, said = decision[0], f"{decision[1]} (run {stored.facts.run_id})"
    else:
        verdict, said = ("not measurable here", "no card") if is_out_of_reach else ("not decided", NOT_MEASURED)
        said += "" if is_out_of_reach else f"; experiments/{study}.json measures it"
    return {"name": name, "claim": text, "verdict": verdict, "paper": "as stated", "numbers": said}


def _tuned(tuning: Tuning, floors: NoiseFloors) -> Callable[[StoredRun], tuple[Verdict, str] | None]:
    """By the best of our pairs that change the same setting, in the cell in which the paper timed it."""

    def decide(stored: StoredRun) -> tuple[Verdict, str] | None:
        section = pairs_section(stored, floors)
        rows = [row for row in section.tables[0].rows if row["paper_ratio"]] if section else []
        here = [row for row in rows if (row["baseline"], row["candidate"]) in tuning.pairs and row.get("ratio")]
        if not here:
            return None
        best = max(here, key=lambda row: float(row["ratio"]))
        verdicts: dict[str, Verdict] = {"faster": "holds", "slower": "fails", "same": "fails"}
        return verdicts.get(str(best["verdict"]), "not decided"), f"{best['candidate']} is {best['words']}"

    return decide


def _repeats(stored: StoredRun, device: str) -> tuple[Verdict, str] | None:
    """On the CPU it holds if all grades are bit-exact, on a card if none is; rows with deterministic settings apart."""
    table = determinism(stored).tables[0]
    rows = [
        row
        for row in table.rows
        if row["grade"] and str(row["cell"]).endswith(device) and "deterministic" not in str(row["subject"])
    ]
    if not rows:
        return None
    exact = sum(row["grade"] == "bit-exact" for row in rows)
    expected = len(rows) if device == "cpu" else 0
    return "holds" if exact == expected else "fails", f"{exact} of {len(rows)} rows are bit-exact"


def _unit_gain(stored: StoredRun) -> tuple[Verdict, str] | None:
    """By the test errors of both, seed by seed and cell by cell."""
    errors: dict[str, dict[tuple[str, int], float]] = {}
    for job in stored.trials:
        accuracy = job.timeline.accuracy("test")
        if job.outcome.status == "ok" and accuracy is not None:
            errors.setdefault(UNIT_GAIN.level(job.trial), {})[job.trial.cell.title, job.trial.seed] = 1 - accuracy
    theirs, own = errors.get("unit_gain=False", {}), errors.get("unit_gain=True", {})
    estimate = mean_difference([own[where] - theirs[where] for where in own if where in theirs], family=1)
    if estimate is None:
        return None
    ends = (estimate.value, estimate.low, estimate.high)
    value, low, high = (None if end is None else f"{100 * end:+.2f}" for end in ends)
    said = f"its test error is {value} percentage points" + (f" [{low}, {high}]" if low else "")
    verdicts: dict[bool | None, Verdict] = {True: "holds", False: "fails", None: "not decided"}
    return verdicts[estimate.is_above(0.0)], said


def _loaders(stored: StoredRun, floors: NoiseFloors) -> tuple[Verdict, str] | None:
    """It holds if with workers an epoch is surely no shorter, and fails if with some number it surely is."""
    rows = [
        row
        for row in loader_workers(stored, floors).tables[0].rows
        if str(row["subject"]).startswith("pytorch:") and row["ratio"]
    ]
    if not rows:
        return None
    said = "; ".join(f"{row['workers']} workers take {row['words']}" for row in rows)
    if any(row["high"] and row["high"] < 1 for row in rows):
        return "fails", said
    return "holds" if all(row["low"] and row["low"] > 1 for row in rows) else "not decided", said
