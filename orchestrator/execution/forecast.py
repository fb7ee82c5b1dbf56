"""How long each trial of a plan will take, from the runs of this machine that are on record."""

from collections.abc import Iterator, Sequence
from contextlib import suppress

from orchestrator.analysis.costs import Costs, Steps, costs
from orchestrator.data import datasets
from orchestrator.errors import StoreError
from orchestrator.home import Home
from orchestrator.host import machine_id
from orchestrator.records.store import Store
from orchestrator.records.stored import StoredTrial
from orchestrator.trial import Dataset, Trial

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
            for one in earlier:
                if one.data is not None:
                    counts = (one.data.train_pictures, one.data.valid_pictures, one.data.test_pictures)
                    pictures.setdefault(one.trial.dataset, counts)
            known |= costs(earlier, missing)
            missing -= known.keys()
            if not missing:
                break
    found: list[float | None] = []
    for trial in trials:
        cost = known.get(Steps.of(trial)) if trial.inference is None else None
        sets = pictures.get(trial.dataset) or _counts(trial.dataset)
        found.append(cost.seconds_of(trial, sets) if cost and sets else None)
    return found


def _newest(store: Store) -> Iterator[Sequence[StoredTrial]]:
    """The trials of each of this machine's newest sweeps, the newest first."""
    here = [run for run in store.runs() if run.kind == "sweep" and run.host.hostname_sha256 == machine_id()]
    for run in here[:NEWEST_RUNS]:
        with suppress(StoreError):  # it is damaged
            yield store.run(run.run_id).trials[::-1]


def _counts(dataset: Dataset) -> tuple[int, int, int] | None:
    """Pictures to train, to validate and to test, as the whole data set has them."""
    counts = datasets.named(dataset.name).counts
    if counts is None:
        return None
    seen, test = counts(dataset)
    valid = round(seen * dataset.validation_fraction)
    return seen - valid, valid, test
