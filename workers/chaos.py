"""Whether a network is chaotic in float32 at the rate of its selfcheck, and what a right framework may then differ by.

This is measured with the oracle: it trains a second time, with every first weight moved by as much as float32 sums of
some thousand terms are off (the first logits of right frameworks are off by 3e-7 to 1e-6). A network is chaotic if
CHAOS_TIMES what the two differ by is beyond a bound; a right framework may then differ by NUDGE_TIMES that, for one
nudge is one of many ways to round (docs/adr/0025).
"""

import math
from typing import NamedTuple

from workers.bounds import worst

NUDGE, NUDGE_TIMES, CHAOS_TIMES = 1e-6, 10, 2

CALMER_RATES = (0.0001, 0.00001)

# A tenth of the rate makes the networks that were measured 10 to 30 times calmer (ResNet-18, MobileNetV2). A network
# that is farther off than this is asked at the last rate at once: each rate takes two trainings.
FAR = 100

TINY = 1e-300
"""In the place of a bound of 0."""

CHAOTIC = (
    "clean_loss_step_20",
    "update_step_20",
    "averages_step_20",
    "logits_step_20",
    "study_loss_step_5",
    "update_step_45",
)
"""The figures that rounding alone may move beyond their bounds."""


class Calm(NamedTuple):
    """What was measured of a network: the rate of its regime 'clean', and its own bounds of figures in CHAOTIC."""

    rate: float
    bounds: dict


def measure(regimes, allowed, traces, train, compare):
    """(Calm of a network, the oracle's trace of 'clean' at its rate).

    regimes, traces: by name; the oracle's. allowed: figure -> bound.
    train: (name, regime, nudge) -> the oracle's trace. compare: (name, seen, wanted) -> figures of one regime.

    Of a network that is calm at its rate nothing changes, so that a wrong framework is held to the bounds as they are.
    A chaotic one is asked at the first of CALMER_RATES at which NUDGE_TIMES the difference is within the bounds; a
    network that is FAR from that, at the last one. If that is not within them either, it is the rate that comes
    nearest: below some rate a network without normalisation moves less than float32 rounds. There, and in the other
    regimes, NUDGE_TIMES the difference is the bound where it is larger.
    """

    def differences(name, regime, wanted):
        figures = compare(name, train(name, regime, NUDGE), wanted)
        return {figure: figures[figure] for figure in CHAOTIC if figure in figures}

    def times_beyond(figures):
        """The worst figure as a multiple of its bound; infinite if one is not finite."""
        times = worst(value / (allowed[name] or TINY) for name, value in figures.items())
        return times if math.isfinite(times) else math.inf

    clean, wanted = regimes["clean"], traces["clean"]
    figures = differences("clean", clean, wanted)
    if CHAOS_TIMES * times_beyond(figures) <= 1:
        return Calm(clean.learning_rate, {}), wanted
    tried = [(NUDGE_TIMES * times_beyond(figures), clean.learning_rate, figures, wanted)]
    calmer = [rate for rate in CALMER_RATES if rate < clean.learning_rate]
    for rate in calmer[-1:] if tried[0][0] > FAR else calmer:
        regime = clean._replace(learning_rate=rate)
        wanted = train("clean", regime, 0.0)
        figures = differences("clean", regime, wanted)
        tried.append((NUDGE_TIMES * times_beyond(figures), rate, figures, wanted))
        if not 1 < tried[-1][0] < tried[-2][0]:
            break
    _, rate, figures, wanted = min(tried, key=lambda one: one[:2])
    for name in ("study", "long"):
        figures.update(differences(name, regimes[name], traces[name]))
    own = {figure: NUDGE_TIMES * value for figure, value in figures.items()}
    return Calm(rate, {figure: bound for figure, bound in own.items() if not bound <= allowed[figure]}), wanted
