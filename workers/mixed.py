"""The proof of a narrow number format: how far from the oracle's model of it a right environment may be.

The model is numpy_ref in that format: wide inside an op, rounded at its borders. Another order of its sums rounds some
values the other way, and the layers after them carry that on, so no bound can be a constant. It is measured as chaos.py
measures it: models are trained whose first weights are moved by what float32 sums are off, and how far these are from
the model, times TIMES, is the bound.

Whether values were rounded at all, and where, are figures of their own. What rounding does to the first logits and the
first update is a vector: the difference from the exact oracle's. `rounding` is its length as a multiple of the model's:
what says bfloat16 and computes in float32 is at 0.0001, in float16 at an eighth. `unlike` is how far it is from the
model's, as a share of that: an op more or less that rounds turns it away.
"""

import functools
from typing import NamedTuple

import numpy

from workers.bounds import FLOAT32, worst
from workers.chaos import NUDGE

TIMES = 3
"""Two models with other first weights are two of many ways to round."""

ROUNDED = 2.0
"""How many times as far from the exact values as the model, or as near, an environment may be."""

ALIKE = 1.25
"""How many times as unlike the model as the nudged ones: this is of so many values that chance hardly moves it."""

LEAST = 2.0**-8
"""No bound is less: one value that is rounded the other way, where the nudged models happen to have none."""

TELLING, TELLING_UNLIKE = 0.5, 0.9
"""No bound is larger, or it would hold nothing: an update that is left out is off by 1, and what computes in float32 is
unlike the model by 1. Seen on ResNet-20@32, of right ones: 0.37 and 0.68.
"""

NUDGED = 2

ROUNDING = ("rounding_logits", "rounding_update")
UNLIKE = ("unlike_logits", "unlike_update")

EXACT = "exact"

REGIMES = ("first", "clean")
"""What is trained in a narrow format: 1 and 20 updates. The audits hold every later one."""


class Variation(NamedTuple):
    """How a regime is trained. nudge: the share by which each first weight moves, up or down. seed: of these signs."""

    precision: str = FLOAT32
    nudge: float = 0.0
    seed: int = 0


PLAIN = Variation()
"""In float32, from the first weights as they are."""


def variations(precision, regimes):
    """Trace -> (regime, Variation), of all that a selfcheck in `precision` of these regimes wants of the oracle."""
    wanted = {regime: (regime, Variation(precision)) for regime in regimes}
    if precision == FLOAT32:
        return wanted
    wanted[EXACT] = ("first", PLAIN)
    for seed in range(1, NUDGED + 1):
        nudged = Variation(precision, NUDGE, seed)
        wanted.update((_nudged(regime, seed), (regime, nudged)) for regime in regimes)
    return wanted


def measured_bounds(traces, regimes, compare, trained):
    """Figure -> bound, as the models that were nudged give it.

    traces: by the names of `variations`. compare: (traces by regime, the model's) -> figures.
    trained: as of `rounding`.
    """
    model = {regime: traces[regime] for regime in regimes}
    spread, unlike = {}, {}
    for seed in range(1, NUDGED + 1):
        nudged = {regime: traces[_nudged(regime, seed)] for regime in regimes}
        _widen(spread, compare(nudged, model))
        _widen(unlike, rounding(nudged["first"], traces, trained))
    own = {name: min(TELLING, max(LEAST, TIMES * value)) for name, value in spread.items()}
    own.update((name, min(TELLING_UNLIKE, max(LEAST, ALIKE * unlike[name]))) for name in UNLIKE)
    return dict(own, **dict.fromkeys(ROUNDING, ROUNDED))


def _widen(worst_of, figures):
    worst_of.update((name, worst([value, worst_of.get(name, 0.0)])) for name, value in figures.items())


def rounding(seen, traces, trained):
    """Figures of ROUNDING and UNLIKE. seen: the Trace of 'first'. trained: names of the weights with a gradient."""
    model, exact = traces["first"], traces[EXACT]
    figures = {}
    for what, place in (("logits", _logits), ("update", functools.partial(_weights, names=trained))):
        own, due = place(seen) - place(exact), place(model) - place(exact)
        length = numpy.linalg.norm(due)
        figures["rounding_" + what] = away_from_one(numpy.linalg.norm(own) / length)
        figures["unlike_" + what] = float(numpy.linalg.norm(own - due) / length)
    return figures


def _logits(trace):
    return trace.start_logits.astype(numpy.float64).ravel()


def _weights(trace, names):
    return numpy.concatenate([trace.weights[name].astype(numpy.float64).ravel() for name in names])


def away_from_one(ratio):
    """The larger of a ratio and its inverse."""
    return worst([ratio, 1 / ratio if ratio else float("inf")])


def _nudged(regime, seed):
    return f"{regime} nudged {seed}"
