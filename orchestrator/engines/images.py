"""The images of the catalogue's rows: what they are called, whether they are current, how they are made, lock.json.

A label on each image holds the hash of its recipe: an image is current if that equals the row's, and if this home built
the image, or the user took it over: anybody can give an image a label, and images made FROM ours inherit it.
"""

import ast
import json
import re
import shutil
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from orchestrator.engines import package_index, process, upstream
from orchestrator.engines.engine import Say
from orchestrator.engines.environment import LIMIT_SECONDS, failure, need_room, need_source
from orchestrator.errors import EngineError
from orchestrator.files import write_atomically
from orchestrator.home import Home
from orchestrator.planning.image_row import ImageRow, base_images, recipe_sha256
from orchestrator.scratch import temporary_folder

RECIPE = "waymark.recipe"
STAGE = "waymark.stage"
LOCK = "lock.json"

_BASE = "org.opencontainers.image.base.name"
_VERSION = "org.opencontainers.image.version"
_CARRIED = ("index-url", "extra-index-url", "trusted-host")
_NOISE = re.compile(r" ---> |Removing intermediate container |Successfully (built|tagged) ")


@dataclass(frozen=True)
class ImageFacts:
    """id: 'sha256:...'. created: ISO 8601. digests: names under which registries know it.

    volumes: folders of which the daemon would keep what a container writes there, on the disk of the machine.
    """

    id: str
    size_bytes: int
    created: str
    labels: dict[str, str]
    digests: tuple[str, ...]
    volumes: tuple[str, ...] = ()


@dataclass(frozen=True)
class ImageBuild:
    """One image to build: the target `stage` of folder/Dockerfile."""

    folder: Path
    reference: str
    stage: str
    args: dict[str, str]
    labels: dict[str, str]


class ImageBuilder(Protocol):
    """What of a Docker daemon images need; see Daemon in docker.py."""

    @property
    def folder(self) -> Path | None: ...
    def image(self, reference: str) -> ImageFacts | None: ...
    def pull(self, reference: str) -> None: ...
    def why_absent(self, reference: str) -> str: ...
    def share(self, label: str, reference: str, ids: Collection[str]) -> bool: ...
    def build(self, recipe: ImageBuild, log: Path, limit_seconds: float, on_line: Callable[[str], None]) -> str: ...
    def prune_stages(self) -> None: ...
    def sweep(self) -> int: ...
    def close(self) -> None: ...


@dataclass(frozen=True)
class Image:
    """A row, its image if there is one, and whether this home built it from the row's recipe as it is now.

    is_foreign: its label says so, but this home has not built it.
    """

    row: ImageRow
    facts: ImageFacts | None
    is_current: bool
    is_foreign: bool = False


def reference(row: ImageRow) -> str:
    """'waymark/pytorch:2.13-cpu'."""
    return f"waymark/{row.framework}:{row.base or row.variant}-{row.device}"


def find(builder: ImageBuilder, row: ImageRow, home: Home) -> Image:
    """The image of `row` as the builder has it."""
    facts = builder.image(reference(row))
    says_so = facts is not None and facts.labels.get(RECIPE) == recipe_sha256(row)
    is_known = facts is not None and facts.id in _known(home)
    return Image(row, facts, says_so and is_known, says_so and not is_known)


def adopt(builder: ImageBuilder, row: ImageRow, home: Home) -> ImageFacts | None:
    """Take the image that carries the name and the recipe of `row` for one that this home built; None if there is none.

    For images of a machine that the user trusts, as after `docker load`.
    """
    image = find(builder, row, home)
    if image.facts is None or not (image.is_current or image.is_foreign):
        return None
    _remember(home, image.facts)
    return image.facts


def _known(home: Home) -> set[str]:
    """The ids of the images that this home built or took over."""
    return {f"sha256:{path.name}" for path in home.images.glob("*")}


def _remember(home: Home, facts: ImageFacts) -> None:
    home.images.mkdir(parents=True, exist_ok=True)
    (home.images / facts.id.removeprefix("sha256:")).touch()


def built_here(row: ImageRow) -> str | None:
    """When docker/lock.json says that an image of this very recipe was built on this machine, ISO 8601; else None."""
    recipe = recipe_sha256(row)
    entries = _lock(row.folder.parent / LOCK).values()
    built = [entry["built"] for entry in entries if isinstance(entry, dict) and entry.get("recipe") == recipe]
    return max(built, default=None)


def found(builder: ImageBuilder, name: str, say: Say, *, pulls: bool = True) -> ImageFacts:
    """The image that a user calls `name`; pulled if it is not here. Raises EngineError if nobody has it.

    pulls: False for a plan that is only shown.
    """
    here = builder.image(name)
    if here is None and not pulls:
        raise EngineError(f"{name} is not here, and --dry-run pulls nothing. `docker pull {name}` brings it.")
    if here is None:
        say(f"{name} is not here; pulling it")
        builder.pull(name)
        here = builder.image(name)
    if here is None:
        raise EngineError(
            f"there is no image '{name}' here, and pulling it brought none. `docker images` lists those here."
        )
    return here


def ensure(
    builder: ImageBuilder, row: ImageRow, home: Home, say: Say, limit_seconds: float = LIMIT_SECONDS
) -> ImageFacts:
    """The current image of `row`, built if it is not there. Raises EngineError, naming the log.

    A user's own image is never built: it is there, or was removed since it was found.
    """
    if row.image is not None:
        own = builder.image(row.image)
        if own is None:
            raise EngineError(f"{row.label}: the image {row.image} is gone: something else removes images.")
        return own
    image = find(builder, row, home)
    if image.facts is not None and image.is_current:
        return image.facts
    if builder.share(f"{RECIPE}={recipe_sha256(row)}", reference(row), _known(home)):
        say(f"{row.label}: {reference(row)} shares the image that was built from the same recipe")
        return _recorded(builder, row, home)
    need_source(row)
    say(f"{row.label}: {_why_built(image)}; building {reference(row)}")
    if builder.folder is not None:
        need_room(row, builder.folder)
    log = home.logs / f"{row.slug}.image.log"

    def follow(line: str) -> None:
        if not _NOISE.match(line):
            say(f"{row.label}: {line.strip()}")

    with _context(row, home) as folder:
        recipe = ImageBuild(
            folder=folder,
            reference=reference(row),
            stage=row.stage,
            args={
                **pip_args(process.output((sys.executable, "-m", "pip", "config", "list")) or ""),
                **row_args(row),
            },
            labels={RECIPE: recipe_sha256(row), _VERSION: row.requirements_path.stem},
        )
        try:
            why = builder.build(recipe, log, limit_seconds, follow)
        finally:
            _tidy(builder, say)
    if why:
        lacking = package_index.missing(log)
        shortage = package_index.shortage(row, lacking, log) if lacking else None
        raise shortage or _without_base(builder, row, why, log) or failure(row, why, log)
    facts = _recorded(builder, row, home)
    say(f"{row.label}: built {reference(row)}, {facts.size_bytes / 1e6:.0f} MB")
    return facts


def _why_built(image: Image) -> str:
    if image.facts is None:
        return "no image yet"
    if image.is_foreign:
        return "its image was not built by this home (`invoke build-images --adopt` takes such images as they are)"
    return "its recipe changed"


def absent_bases(builder: ImageBuilder, rows: Sequence[ImageRow], home: Home) -> dict[str, tuple[str, list[ImageRow]]]:
    """The bases of rows without a current image that are not here and that no registry gives: why, and which rows."""
    wanted: dict[str, list[ImageRow]] = {}
    for row in rows:
        if row.image is None and not row.retired and not find(builder, row, home).is_current:
            for base in base_images(row, row_args(row)):
                wanted.setdefault(base, []).append(row)
    absent = {base: builder.why_absent(base) for base in wanted}
    return {base: (why, wanted[base]) for base, why in absent.items() if why}


def base_advice(base: str) -> str:
    """What to do about a base image that cannot be had."""
    return (
        f"Bring it from a machine that has it (`docker save {base}`, then `docker load`), name a mirror of the "
        "registry to the daemon (registry-mirrors in its daemon.json), or use --engine=virtualenv."
    )


def _without_base(builder: ImageBuilder, row: ImageRow, why: str, log: Path) -> EngineError | None:
    """The error of a build whose base image is not here; None if that is not why it failed."""
    base = next((base for base in base_images(row, row_args(row)) if builder.image(base) is None), None)
    if base is None:
        return None
    said = process.tail(log, 1).strip() or why
    return EngineError(
        f"{row.label} stands on {base}, which is not here and could not be pulled ({said}). {base_advice(base)}"
    )


def _tidy(builder: ImageBuilder, say: Say) -> None:
    """Remove what first stages left: it holds ARGs, and in them the credentials of the user's package indexes.

    A daemon that refuses, as while somebody else prunes, changes nothing about the build.
    """
    try:
        builder.prune_stages()
    except EngineError as error:
        say(f"note: what first stages of builds left could not be removed; the next build tries again. {error}")


@contextmanager
def _context(row: ImageRow, home: Home) -> Iterator[Path]:
    """The folder to build `row` in: its own; with source/ beside the Dockerfile, if the user named a local clone."""
    if row.source is None or row.source.local is None:
        yield row.folder
        return
    source = upstream.checkout(row, home)
    with temporary_folder() as scratch:
        folder = scratch / row.framework
        shutil.copytree(row.folder, folder)
        shutil.copytree(source, folder / "source", symlinks=True)
        yield folder


def row_args(row: ImageRow) -> dict[str, str]:
    """What the row gives to its Dockerfile; the user's own package indexes come on top (pip_args)."""
    source = row.source
    origin = {"SOURCE_REPOSITORY": source.repository, "SOURCE_COMMIT": source.commit} if source else {}
    index = {"PUBLISHER_INDEX": row.index} if row.index else {}
    return {"PYTHON": row.python, "REQUIREMENTS": row.requirements, **origin, **index, **row.args}


def pip_args(listing: str) -> dict[str, str]:
    """Build ARGs that carry the user's package indexes into a build, from what `pip config list` prints.

    A folder of this machine is not one of the container's, so only web addresses and host names are carried.
    """
    args: dict[str, str] = {}
    for line in listing.splitlines():
        name, _, value = line.partition("=")
        key = name.rpartition(".")[2]
        if key in _CARRIED:
            words = str(ast.literal_eval(value)).split()
            carried = [word for word in words if key == "trusted-host" or word.startswith(("https://", "http://"))]
            if carried:  # variables are listed before files, and pip obeys them first
                args.setdefault(f"PIP_{key.upper().replace('-', '_')}", " ".join(carried))
    return args


def _recorded(builder: ImageBuilder, row: ImageRow, home: Home) -> ImageFacts:
    """The image that `row` became, once this home and docker/lock.json know it."""
    facts = builder.image(reference(row))
    if facts is None:
        raise EngineError(f"{row.label}: {reference(row)} was made and is gone: something else removes images.")
    _remember(home, facts)
    path = row.folder.parent / LOCK
    base = facts.labels.get(_BASE, "")
    base_facts = builder.image(base) if base else None
    entry: dict[str, Any] = {
        "image": facts.id,
        "recipe": facts.labels.get(RECIPE, ""),
        "base": base,
        "base_image": base_facts.id if base_facts else None,
        "base_digests": list(base_facts.digests) if base_facts else [],
        "built": facts.created,
        "size_bytes": facts.size_bytes,
    }
    lock = {**_lock(path), row.image_label: entry}
    write_atomically(path, json.dumps(lock, indent=1, sort_keys=True) + "\n")
    return facts


def _lock(path: Path) -> dict[str, Any]:
    """The entries so far; a file that does not read is written anew, as it only repeats what the daemon knows."""
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return entries if isinstance(entries, dict) else {}
