"""The software that a trial runs in: its key, and the environment prepared on this machine; and the base of records."""

import hashlib
import json
from typing import Annotated, Any, Literal, NamedTuple, Protocol

from pydantic import AliasChoices, BaseModel, ConfigDict, Field

Device = Literal["cpu", "gpu"]
Precision = Literal["float32", "bfloat16", "float16", "int8", "chosen"]
"""The number format that is asked for; 'chosen' is what a framework takes by itself on this processor."""
FLOAT32: Precision = "float32"
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=40)]
Tag = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$")]
RunId = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,119}$")]
"""Names a folder below runs/ and reports/, so it can be no path that leads elsewhere."""
Token = Annotated[str, Field(pattern=r"^[!-~]{0,200}$")]
"""A hash or another short name without spaces."""
Bytes = Annotated[int, Field(ge=0, le=2**60)]
UnixSeconds = Annotated[float, Field(ge=0, le=253_402_300_799)]
"""Seconds since 1970, up to the year 9999."""


class Frozen(BaseModel):
    """An immutable record that rejects unknown keys and converts no types."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def digest(value: object) -> str:
    """sha256 (hex) of a JSON value in canonical form: sorted keys, no spaces."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


class HasEnvironment(Protocol):
    """Whatever names an environment by these three."""

    @property
    def framework(self) -> str: ...
    @property
    def variant(self) -> str: ...
    @property
    def device(self) -> Device: ...


class EnvironmentKey(NamedTuple):
    """Identifies an environment in a run: one variant of one framework on one device."""

    framework: str
    variant: str
    device: Device

    @classmethod
    def of(cls, asked: "HasEnvironment") -> "EnvironmentKey":
        """The key of a row, a trial, a check or an environment."""
        return cls(asked.framework, asked.variant, asked.device)

    @property
    def subject(self) -> str:
        """'pytorch:2.13'."""
        return f"{self.framework}:{self.variant}"

    @property
    def label(self) -> str:
        """'pytorch:2.13 cpu'."""
        return f"{self.subject} {self.device}"


class Card(Frozen):
    """One NVIDIA card, as NVML describes it.

    index:      its number, as `nvidia-smi` prints it.
    uuid:       identifies this very card, so it is written into no record.
    capability: '9.0'. driver: '580.159.04'.
    is_mig:     MIG is on: a process gets a part of the card only. Called `is_divided` in records of 0.1.
    """

    index: int
    uuid: Annotated[str, Field(exclude=True)] = ""
    name: str
    memory_bytes: Bytes
    capability: str
    driver: str
    is_mig: Annotated[bool, Field(validation_alias=AliasChoices("is_mig", "is_divided"))] = False

    @property
    def label(self) -> str:
        """'GPU 0 (NVIDIA H200)'."""
        return f"GPU {self.index} ({self.name})"


class Environment(Frozen):
    """A row of the catalogue, prepared on this machine.

    identity: hash of everything in it: image id or installed packages, the row's variables and options, and the make
              and driver of its card.
    location: image reference for Docker, path of the interpreter for a virtualenv.
    freeze:   installed distributions, 'name==version', sorted.
    env:      variables set for the worker, placeholders resolved.
    options:  of the row, for the adapter.
    precision: the number format that it computes in.
    expects:  settings that must be in force in the worker (name in an adapter's `describe` -> value), else it ends.
    card:     the only card that its workers can use; None means none.
    """

    engine: str
    framework: Name
    variant: Tag
    device: Device
    identity: Token
    location: str
    python: str
    freeze: Annotated[tuple[str, ...], Field(max_length=10_000)]
    env: dict[str, str] = {}
    options: dict[str, Any] = {}
    precision: Precision = FLOAT32
    expects: dict[str, Any] = {}
    card: Card | None = None

    @property
    def key(self) -> EnvironmentKey:
        """Framework, variant and device."""
        return EnvironmentKey.of(self)

    def on(self, card: Card) -> "Environment":
        """The same with that card; its identity depends on the card's make and driver."""
        identity = digest([self.identity, card.name, card.capability, card.driver])
        return self.model_copy(update={"card": card, "identity": identity})
