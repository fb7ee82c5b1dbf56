"""Weights to begin with: of an inference those that a job of an earlier run left; of a training those of a file."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from orchestrator import files
from orchestrator.dataset import Dataset
from orchestrator.errors import SpecError, StoreError
from orchestrator.home import Home
from orchestrator.networks import InputSize, Model, label_at, own
from orchestrator.planning.plan import Weights
from orchestrator.records.run_folder import WEIGHTS, TrainedWeights
from orchestrator.records.store import Store
from orchestrator.records.stored import StoredTrial
from orchestrator.trial import Training
from workers import arrays
from workers.net import weights_sha256

NEWEST_RUNS = 40
"""Older ones are not looked at."""


class Wanted(NamedTuple):
    """A network whose weights are wanted, and how it is to have been trained; training None: in any way."""

    model: Model
    input_size: InputSize
    dataset: Dataset
    training: Training | None

    @property
    def label(self) -> str:
        """'ResNet-20@32'."""
        return label_at(self.model, self.input_size)


def find(wanted: Iterable[Wanted], home: Home, run_id: str = "") -> tuple[list[TrainedWeights], list[Wanted]]:
    """The weights that are on record, of the newest run that has them, and what has none.

    run_id: only of this run. Raises StoreError if there is no such run.
    """
    missing, found = list(dict.fromkeys(wanted)), []
    if not home.runs.exists():
        return [], missing
    for trials in _trials(home, run_id):
        known = {want: _of(want, trials, home) for want in missing}
        found += [weights for weights in known.values() if weights]
        missing = [want for want, weights in known.items() if not weights]
        if not missing:
            break
    return found, missing


def of_run(run_id: str, home: Home) -> list[TrainedWeights]:
    """All weights that a run has left, a network once; '' for the newest run that has left any.

    Raises StoreError if there is no such run.
    """
    if not home.runs.exists():
        return []
    for trials in _trials(home, run_id):
        networks = dict.fromkeys((job.trial.model, job.trial.input_size, job.trial.dataset) for job in trials)
        left = [weights for network in networks if (weights := _of(Wanted(*network, None), trials, home))]
        if left:
            return left
    return []


def _trials(home: Home, run_id: str) -> Iterator[Sequence[StoredTrial]]:
    """The trials of that run, or of each of the newest sweeps. Raises StoreError if there is no such run."""
    with Store.open(home.store_url) as store:
        if run_id:
            yield store.run(run_id).trials
            return
        newest = [run.run_id for run in store.runs() if run.kind == "sweep" and not run.is_scout]
        for run in newest[:NEWEST_RUNS]:
            with suppress(StoreError):  # it is damaged
                yield store.run(run).trials


def trainers(weights: TrainedWeights, home: Home) -> list[TrainedWeights]:
    """The weights of the same network in the same run, one of each subject that trained it."""
    made_by: dict[str, TrainedWeights] = {}
    wanted = Wanted(weights.model, weights.input_size, weights.dataset, None)
    for trials in _trials(home, weights.run_id):
        for trial in trials:
            made = _of(wanted, [trial], home)
            if made:
                made_by.setdefault(made.subject, made)
    return list(made_by.values())


def chosen(run_id: str, cell: str, home: Home) -> TrainedWeights:
    """The weights of a cell ('ResNet-20@32') that a run has left; '' for the newest run, and for its first network.

    Raises SpecError if there are none.
    """
    known = of_run(run_id, home)
    for weights in known:
        if cell in ("", weights.network):
            return weights
    names = ", ".join(weights.network for weights in known) or "none"
    where = f"run {run_id} has left no weights" if run_id else "no run on record has left weights"
    raise SpecError(f"{where} of '{cell or 'any network'}'; known: {names}. Train it with: invoke sweep")


def _of(wanted: Wanted, trials: Sequence[StoredTrial], home: Home) -> TrainedWeights | None:
    """The weights of the first ok trial that trained this network as wanted; None without one."""
    for job in trials:
        trial, done = job.trial, job.timeline.done
        is_network = (trial.model, trial.input_size, trial.dataset) == (wanted.model, wanted.input_size, wanted.dataset)
        is_so = trial.kind == "train" and (wanted.training is None or trial.training == wanted.training)
        if not is_network or not is_so or job.outcome.status != "ok" or done is None or done.weights_sha256 is None:
            continue
        made = TrainedWeights(
            model=trial.model,
            input_size=trial.input_size,
            dataset=trial.dataset,
            sha256=done.weights_sha256,
            run_id=job.record.run_id,
            folder=job.record.folder_name,
            subject=trial.subject,
            accuracy=job.timeline.accuracy("test"),
        )
        if path_of(made, home).is_file():
            return made
    return None


def path_of(weights: TrainedWeights, home: Home) -> Path:
    """Their file."""
    return home.runs / weights.run_id / weights.folder / WEIGHTS


def hashes(weights: Iterable[TrainedWeights]) -> Weights:
    """What a plan needs to know of them."""
    return {(network.model, network.input_size, network.dataset): network.sha256 for network in weights}


def starts(models: Iterable[Model], home: Home) -> dict[str, Path]:
    """Hash -> file of the first weights of these networks, of those that bring any.

    Raises SpecError for weights that neither a file of this spec nor an earlier run here has brought.
    """
    found = {}
    for model in models:
        if not model.start_sha256:
            continue
        path, weights = home.starts / f"{model.start_sha256}.npz", own.take_start(model.start_sha256)
        if not _holds(path, model.start_sha256):
            if weights is None:
                raise SpecError(f"the first weights of {model.label} are not here; begin anew with its ONNX file.")
            home.starts.mkdir(parents=True, exist_ok=True)
            with files.replacing(path) as file:
                np.savez(file, **dict[str, Any](weights))
        found[model.start_sha256] = path
    return found


def _holds(path: Path, sha256: str) -> bool:
    """Whether the file is there and holds these weights, and no others."""
    try:
        return bool(weights_sha256(arrays.read(path)) == sha256)
    except ValueError:
        return False


def paths(weights: Iterable[TrainedWeights], home: Home) -> Mapping[str, Path]:
    """Hash -> file."""
    return {network.sha256: path_of(network, home) for network in weights}
