"""A run as rows: one per subject and cell, one per trial, one per parity figure. Rows are flat dicts, in a fixed order.

Units stand in the names: _s seconds, _ms milliseconds; accuracies and `spread` are shares of 1. None is "not known".
"""

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from orchestrator.analysis import stats, utilisation
from orchestrator.records.job import CheckRequest
from orchestrator.records.run_folder import Skip
from orchestrator.records.stored import CheckRow, StoredRun, StoredTrial

Row = dict[str, Any]


@dataclass(frozen=True)
class Group:
    """All trials of one subject in one cell on one device; a skipped cell has a skip instead of trials."""

    device: str
    cell: str
    framework: str
    variant: str
    trials: tuple[StoredTrial, ...] = ()
    skip: Skip | None = None

    @property
    def subject(self) -> str:
        """'pytorch:2.13'."""
        return f"{self.framework}:{self.variant}" if self.variant else self.framework

    @property
    def ok(self) -> tuple[StoredTrial, ...]:
        """The trials whose numbers count."""
        return tuple(trial for trial in self.trials if trial.outcome.status == "ok")


def groups(stored: StoredRun) -> list[Group]:
    """Every cell of the run, skipped ones too, by device, cell and subject: an order that ranks nobody."""
    found: dict[tuple[str, str, str, str], list[StoredTrial]] = {}
    for one in stored.trials:
        trial = one.trial
        found.setdefault((trial.device, trial.cell, trial.framework, trial.variant), []).append(one)
    made = [Group(*place, trials=tuple(trials)) for place, trials in found.items()]
    skips = {(skip.device, skip.cell, skip.framework, skip.variant): skip for skip in stored.facts.skips}
    made += [Group(*place, skip=skip) for place, skip in skips.items() if place not in found]
    return sorted(made, key=lambda group: natural(f"{group.device} {group.cell} {group.framework} {group.variant}"))


def summary_rows(stored: StoredRun) -> list[Row]:
    """One row per subject and cell: how it ended, medians over the trials that ended ok, parity figures.

    status: 'ok' if every trial is; else that of the first that is not, with its fault and reason; 'skipped' for a skip.
    spread: of the median steps of the repeats, (high - low) / median; of their epochs where no step is steady.
    check:  'passed', 'failed' or 'missing' selfcheck; `verified` is True if it passed.
    card_throttled: what held the card's clock down, and in which share of all samples.
    parity_*: the check's figures, largest differences to numpy_ref.
    """
    return [_summary(group, stored) for group in groups(stored)]


def _summary(group: Group, stored: StoredRun) -> Row:
    bad = next((trial.outcome for trial in group.trials if trial.outcome.status != "ok"), None)
    measured = [numbers(trial) for trial in group.ok]
    steps = stats.repeats(_known(measured, "step_ms")) or stats.repeats(_known(measured, "epoch_s"))
    tests = stats.repeats(_known(measured, "accuracy_test"))
    check = check_of(group, stored)
    asked = group.trials[0].trial if group.trials else None
    row: Row = {
        "device": group.device,
        "cell": group.cell,
        "subject": group.subject,
        "framework": group.framework,
        "variant": group.variant,
        "model": asked and asked.model.label,
        "input_size": asked and asked.input_size,
        "status": "skipped" if group.skip else bad.status if bad else "ok",
        "fault": bad.fault if bad else "none",
        "reason": group.skip.reason if group.skip else bad.reason if bad else "",
        "trials": len(group.trials),
        "ok": len(group.ok),
        "verified": check is not None and check.passed,
        "check": "" if group.skip else "missing" if check is None else "passed" if check.passed else "failed",
        "spread": steps.spread if steps and steps.count > 1 else None,
        "accuracy_test_low": tests and tests.low,
        "accuracy_test_high": tests and tests.high,
    }
    row |= {name: _median(measured, name) for name in NUMBERS}
    row["card_throttled"] = utilisation.throttled([sample for trial in group.ok for sample in trial.samples])
    figures = check.timeline.check.figures if check and check.timeline.check else {}
    return row | {f"parity_{name}": value for name, value in figures.items()}


def trial_rows(stored: StoredRun) -> list[Row]:
    """One row per trial, whatever became of it, then one per skipped cell."""
    rows: list[Row] = []
    for one in stored.trials:
        trial, outcome = one.trial, one.outcome
        row: Row = {
            "ordinal": one.record.ordinal,
            "id": one.record.id,
            "key": trial.key,
            "engine": one.environment.engine,
        }
        row |= {"device": trial.device, "cell": trial.cell, "framework": trial.framework, "variant": trial.variant}
        row |= {"model": trial.model.label, "input_size": trial.input_size, "seed": trial.seed, "repeat": trial.repeat}
        row |= {"status": outcome.status, "fault": outcome.fault, "reason": outcome.reason}
        row |= {"environment": one.environment.identity, "unverified": one.record.is_unverified, **numbers(one)}
        rows.append(row)
    for skip in stored.facts.skips:
        row = {"device": skip.device, "cell": skip.cell, "framework": skip.framework, "variant": skip.variant}
        rows.append(row | {"status": "skipped", "fault": "none", "reason": skip.reason})
    return rows


def parity_rows(checks: Iterable[CheckRow]) -> list[Row]:
    """One row per figure of each check; a check that gave no figure has one row that says how it ended."""
    rows: list[Row] = []
    for one in checks:
        asked, check = one.request, one.timeline.check
        head: Row = {"run_id": one.record.run_id, "framework": asked.framework, "variant": asked.variant}
        head |= {"model": asked.model.label, "input_size": asked.input_size, "device": asked.device}
        head |= {"environment": one.environment.identity, "check": "passed" if one.passed else "failed"}
        head |= {"status": one.outcome.status, "reason": one.outcome.reason}
        figures = check.figures if check else {}
        for name, value in figures.items() or [("", None)]:
            bound = check.bounds.get(name) if check else None
            is_within = value is not None and bound is not None and value <= bound
            rows.append(head | {"figure": name, "value": value, "bound": bound, "within": is_within})
    return rows


def check_row(request: CheckRequest, found: CheckRow | None, reason: str) -> Row:
    """One line of the parity table: what was checked, how it ended, and every figure; a check beside its request.

    reason: why there is no check, if there is none.
    """
    row: Row = {"subject": f"{request.framework}:{request.variant}", "device": request.device}
    row |= {"cell": f"{request.model.label}@{request.input_size}"}
    if found is None:
        return row | {"check": "missing", "reason": reason}
    row |= {"check": "passed" if found.passed else "FAILED", "reason": found.outcome.reason}
    check = found.timeline.check
    return row | {**check.figures, "bounds": check.bounds} if check else row


NUMBERS = (
    *("accuracy_test", "accuracy_valid", "step_ms", "step_p05_ms", "step_p95_ms", "steps", "outliers"),
    *("images_per_second", "input_ms", "place_ms", "first_step_s", "epoch_s", "evaluate_s"),
    *("start_s", "import_s", "build_s", "data_s", "total_s", "wall_s"),
    *utilisation.NUMBERS,
)


def numbers(one: StoredTrial) -> dict[str, float | None]:
    """Everything that was measured in one trial, by the names in NUMBERS; None where it did not get that far.

    step_*, steps, outliers, images_per_second: steps after the warm-up. epoch_s: epochs after the first, if any.
    evaluate_s: one pass over the validation pictures. start_s: from the engine's launch to the first line of ours.
    place_ms: of one batch, alone, after the training. What telemetry gives: see utilisation.numbers.
    """
    timeline = one.timeline
    step = stats.summarise(timeline.steady_steps)
    evaluations = [score.evaluate_seconds for score in timeline.scores if score.split == "valid"]
    measured: dict[str, float | None] = {
        "accuracy_test": timeline.accuracy("test"),
        "accuracy_valid": timeline.accuracy("valid"),
        "step_ms": step.median * 1000 if step else None,
        "step_p05_ms": step.p05 * 1000 if step else None,
        "step_p95_ms": step.p95 * 1000 if step else None,
        "steps": step.count if step else None,
        "outliers": step.outliers if step else None,
        "images_per_second": one.trial.training.batch_size / step.median if step and step.median else None,
        "input_ms": _middle(timeline.input_seconds * 1000),
        "place_ms": _middle(np.array(timeline.place_seconds) * 1000),
        "first_step_s": timeline.first_step_seconds,
        "epoch_s": _middle(timeline.steady_epochs),
        "evaluate_s": _middle(evaluations),
        "start_s": one.exit.started_seconds if one.exit else None,
        "import_s": timeline.hello.import_seconds if timeline.hello else None,
        "build_s": timeline.built.build_seconds if timeline.built else None,
        "data_s": timeline.built.data_seconds if timeline.built else None,
        "total_s": timeline.done.total_seconds if timeline.done else None,
        "wall_s": one.exit.wall_seconds if one.exit else None,
        **utilisation.numbers(one.samples, timeline),
    }
    return {name: measured[name] for name in NUMBERS}


def check_of(group: Group, stored: StoredRun) -> CheckRow | None:
    """The check that stands for all trials of the group: of the same size if there is one; the worst if several."""
    size = group.trials[0].trial.input_size if group.trials else None
    covering = [check for check in stored.checks if any(check.covers(trial) for trial in group.trials)]
    if not all(any(check.covers(trial) for check in covering) for trial in group.trials):
        return None
    nearest = [check for check in covering if check.request.input_size == size] or covering
    return min(nearest, key=lambda check: check.passed, default=None)


def csv_text(rows: Sequence[Row]) -> str:
    """Rows as CSV with a header of every name that occurs; text that a spreadsheet would run gets a leading quote."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    file = io.StringIO()
    writer = csv.DictWriter(file, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _inert(value) for name, value in row.items()} for row in rows)
    return file.getvalue()


def markdown_table(rows: Sequence[Mapping[str, str]]) -> str:
    """Rows of text as a Markdown table; the first row's names head it."""
    if not rows:
        return ""
    lines = [list(rows[0]), ["---"] * len(rows[0]), *([one_cell(text) for text in row.values()] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def one_cell(text: str) -> str:
    """Text that stays in its cell, and in its line, of Markdown."""
    flat = " ".join(text.split())
    return re.sub(r"([\\|`*_<>\[\]])", r"\\\1", flat)


def _inert(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value


def natural(text: str) -> list[tuple[int, int, str]]:
    """Sort key in which 1.9 comes before 1.10."""
    parts = re.findall(r"\d+|\D+", text)
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts]


def _known(measured: Sequence[Mapping[str, float | None]], name: str) -> list[float]:
    return [value for one in measured if (value := one[name]) is not None]


def _median(measured: Sequence[Mapping[str, float | None]], name: str) -> float | None:
    return _middle(_known(measured, name))


def _middle(values: Any) -> float | None:
    return float(np.median(values)) if len(values) else None


def figure_names(stored: StoredRun) -> list[str]:
    """What any of the run's checks measured."""
    said = [check.timeline.check for check in stored.checks]
    return list(dict.fromkeys(name for one in said if one is not None for name in one.figures))
