"""The oracle's traces of a whole selfcheck, in a file, for what asks many adapters the same."""

from pathlib import Path

from tests.networks import net_of
from workers import traces
from workers.jobs import selfcheck


def save_traces(path: Path, model: str, size: int, optimiser: str = "sgd", traits: tuple[str, ...] = ()) -> None:
    """Write them to `path`. model: 'idsia', or 'resnet20' and its like; size: of the pictures, in pixels."""
    net, training = net_of(model, size), selfcheck.training_of(optimiser, "he_normal", traits)
    regimes, _ = selfcheck.regimes_and_bounds(net)
    pictures, labels = selfcheck.lopsided(net.input, net.classes, max(one.pictures for one in regimes.values()))
    found = {name: selfcheck.trace_oracle(net, training, one, pictures, labels) for name, one in regimes.items()}
    traces.save(path, found)
