"""How often the interval of seconds to a target holds the truth: simulated trainings whose median is known.

python -m benchmarks.target_coverage [--trials=1000]

A row for each number of seeds and limit of the epochs: log-normal seconds with a median of 100 and a scatter of 0.3, in
whole epochs of 2 s, censored at the limit. Ends with 1 if a coverage is not within 93 to 98.5 %, three standard errors
allowed.
"""

import argparse
import sys

import numpy as np

from orchestrator.analysis.targets import estimate

MEDIAN, SCATTER, EPOCH_SECONDS = 100.0, 0.3, 2.0
CASES = ((3, np.inf), (5, np.inf), (10, np.inf), (5, 130.0), (8, 130.0), (8, 110.0), (10, 100.0))
"""Seeds, and the seconds after which a training ends."""

WANTED = (0.93, 0.985)


def coverage(seeds: int, limit: float, trials: int) -> tuple[float, float, float]:
    """(share of intervals that hold the median, share of trainings censored, share of trials without an interval)."""
    chance = np.random.default_rng(seeds)
    held = drawn = censored = 0
    for _ in range(trials):
        seconds = MEDIAN * np.exp(SCATTER * chance.standard_normal(seeds))
        # A training ends with the epoch in which it reaches the target; on average half an epoch late.
        seconds = np.ceil(seconds / EPOCH_SECONDS - chance.random()) * EPOCH_SECONDS
        is_reached = seconds <= limit
        censored += int((~is_reached).sum())
        found = estimate(np.minimum(seconds, limit).tolist(), is_reached.tolist())
        if found.median is not None:
            drawn += 1
            held += (found.low or 0) <= MEDIAN <= (found.high or np.inf)
    return held / drawn, censored / (trials * seeds), 1 - drawn / trials


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=1000)
    trials = parser.parse_args().trials
    error, is_good = 3 * (0.95 * 0.05 / trials) ** 0.5, True
    print("seeds  limit s  coverage  censored  no interval")
    for seeds, limit in CASES:
        held, censored, none = coverage(seeds, limit, trials)
        is_good &= WANTED[0] - error <= held <= WANTED[1] + error
        print(f"{seeds:5}  {limit:7g}  {held:8.1%}  {censored:8.1%}  {none:11.1%}", flush=True)
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
