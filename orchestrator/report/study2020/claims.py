"""The findings of the study of 2020 as claims: each with the numbers that decide it, in this run and in the paper."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from orchestrator.analysis.contrasts import Estimate
from orchestrator.environment import Device
from orchestrator.report.study2020.measured import FRAMEWORKS, Blocks, Measured, Place

Verdict = Literal["holds", "fails", "not decided", "not measurable here"]

SLIGHT = 0.005
"""A difference of accuracies of less than half a percentage point counts as none."""

CPU_ORDER = ("neon", "mxnet", "cntk", "pytorch", "tensorflow")
GPU_ORDER = ("neon", "cntk", "pytorch", "mxnet", "tensorflow")
RESNETS = ("ResNet-20", "ResNet-32")
SIZES = (32, 48, 64)
DEVICES: tuple[Device, ...] = ("cpu", "gpu")
LOSING, GAINING = ("cntk", "pytorch", "tensorflow"), ("mxnet", "neon")
"""Those that lose ground as the network deepens and the input grows, and the others."""


class Comparison(NamedTuple):
    """One comparison that a claim rests on: it agrees if its value is surely above `above`, and else disagrees.

    contrast: of logs of seconds, for a claim about time.
    blocks:   groups of places whose mean accuracies are set against each other, for a claim about accuracy.
    is_reversed: the value is the second of each block less the first, so that words turn its sign.
    """

    label: str
    contrast: Mapping[Place, float] | None = None
    blocks: Blocks = ()
    above: float = 0.0
    is_reversed: bool = False


@dataclass(frozen=True)
class Claim:
    """A finding of the study. device: on which it was made; None for both. comparisons: all of them have to agree."""

    name: str
    text: str
    device: Device | None
    comparisons: tuple[Comparison, ...]


class Evidence(NamedTuple):
    """A comparison and what the numbers say of it: its estimate, None where a place was not measured."""

    comparison: Comparison
    estimate: Estimate | None

    @property
    def agrees(self) -> bool | None:
        """True or False where that is sure."""
        return None if self.estimate is None else self.estimate.is_above(self.comparison.above)

    @property
    def words(self) -> str:
        """'1.11x [1.05, 1.16]', how many times as long; '+0.95 points [+0.10, +1.80]', a difference of accuracies."""
        if self.estimate is None:
            return "not measured"
        sign = -1 if self.comparison.is_reversed else 1
        ends = (self.estimate.low, self.estimate.high)[::sign]
        if self.comparison.contrast is not None:
            shown = [f"{np.exp(value):.2f}" for value in ends if value is not None]
            return f"{np.exp(self.estimate.value):.2f}x" + (f" [{', '.join(shown)}]" if shown else "")
        shown = [f"{100 * sign * value:+.2f}" for value in ends if value is not None]
        return f"{100 * sign * self.estimate.value:+.2f} points" + (f" [{', '.join(shown)}]" if shown else "")


def _before(fast: str, slow: str, network: str, size: int, device: Device) -> Comparison:
    here = {name: Place(name, network, size, device) for name in (fast, slow)}
    return Comparison(f"{network}@{size}: {slow} beside {fast}", {here[slow]: 1.0, here[fast]: -1.0})


def _order(order: Sequence[str], networks: Sequence[str], device: Device) -> tuple[Comparison, ...]:
    return tuple(
        _before(fast, slow, network, size, device)
        for network in networks
        for size in SIZES
        for fast, slow in itertools.combinations(order, 2)
    )


def _first(winner: str, network: str, size: int, device: Device) -> tuple[Comparison, ...]:
    return tuple(_before(winner, other, network, size, device) for other in FRAMEWORKS if other != winner)


def _growth(small: tuple[str, int], large: tuple[str, int], device: Device) -> tuple[Comparison, ...]:
    """How much longer each of those that lose ground takes for the larger, beside the mean of the others."""
    comparisons = []
    for loser in LOSING:
        contrast = {Place(loser, *large, device): 1.0, Place(loser, *small, device): -1.0}
        for other in GAINING:
            contrast[Place(other, *large, device)] = -1 / len(GAINING)
            contrast[Place(other, *small, device)] = 1 / len(GAINING)
        names = [f"{network}@{size}" for network, size in (small, large)]
        comparisons.append(
            Comparison(f"{names[0]} to {names[1]}: growth of {loser} beside {' and '.join(GAINING)}", contrast)
        )
    return tuple(comparisons)


def _no_more(label: str, blocks: Blocks) -> Comparison:
    """The first of each block is not more accurate than the second by SLIGHT."""
    return Comparison(label, blocks=[(second, first) for first, second in blocks], above=-SLIGHT, is_reversed=True)


def _sized(first: int, second: int) -> Blocks:
    return [
        ([Place(name, network, first, device)], [Place(name, network, second, device)])
        for device in DEVICES
        for name in FRAMEWORKS
        for network in RESNETS
    ]


def _economy(device: Device) -> Comparison:
    share = 1 / (len(FRAMEWORKS) * len(RESNETS))
    contrast = {
        Place(name, network, size, device): sign * share
        for name in FRAMEWORKS
        for network in RESNETS
        for size, sign in ((48, 1), (32, -1))
    }
    return Comparison(f"48x48 beside 32x32 on the {device.upper()}, ResNets of all", contrast, above=float(np.log(1.5)))


_CELLS = (("IDSIA", 48), *((network, size) for size in SIZES for network in RESNETS))

CLAIMS = (
    *(
        Claim(
            f"cpu-order-{network.lower()}",
            f"CPU: {network} is trained fastest by Neon, then MXNet, CNTK, PyTorch, TensorFlow.",
            "cpu",
            _order(CPU_ORDER, [network], "cpu"),
        )
        for network in RESNETS
    ),
    Claim("cpu-idsia-mxnet", "CPU: MXNet is the fastest on IDSIA.", "cpu", _first("mxnet", "IDSIA", 48, "cpu")),
    *(
        Claim(
            f"cpu-idsia-longer-{name}",
            f"CPU: {title} takes longer for IDSIA than for ResNet-20, which is deeper.",
            "cpu",
            (
                Comparison(
                    f"{name}: IDSIA@48 beside ResNet-20@48",
                    {Place(name, "IDSIA", 48, "cpu"): 1.0, Place(name, "ResNet-20", 48, "cpu"): -1.0},
                ),
            ),
        )
        for name, title in (("mxnet", "MXNet"), ("neon", "Neon"))
    ),
    Claim(
        "cpu-depth-from-idsia",
        "CPU: CNTK, PyTorch and TensorFlow lose ground from IDSIA to the ResNets, in proportion.",
        "cpu",
        _growth(("IDSIA", 48), ("ResNet-32", 48), "cpu"),
    ),
    Claim(
        "cpu-depth-of-resnets",
        "CPU: CNTK, PyTorch and TensorFlow lose ground from ResNet-20 to ResNet-32, in proportion.",
        "cpu",
        tuple(growth for size in SIZES for growth in _growth(("ResNet-20", size), ("ResNet-32", size), "cpu")),
    ),
    Claim(
        "cpu-size",
        "CPU: CNTK, PyTorch and TensorFlow lose ground as the input grows, in proportion.",
        "cpu",
        tuple(
            growth
            for network in RESNETS
            for small, large in ((32, 48), (48, 64))
            for growth in _growth((network, small), (network, large), "cpu")
        ),
    ),
    Claim(
        "gpu-order",
        "GPU: the ResNets are trained fastest by Neon, then CNTK, PyTorch, MXNet, TensorFlow.",
        "gpu",
        _order(GPU_ORDER, RESNETS, "gpu"),
    ),
    Claim("gpu-idsia-mxnet", "GPU: MXNet is the fastest on IDSIA.", "gpu", _first("mxnet", "IDSIA", 48, "gpu")),
    Claim(
        "resnet-32-no-better",
        "ResNet-32 is not more accurate than ResNet-20.",
        None,
        (
            _no_more(
                "ResNet-32 less ResNet-20, accuracy",
                [
                    ([Place(name, "ResNet-32", size, device)], [Place(name, "ResNet-20", size, device)])
                    for device in DEVICES
                    for name in FRAMEWORKS
                    for size in SIZES
                ],
            ),
        ),
    ),
    Claim(
        "resnets-beat-idsia",
        "The ResNets are more accurate than IDSIA.",
        None,
        (
            Comparison(
                "ResNets less IDSIA at 48x48, accuracy",
                blocks=[
                    ([Place(name, network, 48, device) for network in RESNETS], [Place(name, "IDSIA", 48, device)])
                    for device in DEVICES
                    for name in FRAMEWORKS
                ],
            ),
        ),
    ),
    Claim(
        "best-accuracy",
        "Neon and TensorFlow are the most accurate.",
        None,
        (
            Comparison(
                "mean of neon and tensorflow less that of the others, accuracy",
                blocks=[
                    (
                        [Place(name, network, size, device) for name in ("neon", "tensorflow")],
                        [Place(name, network, size, device) for name in ("cntk", "mxnet", "pytorch")],
                    )
                    for device in DEVICES
                    for network, size in _CELLS
                ],
            ),
        ),
    ),
    Claim(
        "no-size-dominates",
        "No input size is the most accurate.",
        None,
        (
            _no_more("48x48 less 32x32, accuracy", _sized(48, 32)),
            _no_more("32x32 less 48x48, accuracy", _sized(32, 48)),
        ),
    ),
    Claim(
        "32x32-is-economical",
        "32x32 is the economical size: 48x48 takes half as long again at least, and is hardly more accurate.",
        None,
        (
            *(_economy(device) for device in DEVICES),
            _no_more("48x48 less 32x32, accuracy", _sized(48, 32)),
        ),
    ),
)
"""What the study states of times and accuracies."""


def weighed(claims: Sequence[Claim], measured: Measured) -> dict[str, list[Evidence]]:
    """The evidence for each claim, by its name; all comparisons of times are one family, all of accuracies another."""
    named = [(claim.name, comparison) for claim in claims for comparison in claim.comparisons]
    contrasts = [claim.contrast for _, claim in named if claim.contrast is not None]
    times = iter(measured.estimates(contrasts))
    accuracies = iter(measured.differences([claim.blocks for _, claim in named if claim.contrast is None]))
    evidence: dict[str, list[Evidence]] = {}
    for name, claim in named:
        evidence.setdefault(name, []).append(Evidence(claim, next(accuracies if claim.contrast is None else times)))
    return evidence


def verdict_of(evidence: Sequence[Evidence]) -> Verdict:
    """fails if one comparison surely disagrees, holds if all that were measured agree, else it is not decided."""
    known = [result.agrees for result in evidence if result.estimate is not None]
    if False in known:
        return "fails"
    return "holds" if known and all(known) else "not decided"
