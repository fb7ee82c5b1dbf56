"""Which network: its family with the arguments of the family, and its usual name."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Annotated, Any

from pydantic import Field, model_serializer
from pydantic_core.core_schema import SerializerFunctionWrapHandler

from orchestrator.environment import Frozen, Name
from orchestrator.networks import families, own

NetworkHash = Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")]

_recorded_labels: ContextVar[Mapping[str, str]] = ContextVar("recorded_labels")


@contextmanager
def recorded_labels(labels: Mapping[str, str]) -> Iterator[None]:
    """Within it families are called as a run recorded them: it may have networks that this clone has not."""
    token = _recorded_labels.set(labels)
    try:
        yield
    finally:
        _recorded_labels.reset(token)


def _label(name: str) -> str:
    return _recorded_labels.get({}).get(name) or _known_label(name)


@cache
def _known_label(name: str) -> str:
    """The usual name of a family of this clone; it is asked for once for each trial of a run, and more."""
    return families.label(name)


class Model(Frozen):
    """A network of orchestrator/networks/families, its family and the arguments of its `build`; or a user's own.

    depth:  layers, for families that have a depth.
    params: what else the family takes, by name.
    network_sha256: of a user's own: the hash of its ops, as orchestrator/networks/own.py knows them; '' of a family's.
    start_sha256: of first weights that its file brought; '' where they are drawn.
    """

    name: Name
    depth: Annotated[int, Field(ge=1, le=1202)] | None = None
    params: dict[Name, int] = {}
    network_sha256: NetworkHash = ""
    start_sha256: NetworkHash = ""

    @model_serializer(mode="wrap")
    def _serialized(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields = without_default(without_default(handler(self), "params", {}), "network_sha256", "")
        return without_default(fields, "start_sha256", "")

    def __hash__(self) -> int:
        return hash((self.name, self.depth, self.network_sha256, self.start_sha256, *sorted(self.params.items())))

    @property
    def label(self) -> str:
        """'ResNet-20', 'IDSIA': the usual name."""
        depth = "" if self.depth is None else f"-{self.depth}"
        return f"{self.family}{depth}" + "".join(f" {name} {value}" for name, value in sorted(self.params.items()))

    @property
    def family(self) -> str:
        """'ResNet', 'IDSIA': the name without a depth."""
        return self.name if self.network_sha256 else _label(self.name)

    @property
    def is_known(self) -> bool:
        """Whether its ops can be made here: a run that somebody published may have a family that this clone has not."""
        return own.is_known(self.network_sha256) if self.network_sha256 else self.name in families.names()

    @property
    def arguments(self) -> dict[str, int]:
        """Keyword arguments of the family's `build`."""
        return {**self.params, **({} if self.depth is None else {"depth": self.depth})}


def without_default(fields: dict[str, Any], name: str, default: object) -> dict[str, Any]:
    """`fields` without `name` where it says nothing new: hashes of older questions, which knew no such field, stand."""
    return {key: value for key, value in fields.items() if key != name or value != default}
