"""Which environments there are: the rows of docker/*/images.toml, and what each is made from.

A framework is a folder of docker/ that holds an images.toml; its name is that of the adapter's folder in
workers/frameworks/. Reading touches no daemon, and no row is known that its own folder does not declare.
"""

import hashlib
import re
import tomllib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Protocol, Self, TypeVar

from pydantic import Field, TypeAdapter, ValidationError, model_validator

from orchestrator.errors import CatalogueError, did_you_mean
from orchestrator.trial import Device, Frozen, Name, Tag, digest

TABLE, DOCKERFILE, REQUIREMENTS = "images.toml", "Dockerfile", "requirements"
PIP, FINISH = "requirements/pip.txt", "finish.sh"

HOST = "host"
"""The variant that is whatever a Python of this machine has installed."""

_FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")]
_Capability = Annotated[str, Field(pattern=r"^\d+\.\d$")]
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_CORES = ("physical_cores", "logical_cores")
_PLACEHOLDERS = (*_CORES, "environment")

T = TypeVar("T")


class Cores(Protocol):
    """What of a machine a row may ask for in its variables."""

    @property
    def physical_cores(self) -> int: ...
    @property
    def logical_cores(self) -> int: ...


class Source(Frozen):
    """An upstream source that is on no package index.

    repository: address that git fetches from. commit: which, and by being its hash, proof that it is that.
    local:      a clone on this machine to take it from instead, if the user named one.
    """

    repository: Annotated[str, Field(pattern=r"^https://\S+$")]
    commit: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]
    local: Path | None = None


class Cuda(Frozen):
    """What a build for NVIDIA cards was made with, and which cards and drivers run it.

    version:    of CUDA that it was built with, '11.2'.
    driver:     oldest Linux driver that runs it, '450.80.02'.
    capability: lowest and highest compute capability of the cards that its machine code runs on, both included.
                (Code for 7.0 runs on 7.5 too: on every later card of the same first number.)
    ptx:        compute capability of the portable code that it holds besides, which the driver compiles for cards
                above that range; None if it has none for all of its kernels.
    source:     where its CUDA comes from.
    """

    version: Annotated[str, Field(pattern=r"^\d+\.\d+$")]
    driver: Annotated[str, Field(pattern=r"^\d+(\.\d+){1,2}$")]
    capability: Annotated[tuple[_Capability, _Capability], Field(strict=False)]
    ptx: _Capability | None = None
    source: Annotated[str, Field(min_length=1)]

    @model_validator(mode="after")
    def _ascends(self) -> Self:
        lowest, highest = map(numbers, self.capability)
        if lowest > highest:
            raise ValueError("capability is the lowest, then the highest")
        return self


def numbers(version: str) -> tuple[int, ...]:
    """'450.80.02' -> (450, 80, 2): versions of drivers and compute capabilities, to be compared."""
    return tuple(map(int, version.split(".")))


class _Entry(Frozen):
    """One table of an images.toml, `["2.13".cpu]`; the fields are those of ImageRow."""

    stage: _FileName
    python: Annotated[str, Field(pattern=r"^\d+\.\d+$")]
    requirements: _FileName
    disk_mb: Annotated[int, Field(ge=1)]
    args: dict[str, str] = {}
    env: dict[str, str] = {}
    options: dict[str, Any] = {}
    expects: dict[str, bool | int | str] = {}
    needs: dict[str, str] = {}
    source: Source | None = None
    cuda: Cuda | None = None
    why: str = ""
    hints: dict[str, str] = {}
    unproven: str = ""
    retired: str = ""


@dataclass(frozen=True)
class ImageRow:
    """One declared variant of one framework on one device.

    folder:       docker/<framework>.
    stage:        target stage of its Dockerfile.
    python:       CPython it stands on, '3.11'; the Dockerfile's ARG PYTHON.
    requirements: file name in requirements/; the Dockerfile's ARG REQUIREMENTS.
    disk_mb:      space that making it takes, in MB (10**6 bytes).
    args:         the Dockerfile's other ARGs, and variables for finish.sh.
    env:          variables for the worker; may hold {physical_cores}, {logical_cores} and {environment}.
    options:      for the adapter.
    expects:      what the adapter's `describe` must say at work, or the trial fails: proof that a setting took.
    needs:        library or program that its stage brings, and a virtualenv takes from the machine -> how to get it.
    source:       what else it is made from, if a package index does not have it all.
    cuda:         what it needs of a card and its driver; for each GPU row that is built here, and for no other.
    why:          what this variant is for.
    hints:        distribution -> what to do when no package index has it.
    unproven:     why waymark's authors have not made it; '' where they have, or there is nothing to say.
    retired:      evidence that what it is made from is nowhere left; such a row is listed and never made.
    image:        a user's own image, by id, that is used as it is; None for a row that is built here.
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
    expects: dict[str, bool | int | str]
    needs: dict[str, str]
    source: Source | None
    cuda: Cuda | None
    why: str
    hints: dict[str, str]
    unproven: str
    retired: str
    image: str | None = None

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
    def pip_path(self) -> Path | None:
        """The pinned pip to install first, where the interpreter brings one that is too old for the requirements."""
        path = self.folder / PIP
        return path if path.is_file() else None

    @property
    def finish_path(self) -> Path | None:
        """The script that does what is left after pip, in an image and in a virtualenv alike."""
        path = self.folder / FINISH
        return path if path.is_file() else None

    @property
    def packages(self) -> tuple[str, ...]:
        """What the pins were made from, 'torch==2.13.0+cpu'; () if no .in file lies beside them."""
        asked = self.requirements_path.with_suffix(".in")
        lines = asked.read_text(encoding="utf-8").splitlines() if asked.is_file() else []
        return tuple(line.strip() for line in lines if line.strip() and not line.startswith(("#", "-")))


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
            hints={},
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
        bare: dict[str, Any] = {"variant": HOST, "args": {}, "options": {}, "source": None, "cuda": None, "hints": {}}
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


def chosen(
    catalogue: Catalogue, frameworks: Sequence[str], device: Device, variants: Mapping[str, Collection[str]]
) -> tuple[ImageRow, ...]:
    """The rows asked for: all on that device, but of a framework that `variants` names only those.

    frameworks: none means all. Raises CatalogueError for a name that no images.toml declares, or if there is no row.
    """
    rows: list[ImageRow] = []
    for framework in frameworks or catalogue.frameworks:
        if framework in variants:
            rows += (catalogue.resolve(framework, device, variant) for variant in variants[framework])
        else:
            rows += catalogue.rows(frameworks=(framework,), device=device)
    if not rows:
        raise CatalogueError(f"no docker/*/{TABLE} declares a {device} image of {', '.join(frameworks) or 'anything'}.")
    return tuple(rows)


def resolve_env(row: ImageRow, cores: Cores, environment: str) -> dict[str, str]:
    """The row's variables with {physical_cores} and {logical_cores} replaced by this machine's.

    environment: what becomes of {environment}, the prefix that the row's packages are installed under.
    """
    known = {name: str(getattr(cores, name)) for name in _CORES} | {"environment": environment}
    return {key: _PLACEHOLDER.sub(lambda match: known[match[1]], value) for key, value in row.env.items()}


def resolve_expects(row: ImageRow, cores: Cores) -> dict[str, bool | int | str]:
    """What the row expects, with '{physical_cores}' and '{logical_cores}' replaced by this machine's number."""
    known = {f"{{{name}}}": int(getattr(cores, name)) for name in _CORES}
    return {key: known.get(value, value) if isinstance(value, str) else value for key, value in row.expects.items()}


def recipe_sha256(row: ImageRow) -> str:
    """Hash of all that an image of this row is built from; env and options are not in the image.

    Raises CatalogueError for a file that cannot be read.
    """
    return digest([_sha256(row.folder / DOCKERFILE), row.stage, row.args, *_installed(row)])


def pins_sha256(row: ImageRow) -> str:
    """Hash of all that a virtualenv of this row is made from: variants with the same pins share one.

    Raises CatalogueError for a file that cannot be read.
    """
    return digest([*_installed(row), row.args if row.finish_path else {}])


def _installed(row: ImageRow) -> list[str | None]:
    """What decides which files end up under the prefix, in an image and in a virtualenv alike."""
    paths = (row.requirements_path, row.pip_path, row.finish_path)
    files = [_sha256(path) if path else None for path in paths]
    return [row.python, row.source.commit if row.source else None, *files]


def _read(path: Path) -> tuple[dict[Device, str], tuple[ImageRow, ...]]:
    """Default variants and rows of one images.toml."""
    where = f"docker/{path.parent.name}/{TABLE}"
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise CatalogueError(f"{where} does not read: {error}.") from None
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
                for placeholder in _PLACEHOLDER.findall(value):
                    if placeholder not in _PLACEHOLDERS:
                        raise CatalogueError(
                            f"{where}: {variant}.{device}.env.{name} has {{{placeholder}}}; "
                            f"allowed are {', '.join(f'{{{known}}}' for known in _PLACEHOLDERS)}."
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


def _sha256(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise CatalogueError(f"{path} does not read: {error.strerror}.") from None
