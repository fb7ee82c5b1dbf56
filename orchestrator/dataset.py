"""Which pictures a trial reads, how they are split, prepared and changed: a value that all rooms share."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BeforeValidator, Field, model_serializer, model_validator
from pydantic_core.core_schema import SerializerFunctionWrapHandler

from orchestrator.environment import Frozen, Name
from orchestrator.errors import did_you_mean
from orchestrator.networks.model import without_default

Item = TypeVar("Item")
Listed = Annotated[tuple[Item, ...], BeforeValidator(lambda given: tuple(given) if isinstance(given, list) else given)]
"""A tuple that JSON writes as a list, also where a validator of the whole has read it first."""

Filters = Annotated[Listed[Name], Field(max_length=8)]
"""Names of orchestrator/data/filters.py, in the order in which they are applied."""

STUDY_FILTERS: Filters = ("clahe",)


class Filtered(Frozen):
    """What has filters. CLAHE alone, or none, is written as until 0.7: "clahe": true, or false."""

    filters: Filters = STUDY_FILTERS

    @model_validator(mode="before")
    @classmethod
    def _of_clahe(cls, fields: Any) -> Any:
        if not isinstance(fields, dict) or not isinstance(fields.get("clahe"), bool):
            return fields
        if "filters" in fields:
            raise ValueError("clahe and filters are both set; write filters alone")
        rest = {key: value for key, value in fields.items() if key != "clahe"}
        return {**rest, "filters": STUDY_FILTERS if fields["clahe"] else ()}

    @model_serializer(mode="wrap")
    def _serialized(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return self.as_before(handler(self))

    def as_before(self, fields: dict[str, Any]) -> dict[str, Any]:
        """Fields with `clahe` in place of `filters` where that says all, so that hashes of older questions stand."""
        if self.filters not in (STUDY_FILTERS, ()):
            return fields
        return {
            "clahe" if key == "filters" else key: bool(self.filters) if key == "filters" else value
            for key, value in fields.items()
        }


def filters_words(filters: Filters) -> str:
    """'' for CLAHE alone, as the study did; ' without CLAHE' for none; else ' with hsv', ' with clahe and unsharp'."""
    if filters == STUDY_FILTERS:
        return ""
    return f" with {' and '.join(filters)}" if filters else " without CLAHE"


class Synthetic(Frozen):
    """Size of the drawn data set. A track is one sign in several frames, with changing light and pose.

    weather: `clear` draws large signs in even light, which a network learns in a few hundred steps.
    """

    tracks_per_class: Annotated[int, Field(ge=2, le=500)] = 10
    frames_per_track: Annotated[int, Field(ge=1, le=60)] = 6
    test_tracks_per_class: Annotated[int, Field(ge=1, le=200)] = 2
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = 0
    weather: Literal["any", "clear"] = "any"

    @model_serializer(mode="wrap")
    def _serialized(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return without_default(handler(self), "weather", "any")


class Augmentation(Frozen):
    """Training pictures are changed at random, drawn by the trial's seed; see workers/augment.py.

    shift, scale, brightness, erase: shares; 0 leaves that out. rotation_degrees: to both sides.
    flip: classes whose pictures may be mirrored, left to right; true for all of them.
    """

    shift: Annotated[float, Field(ge=0, le=0.5)] = 0
    scale: Annotated[float, Field(ge=0, le=0.5)] = 0
    rotation_degrees: Annotated[float, Field(ge=0, le=180)] = 0
    brightness: Annotated[float, Field(ge=0, le=1)] = 0
    erase: Annotated[float, Field(ge=0, le=1)] = 0
    flip: bool | Listed[str] = False

    def numbered(self, classes: Sequence[str]) -> dict[str, Any]:
        """Its fields with the classes as numbers. Raises ValueError, a sentence, for a class that is not there."""
        names = classes if self.flip is True else self.flip or ()
        unknown = [name for name in names if name not in classes]
        if unknown:
            raise ValueError(
                f"dataset.augment.flip names {unknown[0]!r}, which is no class of these pictures."
                f"{did_you_mean(unknown[0], classes)}"
            )
        return {**self.model_dump(mode="json"), "flip": sorted(list(classes).index(name) for name in names)}


class Dataset(Filtered):
    """Which pictures, how they are split and how they are prepared.

    split:     `paper`: as the set has it if it brings pictures to validate, else drawn, whole objects where the set was
               registered with their pattern; `by-track`: whole objects, such as the signs of GTSRB.
    filters:   what is done to each picture after it has its size, in this order.
    fit:       how a picture gets its size: stretched, or with its proportions kept on black, or cut in the middle.
    fraction, per_class: a part of the pictures, to train and to test: this share of each class, or so many of it; drawn
               with `split_seed`.
    normalise: what a network gets of a byte: its share of 255, or that less the mean of its channel over all training
               pictures, divided by its deviation.
    augment:   how training pictures are changed at random; null for as they are.
    """

    name: Name = "gtsrb"
    split: Literal["paper", "by-track"] = "paper"
    split_seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = 0
    validation_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.2
    synthetic: Synthetic | None = None
    fit: Literal["stretch", "letterbox", "crop"] = "stretch"
    channel_order: Literal["bgr", "rgb"] = "bgr"
    fraction: Annotated[float, Field(gt=0, le=1)] | None = None
    per_class: Annotated[int, Field(ge=1, le=10**6)] | None = None
    normalise: Literal["unit", "standard"] = "unit"
    augment: Augmentation | None = None

    @model_serializer(mode="wrap")
    def _serialized(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields = self.as_before(handler(self))
        for name, default in _OF_LATER:
            fields = without_default(fields, name, default)
        return fields

    @property
    def part(self) -> str:
        """'10 % of each class', '50 of each class'; '' for all pictures."""
        if self.per_class is not None:
            return f"{self.per_class} of each class"
        return "" if self.fraction is None else f"{100 * self.fraction:.3g} % of each class"

    @property
    def differences(self) -> tuple[str, ...]:
        """What is taken of its pictures and done to them, where that is not what the study did: ('with hsv', ...)."""
        words = (
            self.part,
            "" if self.fit == "stretch" else self.fit,
            filters_words(self.filters).strip(),
            "" if self.channel_order == "bgr" else "red first",
            "" if self.normalise == "unit" else "by mean and deviation",
            "" if self.augment is None else "changed at random",
        )
        return tuple(word for word in words if word)


_OF_LATER = (
    ("fit", "stretch"),
    ("channel_order", "bgr"),
    ("fraction", None),
    ("per_class", None),
    ("normalise", "unit"),
    ("augment", None),
)
"""Fields that questions of before 0.8 did not have."""
