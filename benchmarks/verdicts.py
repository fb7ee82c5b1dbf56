"""What intervals and verdicts are worth: simulated comparisons, the rules of 0.3 beside those of today.

    python -m benchmarks.verdicts [--quick]

Noise is of whole runs. Each mood is a kind of machine; runs are in the order AB BA AB ...
`error`: families in which any interval misses the truth. `width`: the median half-width beside that of Student's t from
the same pairs at the same level. `bias`: of the mean estimate. Takes twenty minutes, with --quick two.
"""

import argparse
import sys
from collections.abc import Callable

import numpy as np
from scipy.stats import norm
from scipy.stats import t as student

from orchestrator.analysis.ratios import FIRST_LOOK, MOST_PAIRS, Pairs, judge

Array = np.ndarray
STEP_ERROR = 0.02  # of a run's median, from 40 steps that scatter by 10 %; 0.3 resampled steps on top of pairs
RESAMPLES = 1000


def two_states(rng: np.random.Generator, shape: tuple[int, int], dwell: float) -> Array:
    """A machine that is 1.4x slower for `dwell` runs on average, then fast again."""
    turns = rng.random(shape) < 1 / dwell
    return np.log(1.4) * ((np.cumsum(turns, axis=1) + rng.integers(0, 2, (shape[0], 1))) % 2)


def normal(noise: float) -> Callable[[np.random.Generator, tuple[int, int]], Array]:
    return lambda rng, shape: rng.normal(0, noise, shape)


def drift(rng: np.random.Generator, shape: tuple[int, int]) -> Array:
    return rng.normal(0, 0.02, shape) + np.linspace(0, 0.2, shape[1]) * rng.choice([-1, 1], (shape[0], 1))


def walk(rng: np.random.Generator, shape: tuple[int, int]) -> Array:
    return rng.normal(0, 0.01, shape) + np.cumsum(rng.normal(0, 0.02, shape), axis=1)


def first_run(rng: np.random.Generator, shape: tuple[int, int]) -> Array:
    return rng.normal(0, 0.02, shape) - 0.03 * (np.arange(shape[1]) % 2 == 0)


MOODS: dict[str, Callable[[np.random.Generator, tuple[int, int]], Array]] = {
    "noise 1 %": normal(0.01),
    "noise 5 %": normal(0.05),
    "noise 10 %": normal(0.10),
    "noise 30 %": normal(0.30),
    "drift of 20 %": drift,
    "random walk": walk,
    "two states, 10 runs": lambda rng, shape: rng.normal(0, 0.02, shape) + two_states(rng, shape, 10),
    "heavy tails": lambda rng, shape: 0.03 * rng.standard_t(3, shape),
    "outliers, 1 in 20": lambda rng, shape: rng.normal(0, 0.02, shape) + np.log(1.5) * (rng.random(shape) < 0.05),
    "first run 3 % faster": first_run,
}

BEYOND: dict[str, Callable[[np.random.Generator, tuple[int, int]], Array]] = {
    "two states, 3 runs": lambda rng, shape: rng.normal(0, 0.02, shape) + two_states(rng, shape, 3),
    "rows from 1 to 30 %": lambda rng, shape: (
        rng.normal(0, 1, shape) * np.exp(rng.uniform(np.log(0.01), np.log(0.3), (shape[0], 1)))
    ),
}
"""Moods in which the rules are known not to hold quite; they are shown so that it is known by how much."""


def comparisons(rng: np.random.Generator, mood: str, count: int, pairs: int, effect: float = 0.0) -> list[Pairs]:
    """So many comparisons of so many pairs each: blocks AB BA or BA AB, drawn; effect: of the log ratios."""
    noise = {**MOODS, **BEYOND}[mood](rng, (count, 2 * pairs)).reshape(count, pairs, 2)
    order = np.repeat(rng.choice([-1.0, 1.0], (count, (pairs + 1) // 2)), 2, axis=1)[:, :pairs]
    order[:, 1::2] *= -1
    logs = order * (noise[:, :, 1] - noise[:, :, 0]) + effect
    follows = noise[:, 1:, 0] - noise[:, :-1, 1]
    is_same = order[:, 1:] != order[:, :-1]  # the build that ends a pair begins the next
    return [Pairs(*one, all_[of]) for *one, all_, of in zip(logs, order, follows, is_same, strict=True)]


def judged(family: list[Pairs], is_sequential: bool = False) -> Array:
    """(rows, 3): low, high and estimate of each log ratio by the rules of today."""
    found = judge([[pairs] for pairs in family], is_sequential=is_sequential)
    return np.log([[one.low or 1e-9, one.high or 1e9, one.effect] for one in found])


def judged_before(family: list[Pairs], controls: list[Pairs], rng: np.random.Generator) -> tuple[Array, Array]:
    """The same by the rules of 0.3, which resampled pairs and steps; and whether each has a verdict by them."""
    logs, control = (np.array([pairs.logs for pairs in of]) for of in (family, controls))
    rows, pairs = logs.shape
    tail = float(norm.sf(student.isf(0.025, pairs - 1)))
    low, high = np.quantile(_resampled(logs, rng), [tail, 1 - tail], axis=1)
    noise = _resampled(control, rng)
    floors = np.quantile(np.abs(noise - np.median(noise, axis=1, keepdims=True)), 0.95, axis=1)
    estimate, error = np.median(logs, axis=1), logs.std(axis=1, ddof=1) / np.sqrt(pairs)
    p = 2 * student.sf(np.abs(logs.mean(axis=1)) / error, pairs - 1)
    ranked = np.argsort(p)
    passed = np.zeros(rows, bool)
    passed[ranked] = np.logical_and.accumulate(p[ranked] <= 0.05 / np.arange(rows, 0, -1))
    is_far = np.abs(estimate) > np.maximum(floors, np.log(1.02))
    return np.stack([low, high, estimate], axis=1), passed & is_far & ((low > 0) | (high < 0))


def _resampled(logs: Array, rng: np.random.Generator) -> Array:
    """(rows, RESAMPLES) medians of resampled pairs, each with the error of its resampled steps."""
    drawn = rng.integers(logs.shape[1], size=(len(logs), RESAMPLES, logs.shape[1]))
    picked = np.take_along_axis(np.broadcast_to(logs[:, None, :], drawn.shape), drawn, axis=2)
    return np.median(picked + rng.normal(0, np.sqrt(2) * STEP_ERROR, drawn.shape), axis=2)


def grid(rng: np.random.Generator, scale: float) -> bool:
    """The table of moods, pairs and rows; whether today's rules hold where they should."""
    say("| mood | pairs | rows | error today | 0.3 | width today | 0.3 | bias today |")
    say("|---|---|---|---|---|---|---|---|")
    holds = True
    for mood in (*MOODS, *BEYOND):
        for pairs in (6, 10, 30):
            for rows, families in ((1, 3000), (4, 1200), (38, 400)):
                count = max(50, int(families * scale))
                before = max(20, count // 10)
                seen, spans, spans_before = [], [], []
                errors = errors_before = 0
                level = 1 - 0.95 ** (1 / rows)
                for at in range(count):
                    family = comparisons(rng, mood, rows, pairs)
                    found = judged(family)
                    errors += bool(np.any((found[:, 0] > 0) | (found[:, 1] < 0)))
                    seen.append(found[:, 2])
                    logs = np.array([one.logs for one in family])
                    plain = student.isf(level / 2, pairs - 1) * logs.std(axis=1, ddof=1) / np.sqrt(pairs)
                    spans.append((np.median(found[:, 1] - found[:, 0]) / 2, np.median(plain)))
                    if at < before:
                        old, verdicts = judged_before(family, comparisons(rng, mood, rows, pairs), rng)
                        errors_before += bool(verdicts.any())
                        spans_before.append(np.median(old[:, 1] - old[:, 0]) / 2)
                width = np.median([ours for ours, _ in spans]) / np.median([plain for _, plain in spans])
                alone = student.isf(0.025, pairs - 1) / student.isf(level / 2, pairs - 1)
                width_before = np.median(spans_before) / (np.median([plain for _, plain in spans]) * alone)
                error, bias = errors / count, float(np.mean(seen))
                chance = 3 * np.sqrt(0.05 * 0.95 / count)
                if mood in MOODS:
                    holds &= error <= 0.05 + chance and width <= 1.2 + chance
                say(
                    f"| {mood} | {pairs} | {rows} | {error:.1%} | {errors_before / before:.0%} | {width:.2f} | "
                    f"{width_before:.2f} | {bias:+.2%} |"
                )
    return holds


def power(rng: np.random.Generator, scale: float) -> None:
    """How often an effect has a verdict at noise of 5 %."""
    say("\n| effect | pairs | rows | found today | 0.3 |\n|---|---|---|---|---|")
    for effect, pairs in ((1.05, 10), (1.10, 6), (1.05, 30), (1.44, 6)):
        for rows, families in ((1, 3000), (4, 800), (38, 100)):
            count = max(30, int(families * scale))
            found, found_before = [], []
            for at in range(count):
                family = comparisons(rng, "noise 5 %", rows, pairs, np.log(effect))
                found.append(np.mean(judged(family)[:, 0] > 0))
                if at < count // 4:
                    controls = comparisons(rng, "noise 5 %", rows, pairs)
                    found_before.append(np.mean(judged_before(family, controls, rng)[1]))
            say(f"| {effect}x | {pairs} | {rows} | {np.mean(found):.0%} | {np.mean(found_before):.0%} |")


def sequential(rng: np.random.Generator, scale: float) -> bool:
    """Errors when one looks after every pair, and how many pairs it takes to know."""
    say("\n| mood | wrong verdicts when looking after every pair |\n|---|---|")
    count, holds = max(100, int(2000 * scale)), True
    for mood in MOODS:
        wrong = np.mean([_decided(pairs)[0] for pairs in comparisons(rng, mood, count, MOST_PAIRS)])
        holds &= wrong <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / count)
        say(f"| {mood} | {wrong:.1%} |")
    say("\n| effect at 5 % noise | mean pairs | known by 3 pairs | known by 30 |\n|---|---|---|---|")
    for effect in (1.5, 1.2, 1.1, 1.05):
        ends = [
            _decided(pairs) for pairs in comparisons(rng, "noise 5 %", max(100, count // 4), MOST_PAIRS, np.log(effect))
        ]
        known, used = np.array([one for one, _ in ends]), np.array([used for _, used in ends])
        say(f"| {effect}x | {used.mean():.1f} | {np.mean(known & (used == FIRST_LOOK)):.0%} | {known.mean():.0%} |")
    return holds


def _decided(pairs: Pairs) -> tuple[bool, int]:
    """Whether the interval ever excludes 1, and after how many pairs."""
    for count in range(FIRST_LOOK, pairs.count + 1):
        seen = Pairs(pairs.logs[:count], pairs.order[:count], pairs.neighbours[: count - 1])
        ((low, high, _),) = judged([seen], is_sequential=True)
        if low > 0 or high < 0:
            return True, count
    return False, pairs.count


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tenth of the simulations")
    scale = 0.1 if parser.parse_args().quick else 1.0
    rng = np.random.default_rng(13)
    holds = [grid(rng, scale), sequential(rng, scale)]
    power(rng, scale)
    say("\nall rules hold" if all(holds) else "\nA RULE DOES NOT HOLD")
    return 0 if all(holds) else 1


if __name__ == "__main__":
    raise SystemExit(main())
