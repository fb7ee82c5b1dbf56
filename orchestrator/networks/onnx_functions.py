"""Functions of each value alone. Exporters write one in several nodes, each in its own way; its values tell which."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
Function = Callable[[Numbers], Numbers]

_GRID = np.concatenate([np.linspace(-9.7, 9.3, 191), [-600.0, -90.0, -20.0, 20.0, 90.0, 600.0]])
_FAR = np.array([-1e6, 1e6])
_CLOSE = 1e-5  # constants of a file are float32, and a chain of them adds up

_erf = np.vectorize(math.erf, otypes=[float])


class Known(NamedTuple):
    """A kind of op with its params. kind: '' of the value itself."""

    kind: str
    params: dict[str, Any]
    function: Function


def sigmoid(x: Numbers) -> Numbers:
    """1 / (1 + exp(-x))."""
    share: Numbers = (1 + np.tanh(x / 2)) / 2
    return share


def softplus(x: Numbers) -> Numbers:
    """log(1 + exp(x))."""
    return np.logaddexp(0, x)


def _line(x: Numbers) -> Numbers:
    return np.clip(x / 6 + 0.5, 0, 1)


def _tanh_gelu(x: Numbers) -> Numbers:
    return x * sigmoid(2 * math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))


_KNOWN = (
    Known("", {}, lambda x: x),
    Known("relu", {}, lambda x: np.maximum(x, 0)),
    Known("clip", {"low": 0, "high": 6}, lambda x: np.clip(x, 0, 6)),
    Known("sigmoid", {}, sigmoid),
    Known("hardsigmoid", {"slope": float(f"{1 / 6:.8g}"), "offset": 0.5}, _line),
    Known("hardswish", {}, lambda x: x * _line(x)),
    Known("silu", {}, lambda x: x * sigmoid(x)),
    Known("tanh", {}, np.tanh),
    Known("gelu", {"is_exact": True}, lambda x: x * (1 + _erf(x / math.sqrt(2))) / 2),
    Known("gelu", {"is_exact": False}, _tanh_gelu),
    Known("softplus", {}, softplus),
    Known("mish", {}, lambda x: x * np.tanh(softplus(x))),
)


def _fitted(function: Function) -> tuple[Known, ...]:
    """The kinds that have numbers of their own, with those that this function has if it is one of them."""
    left, low, high, middle, right = (_decimal(number) for number in function(np.array([-1.0, -1e6, 1e6, 0.0, 0.05])))
    found = []
    if -1e6 < low < high < 1e6:
        found.append(Known("clip", {"low": low, "high": high}, lambda x: np.clip(x, low, high)))
    found.append(Known("leakyrelu", {"slope": -left}, lambda x: np.where(x > 0, x, -left * x)))
    if low < 0:
        found.append(Known("elu", {"alpha": -low}, lambda x: np.where(x > 0, x, -low * np.expm1(np.minimum(x, 0)))))
    slope = _decimal((right - middle) / 0.05)
    found.append(
        Known("hardsigmoid", {"slope": slope, "offset": middle}, lambda x: np.clip(slope * x + middle, 0, 1)),
    )
    return tuple(known for known in found if all(map(math.isfinite, known.params.values())))


def _decimal(number: float) -> float:
    """A number to six digits, which a chain of float32 keeps."""
    return float(f"{number:.6g}")


UNARY: dict[str, Function] = {
    "Abs": np.abs,
    "Erf": _erf,
    "Exp": np.exp,
    "Log": np.log,
    "Neg": np.negative,
    "Not": np.logical_not,
    "Reciprocal": np.reciprocal,
    "Sqrt": np.sqrt,
}
"""ONNX operators that no op here has alone, only as part of another."""

BINARY: dict[str, Callable[[Any, Any], Numbers]] = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Div": np.divide,
    "Pow": np.power,
    "Max": np.maximum,
    "Min": np.minimum,
    "Less": np.less,
    "LessOrEqual": np.less_equal,
    "Greater": np.greater,
    "GreaterOrEqual": np.greater_equal,
}


def named(function: Function) -> Known | None:
    """The kind of op that computes this; None if none does."""
    with np.errstate(all="ignore"):
        seen, far = (np.asarray(function(points), np.float64) for points in (_GRID, _FAR))
        for known in (*_KNOWN, *_fitted(function)):
            # Far away a right one may overflow in a step, and a wrong one may be cut.
            is_far = np.isclose(far, known.function(_FAR), rtol=_CLOSE) | ~np.isfinite(far)
            if np.allclose(seen, known.function(_GRID), rtol=_CLOSE, atol=_CLOSE) and is_far.all():
                return known
    return None
