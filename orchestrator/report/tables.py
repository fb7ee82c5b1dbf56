"""A run as rows: one per subject and cell, one per trial, one per parity figure.

Names end with the unit: _s seconds, _ms milliseconds; accuracies and `spread` are shares of 1. None means not known.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from orchestrator.analysis import stats
from orchestrator.analysis.utilisation import (
    Quietness,
    Utilisation,
    pooled_foreign_percent,
    quietness,
    throttled,
    utilisation,
)
from orchestrator.environment import EnvironmentKey
from orchestrator.networks import label_at
from orchestrator.records.job import CheckRequest
from orchestrator.records.payloads import Check, Queries
from orchestrator.records.run_folder import Skip
from orchestrator.records.stored import CheckSubject, StoredCheck, StoredRun, StoredTrial
from orchestrator.trial import Cell, Inference
from workers.bounds import bounds

AUDIT_FIGURES = tuple(bounds("audit"))
"""Of workers/jobs/audit.py: how far the audited steps are from the oracle's."""

FlatRow = dict[str, Any]
"""One line of a CSV file: values by the name of their column."""


class TrialNumbers(NamedTuple):
    """Everything that is measured in one trial, or the medians of several; None where the trial ended before it.

    step_*, steps, outliers: steps after the warm-up. epoch_s: epochs after the first, if any.
    images_per_second: of a training the batch over the median step, without input. epoch_images_per_second: the
    pictures of an epoch over all of its time, input and slow steps too; of a network that is run, in scenario
    `offline`, the pictures of all queries over their time. Other scenarios have no such number.
    evaluate_s: one pass over the validation pictures. start_s: from the launch to the start of the worker's code.
    place_ms: placing one batch, timed separately after the training.
    """

    accuracy_test: float | None = None
    accuracy_valid: float | None = None
    step_ms: float | None = None
    step_p05_ms: float | None = None
    step_p95_ms: float | None = None
    steps: float | None = None
    outliers: float | None = None
    images_per_second: float | None = None
    epoch_images_per_second: float | None = None
    input_ms: float | None = None
    place_ms: float | None = None
    first_step_s: float | None = None
    epoch_s: float | None = None
    evaluate_s: float | None = None
    start_s: float | None = None
    import_s: float | None = None
    build_s: float | None = None
    data_s: float | None = None
    total_s: float | None = None
    wall_s: float | None = None


class Group(NamedTuple):
    """All trials of one subject in one cell; a skipped cell has a skip instead of trials."""

    cell: Cell
    key: EnvironmentKey
    trials: tuple[StoredTrial, ...] = ()
    skip: Skip | None = None

    @property
    def subject(self) -> str:
        """'pytorch:2.13'."""
        return self.key.subject if self.key.variant else self.key.framework

    @property
    def ok(self) -> tuple[StoredTrial, ...]:
        """The trials that ended ok; only their numbers are used."""
        return tuple(trial for trial in self.trials if trial.outcome.status == "ok")


@dataclass(frozen=True)
class SummaryRow:
    """One subject in one cell: how it ended, medians over the trials that ended ok, parity figures.

    status:   'ok' if every trial is; else that of the first that is not, with its fault and reason; or 'skipped'.
    trials, ok: how many there are, and how many ended ok.
    check:    'passed', 'failed' or 'missing' selfcheck; of an inference that of its own logits, 'less than float32' if
              it says that it computes so; '' for a skip.
    spread:   of the median steps of the repeats, (high - low) / median; of their epochs where all steps are warm-up.
    throttled: why the card's clock was reduced -> share of all samples.
    foreign_percent: of all its timed trials together, the share of their processors' time that others used.
    load:     what that means: 'quiet', 'disturbed' or 'unknown'; 'disturbed', too, if that is why none ended ok; '' if
              nothing was timed.
    parity:   the check's figures, largest differences from numpy_ref.
    audit:    'passed' or 'failed' audits, 'missing' if one was not made; '' where no step was kept for one.
    audited:  the audits' figures, the largest over all trials.
    """

    cell: Cell
    subject: str
    key: EnvironmentKey
    status: str
    fault: str
    reason: str
    trials: int
    ok: int
    check: str
    spread: float | None
    accuracy_test_low: float | None
    accuracy_test_high: float | None
    medians: TrialNumbers
    utilisation: Utilisation
    throttled: Mapping[str, float]
    foreign_percent: float | None
    load: Quietness | Literal[""]
    parity: Mapping[str, float | None]
    audit: str
    audited: Mapping[str, float]

    @property
    def name(self) -> str:
        """'pytorch:2.13 ResNet-20@32 cpu'."""
        return f"{self.subject} {self.cell.title}"

    def flat(self) -> FlatRow:
        """The row for `--json` and for tables on the console."""
        has_run = self.trials > 0
        return {
            "device": self.cell.device,
            "cell": self.cell.label,
            "subject": self.subject,
            "framework": self.key.framework,
            "variant": self.key.variant,
            "model": self.cell.model.label if has_run else None,
            "input_size": self.cell.input_size.word if has_run else None,
            "status": self.status,
            "fault": self.fault,
            "reason": self.reason,
            "trials": self.trials,
            "ok": self.ok,
            "verified": self.check == "passed",
            "check": self.check,
            "spread": self.spread,
            "accuracy_test_low": self.accuracy_test_low,
            "accuracy_test_high": self.accuracy_test_high,
            **self.medians._asdict(),
            **self.utilisation._asdict(),
            "foreign_percent": self.foreign_percent,
            "load": self.load,
            "card_throttled": dict(self.throttled),
            **{f"parity_{name}": value for name, value in self.parity.items()},
            "audit": self.audit,
            **{f"audit_{name}": value for name, value in self.audited.items()},
        }


def groups(stored: StoredRun) -> list[Group]:
    """Every cell of the run, also skipped ones, by device, cell and subject; the order is no ranking."""
    members: dict[tuple[Cell, EnvironmentKey], list[StoredTrial]] = {}
    for job in stored.trials:
        members.setdefault((job.trial.cell, job.trial.environment_key), []).append(job)
    made = [Group(*where, trials=tuple(trials)) for where, trials in members.items()]
    skips = {(skip.cell, skip.key): skip for skip in stored.facts.skips}
    made += [Group(*where, skip=skip) for where, skip in skips.items() if where not in members]
    return sorted(made, key=_reading_order)


def _reading_order(group: Group) -> list[tuple[int, int, str]]:
    return natural(f"{group.cell.device} {group.cell.label} {group.key.framework} {group.key.variant}")


def summary_rows(stored: StoredRun) -> list[SummaryRow]:
    """One row per subject and cell."""
    return [_summary(group, stored) for group in groups(stored)]


def _summary(group: Group, stored: StoredRun) -> SummaryRow:
    bad = next((trial.outcome for trial in group.trials if trial.outcome.status != "ok"), None)
    measured = [trial_numbers(trial) for trial in group.ok]
    used = [utilisation(trial.samples, trial.timeline) for trial in group.ok]
    steps = stats.repeats(_known(row.step_ms for row in measured))
    steps = steps or stats.repeats(_known(row.epoch_s for row in measured))
    tests = stats.repeats(_known(row.accuracy_test for row in measured))
    checks = checks_of(group, stored)
    own = [job.timeline.check for job in group.ok if job.trial.inference and job.timeline.check]
    timed = group.ok or tuple(job for job in group.trials if job.outcome.status == "disturbed")
    foreign = pooled_foreign_percent((job.samples, job.timeline) for job in timed)
    return SummaryRow(
        cell=group.cell,
        subject=group.subject,
        key=group.key,
        status="skipped" if group.skip else bad.status if bad else "ok",
        fault=bad.fault if bad else "none",
        reason=group.skip.reason if group.skip else bad.reason if bad else "",
        trials=len(group.trials),
        ok=len(group.ok),
        check="" if group.skip else _own_check_word(own) if own else _check_word(checks),
        spread=steps.spread if steps and steps.count > 1 else None,
        accuracy_test_low=tests.low if tests else None,
        accuracy_test_high=tests.high if tests else None,
        medians=TrialNumbers(*(_middle(_known(values)) for values in zip(*measured, strict=True))),
        utilisation=Utilisation(*(_middle(_known(values)) for values in zip(*used, strict=True))),
        throttled=throttled([sample for trial in group.ok for sample in trial.samples]),
        foreign_percent=foreign,
        load="" if not timed else quietness(foreign) if group.ok else "disturbed",
        parity={name: value for check in checks for name, value in _figures_of(check).items()} or _largest(own),
        audit=_audit_word(group, stored),
        audited=_audited(group, stored),
    )


def _check_word(checks: Sequence[StoredCheck]) -> str:
    if not checks:
        return "missing"
    words = {_verdict(check) for check in checks}
    return next(word for word in ("failed", "unsupported", "passed") if word in words)


def _verdict(check: StoredCheck) -> str:
    """A framework that cannot do an op of the network is 'unsupported', which is no failure."""
    failed = "unsupported" if check.outcome.status == "unsupported" else "failed"
    return "passed" if check.passed else failed


def _own_check_word(checks: Sequence[Check]) -> str:
    """Of an inference that ended ok: a float32 trial beyond the bound never does; one not passed computes in less."""
    return "passed" if all(check.passed for check in checks) else "less than float32"


def _largest(checks: Sequence[Check]) -> dict[str, float | None]:
    """Each figure of these checks, the largest; None if one is not finite."""
    largest: dict[str, float | None] = {}
    for name in dict.fromkeys(name for check in checks for name in check.figures):
        values = [check.figures.get(name) for check in checks]
        known = [value for value in values if value is not None]
        largest[name] = max(known) if len(known) == len(values) else None
    return largest


def _figures_of(check: StoredCheck) -> Mapping[str, float | None]:
    return check.timeline.check.figures if check.timeline.check else {}


def _audit_word(group: Group, stored: StoredRun) -> str:
    audits = [stored.audit_of(trial) for trial in group.trials if trial.timeline.audited]
    if any(audit and not audit.passed for audit in audits):
        return "failed"
    return "missing" if None in audits else "passed" if audits else ""


def _audited(group: Group, stored: StoredRun) -> dict[str, float]:
    largest: dict[str, float] = {}
    for trial in group.trials:
        audit = stored.audit_of(trial)
        figures = audit.timeline.check.figures if audit and audit.timeline.check else {}
        for name, value in figures.items():
            largest[name] = max(largest.get(name, 0.0), math.inf if value is None else value)
    return {name: value for name, value in largest.items() if math.isfinite(value)}


def trial_rows(stored: StoredRun) -> list[FlatRow]:
    """One row per trial, also failed ones, then one per skipped cell."""
    rows: list[FlatRow] = []
    for job in stored.trials:
        trial, outcome = job.trial, job.outcome
        row: FlatRow = {
            "ordinal": job.record.ordinal,
            "id": job.record.id,
            "key": trial.key,
            "engine": job.environment.engine,
        }
        row |= {
            "device": trial.device,
            "cell": trial.cell.label,
            "framework": trial.framework,
            "variant": trial.variant,
        }
        row |= {"model": trial.model.label, "input_size": trial.input_size.word}
        row |= {"seed": trial.seed, "repeat": trial.repeat}
        row |= {"status": outcome.status, "fault": outcome.fault, "reason": outcome.reason}
        row |= {"environment": job.environment.identity, "unverified": job.record.is_unverified}
        row |= {**trial_numbers(job)._asdict(), **utilisation(job.samples, job.timeline)._asdict()}
        audit = stored.audit_of(job)
        check = audit.timeline.check if audit else None
        row |= {"audit": None if audit is None else "passed" if audit.passed else "failed"}
        row |= {f"audit_{name}": check.figures.get(name) if check else None for name in AUDIT_FIGURES}
        rows.append(row)
    for skip in stored.facts.skips:
        row = {"device": skip.cell.device, "cell": skip.cell.label}
        row |= {"framework": skip.framework, "variant": skip.variant}
        rows.append(row | {"status": "skipped", "fault": "none", "reason": skip.reason})
    return rows


def parity_rows(checks: Iterable[StoredCheck]) -> list[FlatRow]:
    """One row per figure of each check; a check that gave no figure has one row that says how it ended."""
    rows: list[FlatRow] = []
    for stored in checks:
        asked, check = stored.request, stored.timeline.check
        head: FlatRow = {"run_id": stored.record.run_id, "framework": asked.framework, "variant": asked.variant}
        head |= {"model": asked.model.label, "input_size": asked.input_size.word, "device": asked.device}
        head |= {"batch_size": asked.batch_size, "steps": asked.steps}
        head |= {"environment": stored.environment.identity, "check": _verdict(stored)}
        head |= {"status": stored.outcome.status, "reason": stored.outcome.reason}
        figures = check.figures if check else {}
        for name, value in figures.items() or [("", None)]:
            bound = check.bounds.get(name) if check else None
            is_within = value is not None and bound is not None and value <= bound
            rows.append(head | {"figure": name, "value": value, "bound": bound, "within": is_within})
    return rows


class NearFigure(NamedTuple):
    """The figure of a check that is nearest to its bound, or farthest beyond it; value is None if it is not finite."""

    name: str
    value: float | None
    bound: float
    is_within: bool


def nearest_to_bound(check: Check) -> NearFigure | None:
    """None if no figure has a bound."""
    bounded = [(name, value, check.bounds.get(name)) for name, value in check.figures.items()]
    shares = [
        NearFigure(name, value, bound, value is not None and value <= bound)
        for name, value, bound in bounded
        if bound is not None
    ]
    return max(shares, key=_share_of_bound, default=None)


def _share_of_bound(figure: NearFigure) -> float:
    if figure.value is None:
        return math.inf
    return figure.value / figure.bound if figure.bound else (math.inf if figure.value else 0.0)


def check_row(request: CheckRequest, stored: StoredCheck | None, reason: str) -> FlatRow:
    """One line of the parity table: what was checked, how it ended, and every figure.

    found: None if there is no check. reason: why there is none.
    """
    row: FlatRow = {"subject": f"{request.framework}:{request.variant}", "device": request.device}
    row |= {"cell": label_at(request.model, request.input_size), "steps": request.steps}
    if stored is None:
        return row | {"check": "missing", "reason": reason}
    row |= {"check": _verdict(stored).replace("failed", "FAILED"), "reason": stored.outcome.reason}
    check = stored.timeline.check
    return row | {**check.figures, "bounds": check.bounds} if check else row


def _epoch_speed(job: StoredTrial) -> float | None:
    """Pictures that an epoch trained on, or that all queries of `offline` held, over their seconds."""
    queries, inference = job.timeline.queries, job.trial.inference
    if queries is not None and inference is not None:
        return offline_images_per_second(queries, inference)
    steps = [epoch.loss.size for epoch in job.timeline.epochs]
    if not job.timeline.steady_epochs.size or not steps or not steps[-1]:
        return None
    return steps[-1] * job.trial.training.batch_size / stats.median(job.timeline.steady_epochs)


def offline_images_per_second(queries: Queries, inference: Inference) -> float | None:
    """Pictures of all queries over their time; None outside of scenario `offline`.

    Of a record that does not count its queries, the batch over the mean time of one.
    """
    if inference.scenario != "offline" or not queries.latency_seconds or not queries.wall_seconds:
        return None
    if queries.answered is None:
        return inference.batch_size / float(np.mean(queries.latency_seconds))
    return queries.answered * inference.batch_size / queries.wall_seconds


_numbers: WeakKeyDictionary[StoredTrial, TrialNumbers] = WeakKeyDictionary()
"""A report asks for the numbers of each trial four times, and may have ten thousand trials."""


def trial_numbers(trial: StoredTrial) -> TrialNumbers:
    """The measurements of one trial."""
    if trial not in _numbers:
        _numbers[trial] = _trial_numbers(trial)
    return _numbers[trial]


def _trial_numbers(job: StoredTrial) -> TrialNumbers:
    timeline = job.timeline
    step = stats.summarise(timeline.steady_steps)
    evaluations = [score.evaluate_seconds for score in timeline.scores if score.split == "valid"]
    return TrialNumbers(
        accuracy_test=timeline.accuracy("test"),
        accuracy_valid=timeline.accuracy("valid"),
        step_ms=step.median * 1000 if step else None,
        step_p05_ms=step.p05 * 1000 if step else None,
        step_p95_ms=step.p95 * 1000 if step else None,
        steps=step.count if step else None,
        outliers=step.outliers if step else None,
        epoch_images_per_second=_epoch_speed(job),
        images_per_second=None if job.trial.inference or not step else job.trial.batch_size / step.median,
        input_ms=_middle(timeline.input_seconds * 1000),
        place_ms=_middle(np.array(timeline.place_seconds) * 1000),
        first_step_s=timeline.first_step_seconds,
        epoch_s=_middle(timeline.steady_epochs),
        evaluate_s=_middle(evaluations),
        start_s=job.exit.started_seconds if job.exit else None,
        import_s=timeline.hello.import_seconds if timeline.hello else None,
        build_s=timeline.built.build_seconds if timeline.built else None,
        data_s=timeline.built.data_seconds if timeline.built else None,
        total_s=timeline.done.total_seconds if timeline.done else None,
        wall_s=job.exit.wall_seconds if job.exit else None,
    )


def checks_of(group: Group, stored: StoredRun) -> list[StoredCheck]:
    """The checks on which the trials of the group rest, those of all steps first; empty if one has none of these."""
    trained = [job for job in group.trials if job.trial.inference is None]
    alike = {(CheckSubject.of(job.record), job.trial.training.batch_size): job for job in trained}
    covering = [check for check in stored.checks if any(map(check.covers, alike.values()))]
    whole = [check for check in covering if check.request.steps == "all"]
    if not all(any(check.covers(trial) for check in whole) for trial in alike.values()):
        return []
    return sorted(covering, key=lambda check: check.request.steps)


def natural(text: str) -> list[tuple[int, int, str]]:
    """Sort key in which 1.9 comes before 1.10."""
    parts = re.findall(r"\d+|\D+", text)
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts]


def _known(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _middle(values: Any) -> float | None:
    return stats.median(np.asarray(values, dtype=np.float64)) if len(values) else None


def figure_names(stored: StoredRun) -> list[str]:
    """The names of all figures of the run's checks."""
    said = [check.timeline.check for check in stored.checks]
    return list(dict.fromkeys(name for check in said if check is not None for name in check.figures))
