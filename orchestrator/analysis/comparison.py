"""Comparison of two builds: pairs of trials with the same question, their ratio with its interval, and a verdict.

A pair is two fresh processes. Two variants of one run ran one after the other; trials of two runs did not.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from orchestrator.analysis import stats
from orchestrator.environment import Device
from orchestrator.errors import SpecError, StoreError
from orchestrator.records.host_facts import RecordedHost
from orchestrator.records.store import Store
from orchestrator.records.stored import StoredRun, StoredTrial
from orchestrator.trial import Cell, SubjectPair, Trial

PairedSteps = tuple[list[stats.Array], list[stats.Array]]
"""Steady steps of the baseline's and of the candidate's runs, pair by pair, in seconds."""

MEAN = "geometric mean"


class CellKey(NamedTuple):
    """What is compared: one framework in one cell."""

    framework: str
    cell: Cell

    @property
    def label(self) -> str:
        """'mxnet ResNet-20@32 cpu'."""
        return f"{self.framework} {self.cell.title}"


@dataclass(frozen=True)
class NoiseFloor:
    """How far noise alone moves a comparison: a factor, and the A/A control that it was measured with."""

    factor: float
    run_id: str


@dataclass(frozen=True)
class NoiseFloors:
    """The noise floors of one machine, by framework and device, because frameworks differ in their noise."""

    controls: Mapping[tuple[str, Device], NoiseFloor] = field(default_factory=dict)

    def of(self, framework: str, device: Device) -> NoiseFloor | None:
        """That of the framework; without one, the largest of the other frameworks on that device; None without any."""
        own = self.controls.get((framework, device))
        return own or _largest(floor for (_, where), floor in self.controls.items() if where == device)

    def factor(self, trial: Trial) -> float:
        """The factor that a ratio of such trials must exceed; 1 if no noise floor is known."""
        found = self.of(trial.framework, trial.device)
        return found.factor if found else 1.0

    def words(self, trials: Iterable[StoredTrial]) -> str:
        """A sentence with the noise floor of each of their frameworks and devices, and the control that it is from."""
        if not self.controls:
            return "No A/A control of this machine is on record (compare a build with itself): its noise is not known."
        said = []
        for framework, device in sorted({(one.trial.framework, one.trial.device) for one in trials}):
            floor = self.of(framework, device)
            borrowed = "" if (framework, device) in self.controls else ", another framework's control"
            known = f"{floor.factor:.3f}x, from {floor.run_id}{borrowed}" if floor else "not known (no control)"
            said.append(f"{framework} {device} {known}")
        return f"Noise floor of this machine: {'; '.join(said)}."


class Measured(NamedTuple):
    """The ratio of one cell or of the mean, and the noise floor that it must exceed."""

    cell: str
    ratio: stats.Ratio
    floor: NoiseFloor | None


def variants_of(stored: StoredRun, baseline: str, candidate: str) -> dict[CellKey, PairedSteps]:
    """Pairs of two subjects of one run, by cell; of one subject with itself, each repeat with the next (AB, BA ...).

    Raises SpecError if there are none, or if one of their trials did not end ok and verified.
    """
    return _of_subjects(stored.trials, baseline, candidate)


def _of_subjects(trials: Iterable[StoredTrial], baseline: str, candidate: str) -> dict[CellKey, PairedSteps]:
    trials = _sound(one for one in trials if one.trial.subject in (baseline, candidate))
    if baseline == candidate:
        # the two sides alternate from pair to pair, so that a drift of the machine affects both equally
        sides = [[one for one in trials if (one.trial.repeat + one.trial.repeat // 2) % 2 == side] for side in (0, 1)]
        return _joined(*({_paired_key(one, one.trial.repeat // 2): one for one in side} for side in sides))
    sides = [[one for one in trials if one.trial.subject == subject] for subject in (baseline, candidate)]
    return _joined(*({one.trial.key: one for one in side} for side in sides))


def runs_of(baseline: StoredRun, candidate: StoredRun) -> dict[CellKey, PairedSteps]:
    """Pairs of two runs, by cell: trials that answer the same question, one of each.

    Raises SpecError if they ran on different machines, share no question, or hold several variants of one framework.
    """
    if not baseline.facts.host.is_same_machine(candidate.facts.host):
        raise SpecError(
            f"{baseline.facts.run_id} and {candidate.facts.run_id} ran on different machines; their times say nothing "
            "of each other."
        )
    sides = []
    for run in (baseline, candidate):
        by_key = {one.trial.key: one for one in _sound(run.trials)}
        if len(by_key) < len(run.trials):
            raise SpecError(
                f"{run.facts.run_id} holds several variants that answer one question; compare them by name, "
                "for example: invoke compare mxnet:1.5 mxnet:1.5-mkl"
            )
        sides.append(by_key)
    return _joined(*sides)


def rows(cells: Mapping[CellKey, PairedSteps], floors: NoiseFloors) -> list[dict[str, object]]:
    """One row per cell, and their geometric mean if there are several: how many times as fast the candidate is."""
    judged = _judged([_measured(key.label, key, runs, floors) for key, runs in cells.items()])
    return judged + (_judged([_mean(cells, floors)]) if len(cells) > 1 else [])


def family(stored: StoredRun, pairs: Sequence[SubjectPair], floors: NoiseFloors) -> list[dict[str, object]]:
    """The rows of several pairs of subjects of one run, cell by cell, and each pair's geometric mean.

    All pairs and cells are judged as one family, the means as another. A pair that cannot be compared in a cell, or did
    not run at all, is a row with the reason.
    """
    found: dict[SubjectPair, dict[CellKey, PairedSteps]] = {}
    rows: dict[tuple[SubjectPair, str], dict[str, object]] = {}
    for pair in pairs:
        found[pair] = {}
        for cell, trials in _by_cell(stored, pair).items():
            try:
                found[pair] |= _side_by_side(stored, trials, pair)
            except SpecError as error:
                rows[pair, cell] = _no_row(cell, str(error))
    timed = [
        (pair, _measured(key.cell.title, key, runs, floors))
        for pair, cells in found.items()
        for key, runs in cells.items()
    ]
    means = [(pair, _mean(cells, floors)) for pair, cells in found.items() if len(cells) > 1]
    for members in (timed, means):
        judged = _judged([measured for _, measured in members])
        rows |= {(pair, one.cell): row for (pair, one), row in zip(members, judged, strict=True)}
    return [
        {"baseline": pair[0], "candidate": pair[1], **row}
        for pair in pairs
        for (of, _), row in rows.items()
        if of == pair
    ]


def _judged(members: Sequence[Measured]) -> list[dict[str, object]]:
    """A row for each; together they are one family of tests."""
    factors = [one.floor.factor if one.floor else 1.0 for one in members]
    verdicts = stats.verdicts([one.ratio for one in members], factors)
    return [_row(one, verdict) for one, verdict in zip(members, verdicts, strict=True)]


def _measured(cell: str, key: CellKey, runs: PairedSteps, floors: NoiseFloors) -> Measured:
    baseline, candidate = runs
    return Measured(cell, stats.paired_ratio(candidate, baseline), floors.of(key.framework, key.cell.device))


def _mean(cells: Mapping[CellKey, PairedSteps], floors: NoiseFloors) -> Measured:
    ratio = stats.geometric_mean([(candidate, baseline) for baseline, candidate in cells.values()])
    return Measured(MEAN, ratio, _largest(floors.of(key.framework, key.cell.device) for key in cells))


def _largest(floors: Iterable[NoiseFloor | None]) -> NoiseFloor | None:
    return max((floor for floor in floors if floor), key=lambda floor: floor.factor, default=None)


def _by_cell(stored: StoredRun, pair: SubjectPair) -> dict[str, list[StoredTrial]]:
    """The trials of both subjects, by cell and device; 'all' without any if neither has one."""
    cells: dict[str, list[StoredTrial]] = {}
    for one in stored.trials:
        if one.trial.subject in pair:
            cells.setdefault(one.trial.cell.title, []).append(one)
    return cells or {"all": []}


def _side_by_side(stored: StoredRun, trials: Sequence[StoredTrial], pair: SubjectPair) -> dict[CellKey, PairedSteps]:
    """The pairs of one cell. Raises SpecError if a subject has no trial in it, or one that cannot be compared."""
    absent = [subject for subject in pair if all(one.trial.subject != subject for one in trials)]
    if absent:
        reasons = {skip.key.subject: skip.reason for skip in stored.facts.skips}
        raise SpecError(f"{absent[0]} did not run{': ' if absent[0] in reasons else ''}{reasons.get(absent[0], '')}")
    return _of_subjects(trials, *pair)


def _row(measured: Measured, verdict: stats.Verdict) -> dict[str, object]:
    cell, ratio, floor = measured
    return {
        "cell": cell,
        "verdict": verdict,
        "words": words(ratio, verdict),
        "ratio": ratio.effect,
        "low": ratio.low,
        "high": ratio.high,
        "pairs": ratio.pairs,
        "p": ratio.p,
        "noise_floor": floor.factor if floor else None,
    }


def _no_row(cell: str, reason: str) -> dict[str, object]:
    blank = dict.fromkeys(("verdict", "ratio", "low", "high", "p", "noise_floor"))
    return {"cell": cell, "words": f"not compared: {reason}", "pairs": 0, **blank}


def words(ratio: stats.Ratio, verdict: stats.Verdict) -> str:
    """'1.93x faster [1.88, 1.98]': the verdict with its numbers."""
    if verdict == "faster":
        return f"{ratio.effect:.2f}x faster [{ratio.low:.2f}, {ratio.high:.2f}]"
    if verdict == "slower":
        return f"{1 / ratio.effect:.2f}x slower [{1 / ratio.high:.2f}, {1 / ratio.low:.2f}]"
    interval = f"{ratio.effect:.3f} [{ratio.low:.3f}, {ratio.high:.3f}]"
    if verdict == "same":
        return f"the same within 2 %: {interval}"
    if ratio.pairs < stats.ENOUGH_REPEATS:
        return f"no verdict from fewer than {stats.ENOUGH_REPEATS} pairs: {interval}"
    return f"no difference shown: {interval}"


def noise_floors(store: Store, host: RecordedHost) -> NoiseFloors:
    """Noise floors by framework and device: of the newest A/A control here with enough pairs, its noisiest cell."""
    controls: dict[tuple[str, Device], NoiseFloor] = {}
    for run in store.runs():
        if not run.compared or run.compared[0] != run.compared[1] or not run.host.is_same_machine(host):
            continue
        try:
            cells = variants_of(store.run(run.run_id), *run.compared)
        except (SpecError, StoreError):  # it was stopped, failed or is damaged, so it is no control
            continue
        first = next(iter(cells))
        framework, device = first.framework, first.cell.device
        is_rough = min(len(baseline) for baseline, _ in cells.values()) < stats.ENOUGH_REPEATS
        if not is_rough and (framework, device) not in controls:
            factor = max(stats.noise_floor(*pairs) for pairs in cells.values())
            controls[framework, device] = NoiseFloor(factor, run.run_id)
    return NoiseFloors(controls)


def _sound(trials: Iterable[StoredTrial]) -> Sequence[StoredTrial]:
    """The trials, all of them ok, verified and steady. Raises SpecError, naming the first that is not."""
    found = list(trials)
    for one in found:
        if one.outcome.status != "ok":
            why = f"ended {one.outcome.status} ({one.outcome.reason})"
        elif one.record.is_unverified:
            why = "ran without a passing selfcheck, so it may have computed something else"
        elif not one.timeline.steady_steps.size:
            why = "has no step after its warm-up; use more epochs or pictures"
        else:
            continue
        raise SpecError(f"{one.trial.label} {why}; there is nothing to compare.")
    return found


def _paired_key(one: StoredTrial, pair: int) -> str:
    return one.trial.model_copy(update={"repeat": pair}).key


def _joined(baseline: Mapping[str, StoredTrial], candidate: Mapping[str, StoredTrial]) -> dict[CellKey, PairedSteps]:
    """Trials with the same question, paired, by cell. Raises SpecError if there are none."""
    cells: dict[CellKey, PairedSteps] = {}
    for key in (key for key in baseline if key in candidate):
        left, right = baseline[key], candidate[key]
        pairs = cells.setdefault(CellKey(left.trial.framework, left.trial.cell), ([], []))
        pairs[0].append(left.timeline.steady_steps)
        pairs[1].append(right.timeline.steady_steps)
    if not cells:
        raise SpecError(
            "they answer no common question: networks, sizes, data, training, measure and threads all count."
        )
    return cells
