"""What a short training left behind, and the file in which the oracle's are kept for the next environment."""

from typing import NamedTuple

import numpy

from workers import arrays
from workers.chaos import Calm
from workers.protocol import BadJob


class Trace(NamedTuple):
    """The result of one regime: logits before, losses of every step, weights after (name -> array), logits after.

    batch: pictures of a step.
    """

    start_logits: numpy.ndarray
    losses: numpy.ndarray
    weights: dict
    end_logits: numpy.ndarray
    batch: int


def save(path, traces, calm=None):
    """Write the oracle's traces, to be reused by the next environment. calm: what was measured, if it was."""
    kept = {}
    if calm is not None:
        kept["calm/rate"] = numpy.array(calm.rate)
        kept.update((f"calm/bounds/{figure}", numpy.array(value)) for figure, value in calm.bounds.items())
    for regime, trace in traces.items():
        for field in ("start_logits", "losses", "end_logits", "batch"):
            kept[f"{regime}/{field}"] = numpy.array(getattr(trace, field))
        kept.update((f"{regime}/weights/{name}", value) for name, value in trace.weights.items())
    numpy.savez(path, **kept)


def load(path, net, regimes):
    """(the traces of these regimes in a file, the Calm in it or None).

    Raises BadJob if they are of another network than `net`.
    """
    names = [weight.name for weight in net.weights]
    try:
        kept = arrays.read(path)
        traces = {
            regime: Trace(
                kept[f"{regime}/start_logits"],
                kept[f"{regime}/losses"],
                {name: kept[f"{regime}/weights/{name}"] for name in names},
                kept[f"{regime}/end_logits"],
                int(kept[f"{regime}/batch"]),
            )
            for regime in regimes
        }
    except (ValueError, KeyError) as error:
        raise BadJob(f"{path} does not hold the oracle's traces of this network: {error}.") from error
    if "calm/rate" not in kept:
        return traces, None
    own = {name.split("/")[2]: float(value) for name, value in kept.items() if name.startswith("calm/bounds/")}
    return traces, Calm(float(kept["calm/rate"]), own)
