"""The size of the pictures that a network takes."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

LEAST_SIDE, MOST_SIDE, MOST_CHANNELS = 8, 512, 4


class InputSize(NamedTuple):
    """Channels, height and width. In JSON 3 x 32 x 32 is written 32, and any other size [1, 28, 28]."""

    channels: int
    height: int
    width: int

    @classmethod
    def square(cls, side: int) -> "InputSize":
        """Of colour pictures with this side."""
        return cls(3, side, side)

    @classmethod
    def of(cls, written: object) -> "InputSize":
        """The size that JSON writes so. Raises ValueError for another."""
        if isinstance(written, int) and not isinstance(written, bool):
            written = (3, written, written)
        if not isinstance(written, Sequence) or isinstance(written, str) or len(written) != 3:
            raise ValueError(ALLOWED)
        if not all(isinstance(part, int) and not isinstance(part, bool) for part in written):
            raise ValueError(ALLOWED)
        size = cls(*written)
        sides = (size.height, size.width)
        if not 1 <= size.channels <= MOST_CHANNELS or min(sides) < LEAST_SIDE or max(sides) > MOST_SIDE:
            raise ValueError(ALLOWED)
        return size

    @classmethod
    def named(cls, text: str) -> "InputSize":
        """The size of '32' or '1x28x28'. Raises ValueError for another text."""
        parts = text.split("x")
        if not all(part.isdecimal() and len(part) <= 4 for part in parts):
            raise ValueError(ALLOWED)
        return cls.of(int(text) if len(parts) == 1 else [int(part) for part in parts])

    @property
    def written(self) -> int | list[int]:
        """As JSON writes it: 32, or [1, 28, 28]."""
        return self.side or list(self)

    @property
    def side(self) -> int | None:
        """Of square colour pictures; None of others."""
        return self.height if self == InputSize.square(self.height) else None

    @property
    def pixels(self) -> str:
        """'32x32', '48x96'; of pictures that are not of three channels '1x28x28'."""
        return "x".join(map(str, self if self.channels != 3 else self[1:]))

    @property
    def word(self) -> int | str:
        """As a table shows it: 32, or '1x28x28'."""
        return self.side or str(self)

    def __str__(self) -> str:
        """'32', '1x28x28'."""
        return str(self.side or "x".join(map(str, self)))

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            cls.of, serialization=core_schema.plain_serializer_function_ser_schema(lambda size: size.written)
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        side = {"type": "integer", "minimum": LEAST_SIDE, "maximum": MOST_SIDE}
        channels = {"type": "integer", "minimum": 1, "maximum": MOST_CHANNELS}
        sizes = {"type": "array", "prefixItems": [channels, side, side], "minItems": 3, "maxItems": 3}
        about = "One side of square colour pictures, or [channels, height, width]."
        return {"anyOf": [side, sizes], "description": about}


ALLOWED = (
    f"it must be a side of {LEAST_SIDE} to {MOST_SIDE} pixels, or [channels, height, width] with 1 to {MOST_CHANNELS} "
    "channels"
)
