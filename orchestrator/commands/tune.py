"""`invoke tune`: the fastest variant of a framework on this machine, by successive halving and a fresh comparison.

Round 1 times every variant, round 2 the faster half again, round 3 each setting on the fastest, round 4 those that
helped together. A variant is timed only once it has passed its selfcheck. The winner counts if fresh pairs show that it
is faster than the framework's default.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from orchestrator.analysis.tuning import HELPS, Scored, scored
from orchestrator.commands.compare import CompareRequest, sweep_of, verdicts_of
from orchestrator.commands.sweep import INTERRUPTED, SweepRequest, sweep
from orchestrator.console.progress import Console
from orchestrator.environment import Device
from orchestrator.errors import LockedError, SpecError, WaymarkError, did_you_mean
from orchestrator.execution.session import RunOptions
from orchestrator.home import Home
from orchestrator.host import read_host
from orchestrator.planning.catalogue import Catalogue
from orchestrator.planning.narrowing import models_of
from orchestrator.planning.setting import with_settings
from orchestrator.planning.spec import load_spec
from orchestrator.planning.tuned import Tried, Tuned, keep_tuned
from orchestrator.records.run_folder import Until
from orchestrator.records.store import Store
from orchestrator.report import Report, write_report
from orchestrator.trial import ORACLE

SEARCH_SHARE = 0.65
"""Of the budget; the rest is for the comparison that confirms the winner."""

REPEATS = {1: 2, 2: 3, 3: 2, 4: 3}
"""Of each round. The first halves by medians alone, as most variants are far apart."""


@dataclass(frozen=True)
class TuneRequest:
    """The arguments of `invoke tune`. budget_seconds: for each framework; None has no end. cells: () for all."""

    spec_path: Path
    framework: str
    device: Device = "cpu"
    budget_seconds: float | None = None
    cells: tuple[str, ...] = ()
    options: RunOptions = field(default_factory=RunOptions)


@dataclass(frozen=True)
class TuneResult:
    """What was found for each framework, and the exit code."""

    found: Sequence[Tuned]
    exit_code: int


class _StoppedError(Exception):
    """Ctrl-C ended a round."""


def frameworks_of(asked: str, catalogue: Catalogue, device: Device) -> tuple[str, ...]:
    """'all' -> every framework with a row on that device, but the oracle. Raises SpecError for an unknown one."""
    known = tuple(name for name in catalogue.trainers if name != ORACLE and catalogue.rows((name,), device))
    if asked == "all":
        return known
    if asked not in known:
        raise SpecError(
            f"'{asked}' cannot be tuned on the {device.upper()}. Known: all, {', '.join(known)}."
            f"{did_you_mean(asked, known)}"
        )
    return (asked,)


def tune(request: TuneRequest, catalogue: Catalogue, home: Home, reports: Path, console: Console) -> TuneResult:
    """Tune each framework that is asked for, one after the other, and keep what is found in <home>/tuned.toml.

    A framework that cannot be tuned does not keep the others from it; the exit code is then 1, and 130 after Ctrl-C.
    """
    tunings: list[Tuned] = []
    code = 0
    for framework in frameworks_of(request.framework, catalogue, request.device):
        search = _Search(replace(request, framework=framework), catalogue, home, reports, console)
        try:
            tuning = search.run()
        except _StoppedError:
            console.say(f"stopped; {framework} is not tuned, and what was found before is kept.")
            return TuneResult(tunings, INTERRUPTED)
        except LockedError:
            raise
        except WaymarkError as error:
            console.say(f"{framework}: {error}")
            code = 1
            continue
        keep_tuned(home.tuned, tuning)
        if tuning.path:
            with Store.open(home.store_url) as store:
                report = write_report(store, tuning.confirmed_by or tuning.path[-1].run_id, home, reports)
            console.say(f"report: {report.page}")
        console.say(sentence(tuning))
        tunings.append(tuning)
    return TuneResult(tunings, code)


def sentence(tuning: Tuned) -> str:
    """'mxnet on the CPU: best is 1.5-mkl_omp, 3.20x faster than 1.5 [3.01, 3.40]; ...'."""
    where = f"{tuning.framework} on the {tuning.device.upper()}"
    if tuning.ratio is None or tuning.low is None or tuning.high is None:
        rest = "so `best` is what it was before" if tuning.confirmed_by else "which is its best"
        text = f"{where}: no variant is shown to be faster than its default {tuning.default}, {rest}"
    else:
        text = (
            f"{where}: best is {tuning.variant}, {tuning.ratio:.2f}x as fast as its default {tuning.default} "
            f"[{tuning.low:.2f}, {tuning.high:.2f}]"
        )
    left = f" Left open: {' '.join(tuning.open)}" if tuning.open else ""
    return f"{text}; {len({tried.variant for tried in tuning.path})} variants in {tuning.seconds / 60:.0f} min.{left}"


def tuned_rows(tunings: Sequence[Tuned]) -> list[dict[str, object]]:
    """A row for each framework: its default, its best, how many times as fast that is, and how it was found."""
    return [
        {
            "framework": tuning.framework,
            "device": tuning.device,
            "default": tuning.default,
            "best": tuning.variant,
            "ratio": tuning.ratio,
            "low": tuning.low,
            "high": tuning.high,
            "tried": len({tried.variant for tried in tuning.path}),
            "minutes": tuning.seconds / 60,
            "cells": ", ".join(tuning.cells),
            "open": list(tuning.open),
            "confirmed_by": tuning.confirmed_by,
            "path": [tried.model_dump(mode="json") for tried in tuning.path],
        }
        for tuning in tunings
    ]


class _Search:
    """The search for one framework's fastest variant."""

    def __init__(self, request: TuneRequest, catalogue: Catalogue, home: Home, reports: Path, console: Console) -> None:
        self._request, self._catalogue, self._home = request, catalogue, home
        self._reports, self._console = reports, console
        self._began = time.monotonic()
        self._trials = 0
        self._trial_seconds = 0.0
        self._path: list[Tried] = []
        self._open: list[str] = []
        shipped = load_spec(request.spec_path, catalogue.frameworks, {"axes.frameworks": [request.framework]})
        self._models = models_of(request.cells, shipped)
        self._cells: tuple[str, ...] = ()
        self._default = catalogue.default(request.framework, request.device)

    def run(self) -> Tuned:
        """All rounds and the confirmation. Raises WaymarkError if no variant could be timed, _StoppedError."""
        rows = self._catalogue.rows((self._request.framework,), self._request.device)
        variants = [row.variant for row in rows if row.is_tried and not row.retired]
        best = self._halved(self._round(1, variants)) if len(variants) > 1 else variants
        if len(best) > 1:
            best = [tried.variant for tried in self._round(2, best)]
        winner = self._with_settings(best[0])
        return self._confirmed(winner)

    def _with_settings(self, base: str) -> str:
        """`base` with the settings that make it faster, if there are any."""
        row = self._catalogue.resolve(self._request.framework, self._request.device, base)
        settings = {
            name: setting
            for name, setting in self._catalogue.settings.get(self._request.framework, {}).items()
            if setting.is_tried and setting.fits(row)
        }
        if not settings:
            return base
        alone = {with_settings(row, settings, [name]).variant: name for name in settings}
        third = self._round(3, [base, *alone])
        ratios = {tried.variant: tried.ratio for tried in third}
        helpful = [
            alone[tried.variant]
            for tried in third
            if tried.variant in alone and tried.ratio and ratios.get(base) and tried.ratio * HELPS < (ratios[base] or 0)
        ]
        joined: list[str] = []
        for name in helpful:
            if all(settings[name].is_beside(settings[other]) for other in joined):
                joined.append(name)
        if len(joined) < 2:
            return third[0].variant if helpful else base
        both = with_settings(row, settings, joined).variant
        return self._round(4, [base, third[0].variant, both])[0].variant

    def _round(self, number: int, variants: Sequence[str]) -> list[Scored]:
        """Those that were timed, the fastest first; all of them are written to the path.

        Where the budget does not allow the round, the variants as they stand: the first is the fastest so far.
        """
        repeats = REPEATS[number]
        seconds = self._trial_seconds / self._trials * len(variants) * len(self._models) if self._trials else 0.0
        left = self._left(SEARCH_SHARE)
        while left is not None and repeats > 1 and seconds * repeats > left:
            repeats -= 1
        if left is not None and self._trials and seconds * repeats > left:
            self._open.append(
                f"round {number} ({', '.join(variants)}) would take {seconds * repeats / 60:.0f} min, and "
                f"{max(left, 0) / 60:.0f} of the budget are left for the search."
            )
            return [Scored(variant) for variant in variants]
        self._console.say(
            f"{self._request.framework}, round {number}: {len(variants)} variants, {repeats} runs of each in "
            f"{len(self._models)} cells"
        )
        began = time.monotonic()
        report = self._sweep(variants, repeats)
        self._trials += len(variants) * len(self._models) * repeats
        self._trial_seconds += time.monotonic() - began
        self._cells = tuple(dict.fromkeys(job.trial.cell.network for job in report.stored.trials))
        scores = scored(report.stored, variants)
        timed = [tried for tried in scores if not tried.reason]
        if not timed:
            raise SpecError(f"none of its variants could be timed: {scores[0].variant}: {scores[0].reason}.")
        kept = set(self._halved(timed)) if number == 1 else {timed[0].variant}
        self._path += [
            Tried(
                round=number,
                variant=tried.variant,
                ratio=tried.ratio,
                low=tried.low,
                high=tried.high,
                is_kept=tried.variant in kept,
                reason=tried.reason,
                run_id=report.stored.facts.run_id,
            )
            for tried in scores
        ]
        return timed

    def _halved(self, timed: Sequence[Scored]) -> list[str]:
        return [tried.variant for tried in timed[: max(1, (len(timed) + 1) // 2)]]

    def _sweep(self, variants: Sequence[str], repeats: int) -> Report:
        framework = self._request.framework
        changes = {
            "name": f"tune-{framework.replace('_', '-')}",
            "axes.frameworks": [framework],
            f"axes.variants.{framework}": list(variants),
            "axes.devices": [self._request.device],
            "axes.repeats": repeats,
            "axes.models": self._models,
            "study": None,
            "pairs": [],
        }
        asked = SweepRequest(self._request.spec_path, changes, options=self._request.options)
        return self._ran(asked)

    def _ran(self, asked: SweepRequest) -> Report:
        result = sweep(asked, self._catalogue, self._home, self._reports, self._console)
        if result.exit_code == INTERRUPTED:
            raise _StoppedError
        return result.report

    def _confirmed(self, winner: str) -> Tuned:
        """What was found: the winner if fresh pairs show that it is faster than the default, else the default."""
        shipped = Tuned(
            machine=read_host().key,
            framework=self._request.framework,
            device=self._request.device,
            cells=self._cells,
            default=self._default,
            variant=self._default,
            tuned_unix=time.time(),
            seconds=0.0,
        )
        confirmed: dict[str, object] = {}
        if winner != self._default:
            subjects = tuple(f"{self._request.framework}:{variant}" for variant in (self._default, winner))
            left = self._left(1.0)
            budget = None if left is None else max(left, (self._request.budget_seconds or 0) * (1 - SEARCH_SHARE))
            asked = CompareRequest(
                spec_path=self._request.spec_path,
                compared=(subjects[0], subjects[1]),
                until=Until(budget_seconds=budget),
                cells=self._request.cells,
                device=self._request.device,
                options=self._request.options,
            )
            stored = self._ran(sweep_of(asked, self._catalogue)).stored
            confirmed["confirmed_by"] = stored.facts.run_id
            try:
                verdict = verdicts_of(self._home, stored)[-1]
            except SpecError as error:
                verdict = {"verdict": None, "words": f"not compared: {error}"}
            if verdict["verdict"] == "faster":
                confirmed |= {"variant": winner, **{key: verdict[key] for key in ("ratio", "low", "high")}}
            else:
                self._open.append(f"{winner} is not confirmed: it is {verdict['words']}.")
        seconds = time.monotonic() - self._began
        rest = {"seconds": seconds, "open": tuple(self._open), "path": tuple(self._path)}
        return shipped.model_copy(update={**confirmed, **rest})

    def _left(self, share: float) -> float | None:
        """Seconds left of that share of the budget."""
        if self._request.budget_seconds is None:
            return None
        return self._request.budget_seconds * share - (time.monotonic() - self._began)
