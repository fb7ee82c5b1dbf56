"""The oracle's traces of a whole selfcheck, in a file, for what asks many adapters the same."""

from pathlib import Path

from workers import models
from workers.jobs import selfcheck


def save_traces(path: Path, model: str, size: int) -> None:
    """Write them to `path`. model: 'idsia', or 'resnet20' and its like; size: of the pictures, in pixels."""
    params = {"depth": int(model[6:])} if model.startswith("resnet") else {}
    net = models.build("resnet" if params else model, 43, size, **params)
    regimes, _ = selfcheck.regimes_and_bounds(net)
    pictures, labels = selfcheck.lopsided(size, 43, max(regime.pictures for regime in regimes.values()))
    rule = selfcheck.Rule()
    traces = {name: selfcheck.trace_oracle(net, rule, one, pictures, labels) for name, one in regimes.items()}
    selfcheck.save_reference(path, traces)
