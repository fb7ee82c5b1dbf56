"""Which environments there are: the rows of docker/*/images.toml, and what each is made from.

A framework is a folder of docker/ that holds an images.toml; its name is that of the adapter's folder in
workers/frameworks/. Reading touches no daemon, and no row is known that its own folder does not declare.
"""

import hashlib
import re
import tomllib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Protocol, TypeVar

from pydantic import Field, TypeAdapter, ValidationError

from orchestrator.errors import CatalogueError, did_you_mean
from orchestrator.trial import Device, Frozen, Name, Tag, digest

TABLE, DOCKERFILE, REQUIREMENTS = "images.toml", "Dockerfile", "requirements"

_FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")]
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_CORES = ("physical_cores", "logical_cores")

T = TypeVar("T")


class Cores(Protocol):
    """What of a machine a row may ask for in its variables."""

    @property
    def physical_cores(self) -> int: ...
    @property
    def logical_cores(self) -> int: ...


class _Entry(Frozen):
    """One table of an images.toml, `["2.13".cpu]`; the fields are those of ImageRow."""

    stage: _FileName
    python: Annotated[str, Field(pattern=r"^\d+\.\d+$")]
    requirements: _FileName
    disk_mb: Annotated[int, Field(ge=1)]
    args: dict[str, str] = {}
    env: dict[str, str] = {}
    options: dict[str, Any] = {}
    why: str = ""
    hints: dict[str, str] = {}


@dataclass(frozen=True)
class ImageRow:
    """One declared variant of one framework on one device.

    folder:       docker/<framework>.
    stage:        target stage of its Dockerfile.
    python:       CPython it stands on, '3.11'; the Dockerfile's ARG PYTHON.
    requirements: file name in requirements/; the Dockerfile's ARG REQUIREMENTS.
    disk_mb:      space that making it takes, in MB (10**6 bytes).
    args:         the Dockerfile's other ARGs.
    env:          variables for the worker; may hold {physical_cores} and {logical_cores}.
    options:      for the adapter.
    why:          what this variant is for.
    hints:        distribution -> what to do when no package index has it.
    """

    framework: str
    variant: str
    device: Device
    folder: Path
    stage: str
    python: str
    requirements: str
    disk_mb: int
    args: dict[str, str]
    env: dict[str, str]
    options: dict[str, Any]
    why: str
    hints: dict[str, str]

    @property
    def subject(self) -> str:
        """'pytorch:2.13'."""
        return f"{self.framework}:{self.variant}"

    @property
    def label(self) -> str:
        """'pytorch:2.13 cpu'."""
        return f"{self.subject} {self.device}"

    @property
    def slug(self) -> str:
        """'pytorch-2.13-cpu': for file names."""
        return f"{self.framework}-{self.variant}-{self.device}"

    @property
    def requirements_path(self) -> Path:
        """The pinned, hashed requirements, read by the Dockerfile and by the virtualenv engine."""
        return self.folder / REQUIREMENTS / self.requirements

    @property
    def packages(self) -> tuple[str, ...]:
        """What the pins were made from, 'torch==2.13.0+cpu'; () if no .in file lies beside them."""
        asked = self.requirements_path.with_suffix(".in")
        lines = asked.read_text(encoding="utf-8").splitlines() if asked.is_file() else []
        return tuple(line.strip() for line in lines if line.strip() and not line.startswith(("#", "-")))


@dataclass(frozen=True)
class Catalogue:
    """All rows, by framework, in the order of their files; and each framework's default variant."""

    tables: dict[str, tuple[ImageRow, ...]]
    defaults: dict[str, str]

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

    def default(self, framework: str) -> str:
        """The variant taken when none is asked for. Raises CatalogueError for an unknown framework."""
        self._table(framework)
        return self.defaults[framework]

    def resolve(self, framework: str, device: Device, variant: str | None = None) -> ImageRow:
        """The row of that variant, or of the default one. Raises CatalogueError with the nearest name."""
        rows = [row for row in self._table(framework) if row.device == device]
        wanted = variant or self.defaults[framework]
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


def resolve_env(row: ImageRow, cores: Cores) -> dict[str, str]:
    """The row's variables with {physical_cores} and {logical_cores} replaced by this machine's."""
    counts = {name: str(getattr(cores, name)) for name in _CORES}
    return {key: _PLACEHOLDER.sub(lambda match: counts[match[1]], value) for key, value in row.env.items()}


def recipe_sha256(row: ImageRow) -> str:
    """Hash of all that an image of this row is built from; env and options are not in the image.

    Raises CatalogueError for a file that cannot be read.
    """
    files = [hashlib.sha256(_bytes(path)).hexdigest() for path in (row.folder / DOCKERFILE, row.requirements_path)]
    return digest([*files, row.stage, row.python, row.args])


def pins_sha256(row: ImageRow) -> str:
    """Hash of all that a virtualenv of this row is made from: variants with the same pins share one.

    Raises CatalogueError for a file that cannot be read.
    """
    return digest([hashlib.sha256(_bytes(row.requirements_path)).hexdigest(), row.python])


def _read(path: Path) -> tuple[str, tuple[ImageRow, ...]]:
    """Default variant and rows of one images.toml."""
    where = f"docker/{path.parent.name}/{TABLE}"
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise CatalogueError(f"{where} does not read: {error}.") from None
    _check(TypeAdapter(Name), path.parent.name, f"{where}: the name of its folder")
    default = table.pop("default", None)
    rows = tuple(_rows(path.parent, table, where))
    if default not in {row.variant for row in rows}:
        known = ", ".join(sorted({row.variant for row in rows})) or "none"
        raise CatalogueError(f"{where}: default is {default!r}; it must be a variant of this file: {known}.")
    return default, rows


def _rows(folder: Path, table: dict[str, Any], where: str) -> Iterator[ImageRow]:
    for variant, devices in table.items():
        _check(TypeAdapter(Tag), variant, f"{where}: the variant")
        for device, entry in _check(TypeAdapter(dict[Device, _Entry]), devices, f"{where}: {variant}").items():
            row = ImageRow(framework=folder.name, variant=variant, device=device, folder=folder, **entry.model_dump())
            for key, path in (("stage", folder / DOCKERFILE), ("requirements", row.requirements_path)):
                if not path.is_file():
                    raise CatalogueError(f"{where}: {variant}.{device}.{key} needs {path}, which is not there.")
            for name, value in row.env.items():
                for placeholder in _PLACEHOLDER.findall(value):
                    if placeholder not in _CORES:
                        raise CatalogueError(
                            f"{where}: {variant}.{device}.env.{name} has {{{placeholder}}}; "
                            f"allowed are {', '.join(f'{{{core}}}' for core in _CORES)}."
                        )
            yield row


def _check(adapter: TypeAdapter[T], value: object, where: str) -> T:
    """`value` as the adapter's type, or a CatalogueError that names the first key that is wrong."""
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"] if part != "[key]")
        seen = "" if first["type"] in ("missing", "extra_forbidden") else f", seen {first['input']!r}"
        raise CatalogueError(f"{where}{key and '.'}{key}: {first['msg']}{seen}.") from None


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CatalogueError(f"{path} does not read: {error.strerror}.") from None
