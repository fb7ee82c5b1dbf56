"""Reads an images.toml: the variants of a framework, and the settings that may be put on them."""

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypeVar

from pydantic import Field, TypeAdapter, ValidationError

from orchestrator.environment import FLOAT32, Device, Frozen, Name, Precision, Tag
from orchestrator.errors import CatalogueError, did_you_mean, first_line, shortened
from orchestrator.planning.image_row import DOCKERFILE, PLACEHOLDER, PLACEHOLDERS, Cuda, ImageRow, UpstreamSource
from orchestrator.planning.setting import JOINT, Setting, SettingName, Value, Variable

TABLE = "images.toml"

URL = r"^https?://[^\s/]\S*$"
_FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")]
_Url = Annotated[str, Field(pattern=URL)]
T = TypeVar("T")


class _Entry(Frozen):
    """One table of an images.toml, `["2.13".cpu]`; the fields are those of ImageRow."""

    stage: _FileName
    python: Annotated[str, Field(pattern=r"^\d+\.\d+$")]
    requirements: _FileName
    index: _Url | None = None
    disk_mb: Annotated[int, Field(ge=1)]
    args: dict[Variable, Value] = {}
    env: dict[Variable, Value] = {}
    options: dict[Name, bool | int | str] = {}
    precision: Precision = FLOAT32
    expects: dict[str, bool | int | str] = {}
    needs: dict[str, str] = {}
    source: UpstreamSource | None = None
    cuda: Cuda | None = None
    why: str = ""
    unproven: str = ""
    retired: str = ""
    is_tried: Annotated[bool, Field(alias="tune")] = True


class Table(NamedTuple):
    """One images.toml."""

    rows: tuple[ImageRow, ...]
    defaults: dict[Device, str]
    best: dict[Device, str]
    settings: dict[str, Setting]


def read_table(path: Path) -> Table:
    """What one images.toml declares. Raises CatalogueError, naming file and key."""
    where = f"docker/{path.parent.name}/{TABLE}"
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:  # of ValueError: no UTF-8, no TOML, or a number of thousands of digits
        raise CatalogueError(f"{where} does not read: {first_line(error)}.") from None
    _check(TypeAdapter(Name), path.parent.name, f"{where}: the name of its folder")
    default = table.pop("default", None)
    gpu_default = table.pop("gpu_default", default)
    named: dict[str, Any] = {"default": default, "gpu_default": gpu_default}
    named |= {"best": table.pop("best", default), "gpu_best": table.pop("gpu_best", gpu_default)}
    asked, trains = table.pop("settings", {}), _check(TypeAdapter(bool), table.pop("trains", True), f"{where}: trains")
    settings = _check(TypeAdapter(dict[SettingName, Setting]), asked, f"{where}: settings")
    rows = tuple(_rows(path.parent, table, where, trains))
    known = sorted({row.variant for row in rows})
    for key, value in named.items():
        if value not in known:
            listed = ", ".join(known) or "none"
            raise CatalogueError(f"{where}: {key} is {value!r}; it must be a variant of this file: {listed}.")
    for name, setting in settings.items():
        for variant in setting.of:
            if variant not in known:
                raise CatalogueError(
                    f"{where}: settings.{name}.of names {variant!r}; it must be a variant of this file: "
                    f"{', '.join(known)}.{did_you_mean(variant, known)}"
                )
        _check_placeholders(setting.env, f"{where}: settings.{name}")
    return Table(
        rows,
        {"cpu": named["default"], "gpu": named["gpu_default"]},
        {"cpu": named["best"], "gpu": named["gpu_best"]},
        settings,
    )


def _rows(folder: Path, table: dict[str, Any], where: str, trains: bool) -> Iterator[ImageRow]:
    for variant, devices in table.items():
        _check(TypeAdapter(Tag), variant, f"{where}: the variant")
        for device, entry in _check(TypeAdapter(dict[Device, _Entry]), devices, f"{where}: {variant}").items():
            fields = {name: getattr(entry, name) for name in _Entry.model_fields} | {"trains": trains}
            row = ImageRow(framework=folder.name, variant=variant, device=device, folder=folder, **fields)
            for key, path in (("stage", folder / DOCKERFILE), ("requirements", row.requirements_path)):
                if not path.is_file():
                    raise CatalogueError(f"{where}: {variant}.{device}.{key} needs {path}, which is not there.")
            if JOINT in variant:
                raise CatalogueError(f"{where}: {variant} has a {JOINT}, which stands before a setting; use a -.")
            if (device == "gpu") != (row.cuda is not None):
                raise CatalogueError(f"{where}: {variant}.{device}.cuda: each gpu row has it, and no cpu row.")
            _check_placeholders(row.env, f"{where}: {variant}.{device}")
            yield row


def _check_placeholders(env: Mapping[str, str], where: str) -> None:
    for name, value in env.items():
        for placeholder in PLACEHOLDER.findall(value):
            if placeholder not in PLACEHOLDERS:
                raise CatalogueError(
                    f"{where}.env.{name} has {{{placeholder}}}; "
                    f"allowed are {', '.join(f'{{{known}}}' for known in PLACEHOLDERS)}."
                )


def _check(adapter: TypeAdapter[T], value: object, where: str) -> T:
    """`value` as the adapter's type, or a CatalogueError that names the first key that is wrong."""
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(shortened(str(part)) for part in first["loc"] if part != "[key]")
        seen = "" if first["type"] in ("missing", "extra_forbidden") else f", seen {shortened(repr(first['input']))}"
        raise CatalogueError(f"{where}{key and '.'}{key}: {first['msg']}{seen}.") from None
