"""How long each selfcheck and trial of a plan will take, from the runs of this machine that are on record."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from statistics import median
from typing import NamedTuple

from orchestrator.analysis.costs import Costs, Steps, costs
from orchestrator.analysis.operations import step_operations
from orchestrator.data import datasets, parts
from orchestrator.dataset import Dataset
from orchestrator.engines.source import current_sha256
from orchestrator.errors import StoreError
from orchestrator.execution.selfcheck import request_of, required
from orchestrator.home import Home
from orchestrator.host import machine_keys
from orchestrator.networks import Network
from orchestrator.records.job import CheckRequest, needs_selfcheck
from orchestrator.records.store import Store
from orchestrator.records.stored import StoredCheck, StoredTrial
from orchestrator.trial import ORACLE, Trial


class Guess(NamedTuple):
    """Seconds of a check for each 1e9 operations of a step of its network, in the framework and in the oracle."""

    adapter: float
    oracle: float


GUESSES = {"all": Guess(0.5, 1.6), "first": Guess(0.06, 0.05)}
"""Where no check is on record: as ResNet-20@32 and IDSIA@48 took on two cores of an AMD EPYC with AVX-512."""

FIXED_SECONDS = 3.5
"""Of a check, beside its training: starting, importing, building."""

NEWEST_RUNS = 40
"""Older ones are not looked at: what they timed may have changed."""


def forecast(trials: Sequence[Trial], home: Home) -> list[float | None]:
    """Seconds of each trial, without selfchecks and audits; None where no run of this machine has timed such steps.

    Nothing is written: without runs there is no store.
    """
    if not home.runs.exists():
        return [None] * len(trials)
    missing = {Steps.of(trial) for trial in trials if trial.inference is None}
    known: dict[Steps, Costs] = {}
    pictures: dict[Dataset, tuple[int, int, int]] = {}
    with Store.open(home.store_url) as store:
        for earlier in _newest(store):
            for job in earlier:
                if job.data is not None:
                    counts = (job.data.train_pictures, job.data.valid_pictures, job.data.test_pictures)
                    pictures.setdefault(job.trial.dataset, counts)
            known |= costs(earlier, missing)
            missing -= known.keys()
            if not missing:
                break
    forecasts: list[float | None] = []
    for trial in trials:
        cost = known.get(Steps.of(trial)) if trial.inference is None else None
        sets = pictures.get(trial.dataset) or _counts(trial.dataset, home)
        forecasts.append(cost.seconds_of(trial, sets) if cost and sets else None)
    return forecasts


@dataclass(frozen=True)
class CheckForecast:
    """A selfcheck that a plan needs. seconds: how long it will take; 0 if it has passed. basis: what that is from."""

    request: CheckRequest
    seconds: float
    basis: str


def forecast_checks(trials: Sequence[Trial], home: Home, processor: str) -> list[CheckForecast]:
    """The selfchecks of these trials, each with the seconds that it will take.

    A check trains a fixed number of pictures in the framework, and the oracle trains as many unless it did before; both
    take time in proportion to a step's operations. The rates are those of this machine's earlier checks, else ours.
    """
    wanted: dict[CheckRequest, None] = {}
    asked = (request_of(trial, _network(trial, home)) for trial in trials if needs_selfcheck(trial))
    for needed in required(asked).values():
        wanted |= dict.fromkeys(needed)
    known, source = _known_checks(home), current_sha256()
    traced = {_traces(check.request) for check in known if check.record.worker_sha256 == source}
    forecasts = []
    for request in wanted:
        if any(_is_passed(check, request, source, processor) for check in known):
            forecasts.append(CheckForecast(request, 0.0, "passed before"))
            continue
        seconds, is_guess = _seconds(request, known, is_traced=_traces(request) in traced)
        traced.add(_traces(request))
        forecasts.append(
            CheckForecast(request, seconds, "a guess: no check of it is on record here" if is_guess else "")
        )
    return forecasts


def _network(trial: Trial, home: Home) -> Network:
    return trial.network(len(datasets.classes(trial.dataset, home)))


def _traces(request: CheckRequest) -> tuple[str, tuple[str, ...], int, str]:
    """What decides which traces of the oracle a check reads."""
    return (request.network_sha256, request.rule, request.batch_size, request.steps)


def _known_checks(home: Home) -> list[StoredCheck]:
    """Checks of this home's store; nothing is written: without runs there is no store."""
    if not home.runs.exists():
        return []
    with Store.open(home.store_url) as store:
        return store.ended_checks()


def _is_passed(check: StoredCheck, request: CheckRequest, source: str, processor: str) -> bool:
    """Whether this check counts for `request`, as far as that is known before its environment is made."""
    varies = {"input_size", "batch_size", "steps", "network_sha256"}
    is_alike = check.request.model_dump(exclude=varies) == request.model_dump(exclude=varies)
    is_now = (check.record.worker_sha256, check.record.processor) == (source, processor)
    return check.passed and is_alike and is_now and check.request.includes(request)


def _seconds(request: CheckRequest, known: Sequence[StoredCheck], *, is_traced: bool) -> tuple[float, bool]:
    """The seconds of a check, and whether they are a guess. is_traced: the oracle has trained already."""
    gigas, guess = _gigas(request), GUESSES[request.steps]
    alike = [(check, *parts) for check in known if check.request.steps == request.steps and (parts := _parts(check))]
    own = [(check, adapter, oracle) for check, adapter, oracle in alike if check.request.framework == request.framework]
    adapters = [adapter / _gigas(check.request) for check, adapter, _ in own]
    oracles = [oracle / _gigas(check.request) for check, _, oracle in alike if oracle]
    fixed = [job.exit.wall_seconds - adapter - oracle for job, adapter, oracle in own if job.exit]
    adapter_guess = guess.oracle if request.framework == ORACLE else guess.adapter
    adapter = median(adapters) if adapters else adapter_guess
    oracle = 0.0 if is_traced else median(oracles) if oracles else guess.oracle
    return (adapter + oracle) * gigas + (median(fixed) if fixed else FIXED_SECONDS), not adapters


def _gigas(request: CheckRequest) -> float:
    """Operations of one step of the network in a batch of 64, in 1e9."""
    return step_operations(request.network, 64) / 1e9


def _parts(job: StoredCheck) -> tuple[float, float] | None:
    """Seconds in the framework, and of the oracle's traces (0 if they were there); None where no record tells."""
    seconds = job.timeline.check.seconds if job.timeline.check else {}
    oracle = sum(value for name, value in seconds.items() if name.startswith("the oracle's"))
    return (sum(seconds.values()) - oracle, oracle) if seconds else None


def _newest(store: Store) -> Iterator[Sequence[StoredTrial]]:
    """The trials of each of this machine's newest sweeps, the newest first."""
    keys = machine_keys()
    here = [run for run in store.runs() if run.kind == "sweep" and not run.host.known_by.isdisjoint(keys)]
    for run in here[:NEWEST_RUNS]:
        with suppress(StoreError):  # it is damaged
            yield store.run(run.run_id).trials[::-1]


def _counts(dataset: Dataset, home: Home) -> tuple[int, int, int] | None:
    """Pictures to train, to validate and to test, as the data set has them, or the part of it that is asked for."""
    kind = datasets.named(dataset.name, home)
    if kind.counts is None:
        return None
    classes = len(datasets.classes(dataset, home))
    seen, test = (parts.size(count, classes, dataset) for count in kind.counts(dataset))
    valid = round(seen * dataset.validation_fraction)
    return seen - valid, valid, test
