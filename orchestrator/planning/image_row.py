"""One row of an images.toml: what an environment is made from, and what it asks of the machine that it runs on."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Protocol, Self

from pydantic import Field, model_validator

from orchestrator.environment import FLOAT32, Device, EnvironmentKey, Frozen, Precision, digest
from orchestrator.errors import CatalogueError

DOCKERFILE, REQUIREMENTS = "Dockerfile", "requirements"
PIP, FINISH = "requirements/pip.txt", "finish.sh"
PLACEHOLDER = re.compile(r"\{([^{}]*)\}")

_CORES = ("physical_cores", "logical_cores")
PLACEHOLDERS = (*_CORES, "environment")
"""What a row's variables may ask to be told."""

_Capability = Annotated[str, Field(pattern=r"^\d+\.\d$")]


class Cores(Protocol):
    """What of a machine a row may ask for in its variables."""

    @property
    def physical_cores(self) -> int: ...
    @property
    def logical_cores(self) -> int: ...


class UpstreamSource(Frozen):
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
        lowest, highest = map(version_numbers, self.capability)
        if lowest > highest:
            raise ValueError("capability is the lowest, then the highest")
        return self


_FROM = re.compile(r"^FROM\s+(\S+)(?:\s+AS\s+(\S+))?\s*$", re.IGNORECASE | re.MULTILINE)
_ARG = re.compile(r"^ARG\s+(\w+)=(\S+)\s*$", re.MULTILINE)


def base_images(row: "ImageRow", args: Mapping[str, str]) -> tuple[str, ...]:
    """The images that the Dockerfile of `row` builds upon, 'python:3.11-slim-bookworm', each once.

    args: of its build; they replace the defaults of its ARGs.
    """
    text = (row.folder / DOCKERFILE).read_text(encoding="utf-8", errors="replace")
    values = {**dict(_ARG.findall(text)), **args}
    stages = {name for _, name in _FROM.findall(text)} | {"scratch"}  # which is no image
    named = [base for base, _ in _FROM.findall(text) if base not in stages]
    return tuple(
        dict.fromkeys(re.sub(r"\$\{(\w+)\}", lambda match: values.get(match[1], ""), value) for value in named)
    )


def version_numbers(version: str) -> tuple[int, ...]:
    """'450.80.02' -> (450, 80, 2): versions of drivers and compute capabilities, to be compared."""
    return tuple(map(int, version.split(".")))


@dataclass(frozen=True)
class ImageRow:
    """One declared variant of one framework on one device.

    folder:       docker/<framework>.
    stage:        target stage of its Dockerfile.
    python:       CPython it stands on, '3.11'; the Dockerfile's ARG PYTHON.
    requirements: file name in requirements/; the Dockerfile's ARG REQUIREMENTS.
    index:        its publisher's own package index, asked for what the user's indexes lack; None if they have all.
                  No part of the recipe or the pins: the hash of a file decides, wherever it came from.
    disk_mb:      space that making it takes, in MB (10**6 bytes).
    args:         the Dockerfile's other ARGs, and variables for finish.sh.
    env:          variables for the worker; may hold {physical_cores}, {logical_cores} and {environment}.
    options:      for the adapter.
    expects:      what the adapter's `describe` must say at work, or the trial fails: proof that a setting took.
    needs:        library or program that its stage brings, and a virtualenv takes from the machine -> how to get it.
    source:       what else it is made from, if a package index does not have it all.
    cuda:         what it needs of a card and its driver; for each GPU row that is built here, and for no other.
    why:          what this variant is for.
    unproven:     why waymark's authors have not made it; '' where they have, or there is nothing to say.
    retired:      evidence that what it is made from is nowhere left; such a row is listed and never made.
    image:        a user's own image, by id, that is used as it is; None for a row that is built here.
    base:         the variant whose image it runs, for one with settings (see setting.py); '' for one of its own.
    is_tried:     whether `invoke tune` tries it.
    trains:       False of a runtime, which only runs networks that were trained elsewhere.
    precision:    the number format that it computes in.
    """

    framework: str
    variant: str
    device: Device
    folder: Path
    stage: str
    python: str
    requirements: str
    index: str | None
    disk_mb: int
    args: dict[str, str]
    env: dict[str, str]
    options: dict[str, Any]
    expects: dict[str, bool | int | str]
    needs: dict[str, str]
    source: UpstreamSource | None
    cuda: Cuda | None
    why: str
    unproven: str
    retired: str
    image: str | None = None
    base: str = ""
    is_tried: bool = True
    trains: bool = True
    precision: Precision = FLOAT32

    @property
    def key(self) -> EnvironmentKey:
        """What its environment is for."""
        return EnvironmentKey.of(self)

    @property
    def subject(self) -> str:
        """'pytorch:2.13'."""
        return self.key.subject

    @property
    def label(self) -> str:
        """'pytorch:2.13 cpu'."""
        return self.key.label

    @property
    def image_label(self) -> str:
        """'pytorch:2.13 cpu': of the row whose image it runs."""
        return f"{self.framework}:{self.base or self.variant} {self.device}"

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


def resolve_env(row: ImageRow, cores: Cores, environment: str) -> dict[str, str]:
    """The row's variables with {physical_cores} and {logical_cores} replaced by this machine's.

    environment: what becomes of {environment}, the prefix that the row's packages are installed under.
    """
    known = {name: str(getattr(cores, name)) for name in _CORES} | {"environment": environment}
    return {key: PLACEHOLDER.sub(lambda match: known[match[1]], value) for key, value in row.env.items()}


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


def _sha256(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise CatalogueError(f"{path} does not read: {error.strerror}.") from None
