"""Settings that can be put on a variant: 'mxnet:1.5-mkl_omp' is the variant 1.5-mkl with the setting omp.

A framework's images.toml declares them, so that `invoke tune` knows what may vary. A row with a setting is made from
the recipe of its variant: only variables and options of the worker differ, and what must be in force.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Annotated

from pydantic import Field

from orchestrator.environment import Device, Frozen, Name, Tag
from orchestrator.planning.image_row import ImageRow

JOINT = "_"
"""Between a variant and its settings."""

SettingName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$")]
Variable = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,99}$")]
Value = Annotated[str, Field(pattern=r"^[^\x00]*$", max_length=10_000)]
"""The operating system takes no NUL in a variable."""


class Setting(Frozen):
    """env, options, expects: as those of a row, over which they are laid.

    of:      the variants that it may be put on; none means all of its devices.
    devices: where it is known.
    is_tried: whether `invoke tune` tries it.
    """

    env: dict[Variable, Value] = {}
    options: dict[Name, bool | int | str] = {}
    expects: dict[str, bool | int | str] = {}
    of: Annotated[tuple[Tag, ...], Field(strict=False)] = ()
    devices: Annotated[tuple[Device, ...], Field(strict=False, min_length=1)] = ("cpu",)
    is_tried: Annotated[bool, Field(alias="tune")] = True
    why: str

    def fits(self, row: ImageRow) -> bool:
        """Whether it may be put on `row`, and would change anything there."""
        is_of_it = row.device in self.devices and (not self.of or row.variant.partition(JOINT)[0] in self.of)
        is_new = not (self.env.items() <= row.env.items() and self.options.items() <= row.options.items())
        return is_of_it and is_new

    def is_beside(self, other: "Setting") -> bool:
        """Whether both can be in force: they set nothing in common."""
        return not (self.env.keys() & other.env.keys() or self.options.keys() & other.options.keys())


def with_settings(row: ImageRow, settings: Mapping[str, Setting], names: Iterable[str]) -> ImageRow:
    """`row` with the named settings in force, in the order of `settings`; it is called after all of them."""
    asked = set(names)
    chosen = [name for name in settings if name in asked]
    env, options, expects = dict(row.env), dict(row.options), dict(row.expects)
    for name in chosen:
        env |= settings[name].env
        options |= settings[name].options
        expects |= settings[name].expects
    variant = JOINT.join([row.variant, *chosen])
    why = f"{row.base or row.variant} with: {'; '.join(settings[name].why for name in chosen)}"
    return replace(
        row, variant=variant, base=row.base or row.variant, env=env, options=options, expects=expects, why=why
    )
