"""Whether a network is chaotic in float32 at the rate of its selfcheck, and what a right framework may then differ by.

This is measured with the oracle: it trains a second time, with every first weight moved by as much as float32 sums of
some thousand terms are off (the first logits of right frameworks are off by 3e-7 to 1e-6). A network is chaotic if
CHAOS_TIMES what the two differ by is beyond a bound; a right framework may then differ by NUDGE_TIMES that, for one
nudge is one of many ways to round (docs/adr/0025).
"""

from typing import NamedTuple

NUDGE, NUDGE_TIMES, CHAOS_TIMES = 1e-6, 10, 2

CALMER_RATES = (0.0001, 0.00001)

# A tenth of the rate makes the networks that were measured 10 to 30 times calmer (ResNet-18, MobileNetV2). A network
# that is farther off than this is asked at the last rate at once: each rate takes two trainings.
FAR = 100

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
    For a chaotic one the largest rate is taken at which NUDGE_TIMES the difference is within the bounds. If there is
    none, it is the rate that comes nearest, and there, as in the other regimes, that difference is the bound where it
    is larger: below some rate a network without normalisation moves less than float32 rounds.
    """

    def differences(name, regime, wanted):
        figures = compare(name, train(name, regime, NUDGE), wanted)
        return {figure: figures[figure] for figure in CHAOTIC if figure in figures}

    def shares(figures):
        """Of their bounds, NUDGE_TIMES over; infinite for what is not finite."""
        found = [NUDGE_TIMES * value / (allowed[name] or 1e-300) for name, value in figures.items()]
        return [share if share == share else float("inf") for share in found]

    clean, wanted = regimes["clean"], traces["clean"]
    figures = differences("clean", clean, wanted)
    if max(shares(figures)) * CHAOS_TIMES <= NUDGE_TIMES:
        return Calm(clean.learning_rate, {}), wanted
    tried = [(max(shares(figures)), clean.learning_rate, figures, wanted)]
    calmer = [rate for rate in CALMER_RATES if rate < clean.learning_rate]
    for rate in calmer[-1:] if tried[0][0] > FAR else calmer:
        regime = clean._replace(learning_rate=rate)
        wanted = train("clean", regime, 0.0)
        figures = differences("clean", regime, wanted)
        tried.append((max(shares(figures)), rate, figures, wanted))
        if not 1 < tried[-1][0] < tried[-2][0]:
            break
    _, rate, figures, wanted = min(tried, key=lambda one: one[:2])
    for name in ("study", "long"):
        figures.update(differences(name, regimes[name], traces[name]))
    own = {figure: NUDGE_TIMES * value for figure, value in figures.items()}
    return Calm(rate, {figure: bound for figure, bound in own.items() if not bound <= allowed[figure]}), wanted
