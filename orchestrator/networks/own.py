"""Networks that users bring: a list of ops from a file, known by its hash from then on.

A run keeps the ops in its spec, so that whoever reads the run has them.
"""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orchestrator.environment import digest
from orchestrator.errors import shortened
from orchestrator.files import SMALL_BYTES, UnsafeFileError, read_bytes
from orchestrator.networks.input_size import InputSize
from workers.net import Net, weights_sha256

Ops = tuple[dict[str, Any], ...]

MOST_OPS = 20_000
MOST_WEIGHTS = 2**28
"""1 GiB of float32."""

_known: dict[str, Ops] = {}
_starts: dict[str, Mapping[str, NDArray[np.float32]]] = {}


def keep(ops: Sequence[Mapping[str, Any]]) -> str:
    """Know these ops from now on; their hash. Raises ValueError, naming the op, for ops that are no network."""
    if len(ops) > MOST_OPS:
        raise ValueError(f"it has {len(ops):,} ops; at most {MOST_OPS:,} are read.")
    net = Net.of(ops)
    InputSize.of(list(net.input))
    _ = net.classes
    if net.weight_count > MOST_WEIGHTS:
        raise ValueError(f"it has {net.weight_count:,} weights; at most {MOST_WEIGHTS:,} are trained here.")
    plain = json.loads(json.dumps(net.data))
    sha256 = digest(tuple(plain))
    _known[sha256] = tuple(plain)
    return sha256


def keep_start(weights: Mapping[str, NDArray[np.float32]]) -> str:
    """Know these first weights, of a file, until they are taken; their hash.

    Raises ValueError, naming the array, for one that has a value which is no finite number.
    """
    for name, array in weights.items():
        if not np.isfinite(array).all():
            raise ValueError(f"its weight {name} has a value that is no finite number, so it is no start.")
    sha256 = str(weights_sha256(weights))
    _starts[sha256] = weights
    return sha256


def take_start(sha256: str) -> Mapping[str, NDArray[np.float32]] | None:
    """The first weights of that hash, which are forgotten: they may be large; None where no file has brought them."""
    return _starts.pop(sha256, None)


def is_known(sha256: str) -> bool:
    """Whether its ops have been read."""
    return sha256 in _known


def ops_of(sha256: str) -> Ops:
    """The ops of that hash. Raises ValueError for one that no spec and no file has brought."""
    if sha256 not in _known:
        raise ValueError(f'its ops, {sha256[:12]}, are not in the spec under "networks"; name its file instead.')
    return _known[sha256]


def input_size(sha256: str) -> InputSize:
    """The size of the pictures as the file has it."""
    return InputSize.of(list(ops_of(sha256)[0]["shape"]))


def at_size(sha256: str, size: InputSize) -> Ops:
    """The same ops for pictures of another size. Raises ValueError, naming the op, where that cannot be."""
    first, *rest = ops_of(sha256)
    ops = ({**first, "shape": list(size)}, *rest)
    Net.of(ops)
    return ops


def name_of(path: Path) -> str:
    """A name for the network of a file, as a spec may have it: 'mobilenet_v2' of MobileNet-V2.onnx."""
    plain = re.sub(r"[^a-z0-9]+", "_", path.stem.lower()).strip("_")[:40].rstrip("_")
    return plain if plain[:1].isalpha() else f"net_{plain}".rstrip("_")[:40]


def read(path: Path) -> Ops:
    """The ops of a JSON file {"label", "ops"} as `invoke import` writes it. Raises ValueError, a sentence."""
    try:
        data = json.loads(read_bytes(path, SMALL_BYTES))
    except UnsafeFileError as error:
        raise ValueError(f"it cannot be read: {error.strerror}.") from None
    except OSError as error:
        raise ValueError(f"it cannot be read ({error.strerror}).") from None
    except (ValueError, RecursionError):
        raise ValueError("it is not JSON; `invoke import` writes such files.") from None
    ops = data.get("ops") if isinstance(data, dict) else None
    if not isinstance(ops, list):
        raise ValueError(f'it holds {shortened(str(data))}; a network is an object with "ops", a list.')
    keep(ops)
    return tuple(ops)
