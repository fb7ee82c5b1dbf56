"""A network at an input size, with its number of classes, as data."""

from functools import lru_cache
from typing import Any

from orchestrator.environment import Frozen, digest
from orchestrator.networks import families, own
from orchestrator.networks.input_size import InputSize
from orchestrator.networks.model import Model
from workers.net import Net


def label_at(model: Model, input_size: InputSize) -> str:
    """'ResNet-20@32', 'ResNet-20@1x28x28'."""
    return f"{model.label}@{input_size}"


class Network(Frozen):
    """What a worker gets of a network: its name, and its ops as workers/net.py reads them."""

    label: str
    ops: tuple[dict[str, Any], ...]

    @classmethod
    def of(cls, model: Model, input_size: InputSize, classes: int) -> "Network":
        """The network of that model. Raises ValueError, a sentence for the user, for one that cannot be."""
        return cls(label=label_at(model, input_size), ops=_ops(model, input_size, classes))

    @property
    def net(self) -> Net:
        """The same, checked, with its shapes and weights."""
        net: Net = Net.of(self.ops)
        return net

    @property
    def sha256(self) -> str:
        """Hash of the ops: two networks of the same ops are one, whatever they are called."""
        return digest(self.ops)


@lru_cache(maxsize=256)
def _ops(model: Model, input_size: InputSize, classes: int) -> tuple[dict[str, Any], ...]:
    if not model.network_sha256:
        return tuple(families.build(model.name, input_size, classes, **model.arguments).data)
    ops = own.at_size(model.network_sha256, input_size)
    logits = Net.of(ops).classes
    if logits < classes:
        raise ValueError(f"network {model.name} has {logits} outputs, and the pictures are of {classes} classes.")
    return ops
