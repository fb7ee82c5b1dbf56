"""The trials of a run in MLflow, for those who keep their experiments there: an experiment of the run's name."""

import logging
import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from orchestrator.errors import SpecError, StoreError, first_line
from orchestrator.records.stored import StoredRun, StoredTrial
from orchestrator.report.tables import trial_numbers

_BATCH = 1000  # metrics that MLflow takes at once


def log_runs(stored: StoredRun, uri: str) -> int:
    """Write a run of MLflow for each trial; gives how many. uri: its tracking server or store, as MLflow takes it.

    Metrics are those of results.csv, with losses and validation accuracies by epoch. Raises SpecError without the
    extra, StoreError if MLflow cannot write there or has this run already.
    """
    if "://" not in uri:
        raise SpecError(
            f"--to is {uri}; MLflow takes an address: sqlite:///{uri.rstrip('/')}/mlflow.db for a file, or that of a "
            "server, such as http://127.0.0.1:5000."
        )
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # or a server that does not answer takes minutes
    try:
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException
    except ImportError:
        raise SpecError("MLflow needs an extra: pip install -e '.[mlflow]' in the clone.") from None
    for name in ("alembic", "mlflow"):  # they tell each step of making a store
        logging.getLogger(name).setLevel(logging.WARNING)
    name = stored.facts.run_id
    try:
        client = MlflowClient(tracking_uri=uri)
        if client.get_experiment_by_name(name) is not None:
            raise StoreError(f"{uri} has an experiment {name} already; remove it there, or name another place.")
        experiment = client.create_experiment(name, tags={"waymark": stored.facts.waymark_version})
        for trial in stored.trials:
            _log_trial(client, experiment, trial)
    except MlflowException as error:
        raise StoreError(f"MLflow cannot write to {uri} ({first_line(error)}).") from None
    return len(stored.trials)


def _log_trial(client: Any, experiment: str, job: StoredTrial) -> None:
    from mlflow.entities import Metric, Param, RunTag

    trial, hello = job.trial, job.timeline.hello
    began = int((hello.started_unix or 0.0) * 1000) if hello else 0
    run = client.create_run(experiment, start_time=began, run_name=trial.label)
    params = {
        "framework": trial.framework,
        "variant": trial.variant,
        "network": trial.model.label,
        "input_size": trial.input_size.word,
        "device": trial.device,
        "seed": trial.seed,
        "repeat": trial.repeat,
        "threads": trial.threads,
        "dataset": trial.dataset.name,
        **{f"training.{key}": value for key, value in trial.training.model_dump(mode="json").items()},
    }
    tags = {
        "waymark.key": trial.key,
        "waymark.status": job.outcome.status,
        "waymark.reason": job.outcome.reason,
        "waymark.environment": job.environment.identity,
    }
    metrics = [Metric(name, value, began, step) for name, value, step in _metrics(job)]
    for at in range(0, max(1, len(metrics)), _BATCH):
        client.log_batch(
            run.info.run_id,
            metrics=metrics[at : at + _BATCH],
            params=[] if at else [Param(key, str(value)) for key, value in params.items()],
            tags=[] if at else [RunTag(key, str(value)) for key, value in tags.items()],
        )
    ended = began + int(1000 * (job.exit.wall_seconds if job.exit else 0.0))
    client.set_terminated(run.info.run_id, "FINISHED" if job.outcome.status == "ok" else "FAILED", ended)


def _metrics(job: StoredTrial) -> Iterator[tuple[str, float, int]]:
    """Name, value and epoch; what is measured once has epoch 0."""
    for name, value in trial_numbers(job)._asdict().items():
        if value is not None:
            yield name, float(value), 0
    for epoch in job.timeline.epochs:
        if epoch.loss.size and np.isfinite(epoch.loss).all():
            yield "loss", float(epoch.loss.mean()), epoch.epoch
    for score in job.timeline.scores:
        if score.split == "valid":
            yield "accuracy", score.accuracy, score.epoch
