"""Whether a training ran at one speed after its warm-up. Pure."""

from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from orchestrator.analysis.stats import median, medians

Array = NDArray[np.float64]

BLOCKS = 20
"""Neighbouring steps are alike, so blocks of them are judged and not steps."""
CHANGE = 0.05
P = 0.001

STALL_TIMES, STALL_SECONDS, STALL_SHARE = 10.0, 0.5, 0.02
"""A step stalled if it took so many times the median, so many seconds more, and that is so much of all of them."""

_FIRST = 3
"""Steps in which frameworks compile; a long one of them is no stall."""

_ONE, _OTHER = np.triu_indices(BLOCKS, 1)
"""All pairs of blocks."""


@dataclass(frozen=True)
class Trend:
    """change: of the time of a step from the first block to the last, as a share of its median.

    p: of no trend; None for a change so small that it is not asked.
    """

    change: float
    p: float | None

    @property
    def is_steady(self) -> bool:
        """Whether no trend over 5 % is shown."""
        return self.p is None or self.p >= P


@dataclass(frozen=True)
class Stall:
    """The longest step (or block of steps, or query) of a trial that was stopped in the middle.

    seconds: of it. times: the median of all. share: of all their time together.
    """

    seconds: float
    times: float
    share: float


def stall(seconds: ArrayLike) -> Stall | None:
    """The stall among the seconds (n,) of all steps of a trial in their order, if there is one."""
    all_ = np.asarray(seconds, dtype=np.float64)
    if all_.size <= 2 * _FIRST:
        return None
    longest, middle, total = float(all_[_FIRST:].max()), median(all_), float(all_.sum())
    extra = longest - middle
    if longest <= STALL_TIMES * middle or extra <= STALL_SECONDS or extra <= STALL_SHARE * total:
        return None
    return Stall(longest, longest / middle, longest / total)


def trend(steps: ArrayLike) -> Trend | None:
    """The trend of the seconds of steps (n,) in their order; None for fewer than two a block.

    The slope is that of Theil and Sen over the medians of 20 blocks, the test is Mann and Kendall's.
    """
    seconds = np.asarray(steps, dtype=np.float64)
    if len(seconds) < 2 * BLOCKS:
        return None
    blocks = _medians(seconds)
    change = _slope(blocks) * (BLOCKS - 1) / median(blocks)
    if abs(change) <= CHANGE:
        return Trend(change, None)
    p = scipy.stats.kendalltau(np.arange(BLOCKS), blocks).pvalue
    return Trend(change, 1.0 if np.isnan(p) else float(p))


def _medians(seconds: Array) -> Array:
    """The medians (BLOCKS,) of the parts that np.array_split makes, in two calls, as runs may have many trials."""
    width, longer = divmod(seconds.size, BLOCKS)
    end = longer * (width + 1)
    parts = (seconds[:end].reshape(longer, width + 1), seconds[end:].reshape(BLOCKS - longer, width))
    return np.concatenate([medians(part) for part in parts if part.size])


def _slope(values: Array) -> float:
    """That of Theil and Sen: the median of the slopes of all pairs (scipy.stats.theilslopes, without its interval)."""
    return median((values[_OTHER] - values[_ONE]) / (_OTHER - _ONE))
