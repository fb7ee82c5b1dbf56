"""Which environments there are: the rows of docker/*/images.toml.

A framework is a folder of docker/ that holds an images.toml; its name is that of the adapter's folder in
workers/frameworks/. Reading touches no daemon, and no row is known that its own folder does not declare.
"""

import re
import tomllib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import Field, TypeAdapter, ValidationError

from orchestrator.environment import Device, Frozen, Name, Tag
from orchestrator.errors import CatalogueError, did_you_mean, first_line, shortened
from orchestrator.planning.image_row import DOCKERFILE, PLACEHOLDER, PLACEHOLDERS, Cuda, ImageRow, UpstreamSource

TABLE = "images.toml"

HOST = "host"
"""The variant that is whatever a Python of this machine has installed."""

_FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")]
_URL = r"^https?://[^\s/]\S*$"
_Url = Annotated[str, Field(pattern=_URL)]

_Variable = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,99}$")]
_Value = Annotated[str, Field(pattern=r"^[^\x00]*$", max_length=10_000)]
"""The operating system takes no NUL in a variable."""

T = TypeVar("T")


class _Entry(Frozen):
    """One table of an images.toml, `["2.13".cpu]`; the fields are those of ImageRow."""

    stage: _FileName
    python: Annotated[str, Field(pattern=r"^\d+\.\d+$")]
    requirements: _FileName
    index: _Url | None = None
    disk_mb: Annotated[int, Field(ge=1)]
    args: dict[_Variable, _Value] = {}
    env: dict[_Variable, _Value] = {}
    options: dict[Name, bool | int | str] = {}
    expects: dict[str, bool | int | str] = {}
    needs: dict[str, str] = {}
    source: UpstreamSource | None = None
    cuda: Cuda | None = None
    why: str = ""
    unproven: str = ""
    retired: str = ""


@dataclass(frozen=True)
class Catalogue:
    """All rows, by framework, in the order of their files; and each framework's default variant on each device."""

    tables: dict[str, tuple[ImageRow, ...]]
    defaults: dict[str, dict[Device, str]]

    @classmethod
    def load(cls, folder: Path) -> "Catalogue":
        """Read <folder>/*/images.toml. Raises CatalogueError, naming file and key."""
        tables, defaults = {}, {}
        for path in sorted(folder.glob(f"*/{TABLE}")):
            framework = path.parent.name
            defaults[framework], tables[framework] = _read(path)
        if not tables:
            raise CatalogueError(f"{folder} holds no */{TABLE}: there is nothing to train in.")
        return cls(tables, defaults)

    @property
    def frameworks(self) -> tuple[str, ...]:
        """Names, sorted."""
        return tuple(self.tables)

    def with_sources(self, local: Mapping[str, Path]) -> "Catalogue":
        """This catalogue, with local clones to take upstream sources from. local: framework -> its clone.

        Raises CatalogueError for a framework that has no upstream source.
        """
        for framework in local:
            if not any(row.source for row in self._table(framework)):
                raise CatalogueError(f"{framework} comes whole from the package index: it has no source to be given.")

        def given(row: ImageRow) -> ImageRow:
            if row.source is None or row.framework not in local:
                return row
            return replace(row, source=row.source.model_copy(update={"local": local[row.framework]}))

        return replace(self, tables={name: tuple(map(given, rows)) for name, rows in self.tables.items()})

    def with_indexes(self, indexes: Mapping[str, str]) -> "Catalogue":
        """This catalogue, with mirrors in the place of publishers' own package indexes. indexes: framework -> URL.

        Raises CatalogueError for a framework whose rows name no such index.
        """
        for framework in indexes:
            if not any(row.index for row in self._table(framework)):
                raise CatalogueError(
                    f"no row of {framework} names an index of its publisher's, so WAYMARK_INDEX has none to replace. "
                    "What pip itself shall ask belongs in its own configuration."
                )

        def given(row: ImageRow) -> ImageRow:
            return replace(row, index=indexes.get(row.framework, row.index)) if row.index else row

        return replace(self, tables={name: tuple(map(given, rows)) for name, rows in self.tables.items()})

    def with_image(self, framework: str, device: Device, name: str, image_id: str) -> tuple["Catalogue", ImageRow]:
        """This catalogue and, in it, a row of the user's own image, as a variant that is named by its digest.

        name: what the user calls it. image_id: 'sha256:...'. Raises CatalogueError for an unknown framework.
        """
        table = self._table(framework)
        row = replace(
            table[0],
            variant=f"image-{image_id.removeprefix('sha256:')[:12]}",
            device=device,
            args={},
            env={},
            options={},
            expects={},
            needs={},
            source=None,
            cuda=None,
            why=f"the user's own image {name}",
            index=None,
            unproven="",
            retired="",
            image=image_id,
        )
        return replace(self, tables={**self.tables, framework: (*table, row)}), row

    def installed(self) -> "Catalogue":
        """What --engine=host knows: of each framework the one variant `host`, on the devices that it has rows for.

        Nothing is told to the framework, but that on a card float32 means float32 (no TF32); nothing is expected of
        it, and nothing is known of what it was built for.
        """
        bare: dict[str, Any] = {"variant": HOST, "args": {}, "options": {}, "source": None, "cuda": None, "index": None}
        bare |= {"why": "what a Python of this machine has installed", "image": None, "expects": {}, "needs": {}}
        bare |= {"unproven": "", "retired": ""}
        env: dict[str, dict[str, str]] = {"cpu": {}, "gpu": {"NVIDIA_TF32_OVERRIDE": "0"}}
        tables = {
            framework: tuple(
                replace(row, env=env[row.device], **bare) for row in {row.device: row for row in rows}.values()
            )
            for framework, rows in self.tables.items()
        }
        return Catalogue(tables, {framework: dict.fromkeys(self.defaults[framework], HOST) for framework in tables})

    def default(self, framework: str, device: Device = "cpu") -> str:
        """The variant taken when none is asked for. Raises CatalogueError for an unknown framework."""
        self._table(framework)
        return self.defaults[framework][device]

    def resolve(self, framework: str, device: Device, variant: str | None = None) -> ImageRow:
        """The row of that variant, or of the default one. Raises CatalogueError with the nearest name."""
        rows = [row for row in self._table(framework) if row.device == device]
        wanted = variant or self.default(framework, device)
        for row in rows:
            if row.variant == wanted:
                return row
        known = [row.variant for row in rows]
        raise CatalogueError(
            f"docker/{framework}/{TABLE} has no variant '{wanted}' for {device}. "
            f"Known: {', '.join(known) or 'none'}.{did_you_mean(wanted, known)}"
        )

    def rows(
        self,
        frameworks: Collection[str] | None = None,
        device: Device | None = None,
        variant: str | None = None,
    ) -> tuple[ImageRow, ...]:
        """The rows that fit all that is given. Raises CatalogueError for an unknown framework."""
        return tuple(
            row
            for framework in (self.frameworks if frameworks is None else frameworks)
            for row in self._table(framework)
            if device in (None, row.device) and variant in (None, row.variant)
        )

    def _table(self, framework: str) -> tuple[ImageRow, ...]:
        if framework not in self.tables:
            raise CatalogueError(
                f"docker/{framework}/{TABLE} is not there. Known frameworks: {', '.join(self.frameworks)}."
                f"{did_you_mean(framework, self.frameworks)}"
            )
        return self.tables[framework]


def local_clones(texts: Sequence[str]) -> dict[str, Path]:
    """'neon=/srv/neon' -> {'neon': its path}, for Catalogue.with_sources. Raises CatalogueError."""
    clones = {}
    for text in texts:
        framework, sign, path = text.partition("=")
        if not (framework and sign and path):
            raise CatalogueError(f"--source is '{text}'; write framework=PATH, for example neon=/srv/clones/neon.")
        clones[framework] = Path(path).absolute()
    return clones


def index_mirrors(texts: Sequence[str]) -> dict[str, str]:
    """'pytorch=https://mirror/whl/cpu' -> {'pytorch': that URL}, for Catalogue.with_indexes. Raises CatalogueError."""
    mirrors = {}
    for text in texts:
        framework, _, url = text.partition("=")
        if not framework or not re.match(_URL, url):
            raise CatalogueError(
                f"WAYMARK_INDEX holds '{text}'; write framework=URL, for example "
                "pytorch=https://mirror.example/whl/cpu, and a space between two."
            )
        mirrors[framework] = url
    return mirrors


def chosen(
    catalogue: Catalogue, frameworks: Sequence[str], device: Device, variants: Mapping[str, Collection[str]]
) -> tuple[ImageRow, ...]:
    """The rows asked for: all on that device, but of a framework that `variants` names only those.

    frameworks: none means all. Raises CatalogueError for a name that no images.toml declares, or if there is no row.
    """
    rows: list[ImageRow] = []
    for framework in variants:
        if framework not in (frameworks or catalogue.frameworks):
            known = frameworks or catalogue.frameworks
            raise CatalogueError(
                f"--variant names '{framework}', which is not among the frameworks that are asked for: "
                f"{', '.join(known)}.{did_you_mean(framework, known)}"
            )
    for framework in frameworks or catalogue.frameworks:
        if framework in variants:
            rows += (catalogue.resolve(framework, device, variant) for variant in variants[framework])
        else:
            rows += catalogue.rows(frameworks=(framework,), device=device)
    if not rows:
        raise CatalogueError(f"no docker/*/{TABLE} declares a {device} image of {', '.join(frameworks) or 'anything'}.")
    return tuple(rows)


def _read(path: Path) -> tuple[dict[Device, str], tuple[ImageRow, ...]]:
    """Default variants and rows of one images.toml."""
    where = f"docker/{path.parent.name}/{TABLE}"
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:  # of ValueError: no UTF-8, no TOML, or a number of thousands of digits
        raise CatalogueError(f"{where} does not read: {first_line(error)}.") from None
    _check(TypeAdapter(Name), path.parent.name, f"{where}: the name of its folder")
    default = table.pop("default", None)
    gpu_default = table.pop("gpu_default", default)
    rows = tuple(_rows(path.parent, table, where))
    for key, value in (("default", default), ("gpu_default", gpu_default)):
        if value not in {row.variant for row in rows}:
            known = ", ".join(sorted({row.variant for row in rows})) or "none"
            raise CatalogueError(f"{where}: {key} is {value!r}; it must be a variant of this file: {known}.")
    return {"cpu": default, "gpu": gpu_default}, rows


def _rows(folder: Path, table: dict[str, Any], where: str) -> Iterator[ImageRow]:
    for variant, devices in table.items():
        _check(TypeAdapter(Tag), variant, f"{where}: the variant")
        for device, entry in _check(TypeAdapter(dict[Device, _Entry]), devices, f"{where}: {variant}").items():
            fields = {name: getattr(entry, name) for name in _Entry.model_fields}
            row = ImageRow(framework=folder.name, variant=variant, device=device, folder=folder, **fields)
            for key, path in (("stage", folder / DOCKERFILE), ("requirements", row.requirements_path)):
                if not path.is_file():
                    raise CatalogueError(f"{where}: {variant}.{device}.{key} needs {path}, which is not there.")
            if (device == "gpu") != (row.cuda is not None):
                raise CatalogueError(f"{where}: {variant}.{device}.cuda: each gpu row has it, and no cpu row.")
            for name, value in row.env.items():
                for placeholder in PLACEHOLDER.findall(value):
                    if placeholder not in PLACEHOLDERS:
                        raise CatalogueError(
                            f"{where}: {variant}.{device}.env.{name} has {{{placeholder}}}; "
                            f"allowed are {', '.join(f'{{{known}}}' for known in PLACEHOLDERS)}."
                        )
            yield row


def _check(adapter: TypeAdapter[T], value: object, where: str) -> T:
    """`value` as the adapter's type, or a CatalogueError that names the first key that is wrong."""
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(shortened(str(part)) for part in first["loc"] if part != "[key]")
        seen = "" if first["type"] in ("missing", "extra_forbidden") else f", seen {shortened(repr(first['input']))}"
        raise CatalogueError(f"{where}{key and '.'}{key}: {first['msg']}{seen}.") from None
