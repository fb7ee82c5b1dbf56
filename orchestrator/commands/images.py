"""`invoke build-images` and `invoke images`: the catalogue as a verb needs it, and its rows as Docker images."""

import os
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any

from orchestrator.console.flags import Rows
from orchestrator.console.progress import Console
from orchestrator.engines import images, open_builder, rows_of
from orchestrator.engines.engine import Say
from orchestrator.engines.environment import LIMIT_SECONDS
from orchestrator.engines.images import Image
from orchestrator.environment import Device
from orchestrator.errors import EngineError
from orchestrator.home import REPOSITORY, Home
from orchestrator.host import machine_keys
from orchestrator.planning.catalogue import Catalogue, chosen, index_mirrors, local_clones
from orchestrator.planning.image_row import ImageRow
from orchestrator.planning.tuned import best_here, read_tuned


def catalogue_with(source: Sequence[str] | None = None) -> Catalogue:
    """All rows, with the local clones that --source or $WAYMARK_SOURCE name, and the mirrors of $WAYMARK_INDEX.

    `best` stands for what was tuned on this machine, as far as something was.
    """
    clones = local_clones(source or os.environ.get("WAYMARK_SOURCE", "").split())
    mirrors = index_mirrors(os.environ.get("WAYMARK_INDEX", "").split())
    tuned = best_here(read_tuned(Home.default().tuned), machine_keys())
    return Catalogue.load(REPOSITORY / "docker").with_sources(clones).with_indexes(mirrors).with_best(tuned)


def catalogue_for(
    source: Sequence[str] | None,
    own: Mapping[str, str],
    device: Device,
    engine: str,
    console: Console,
    *,
    pulls: bool = True,
) -> tuple[Catalogue, Sequence[ImageRow]]:
    """The rows that the engine knows, those of the user's own images among them; and these.

    own: framework -> image. engine: '' for any. pulls: whether an image that is not here may be pulled.
    """
    catalogue, rows = with_images(catalogue_with(source), own, device, console.say, pulls=pulls)
    return rows_of(engine, catalogue), rows


def chosen_rows(catalogue: Catalogue, asked: Rows, own: Sequence[ImageRow] = ()) -> tuple[ImageRow, ...]:
    """The rows that were asked for, and the user's own. Raises CatalogueError for a name that is not declared."""
    rows = chosen(catalogue, asked.frameworks, asked.device, asked.variants)
    return (*rows, *(row for row in own if row not in rows))


def build_images(
    rows: Sequence[ImageRow],
    home: Home,
    say: Say,
    limit_seconds: float = LIMIT_SECONDS,
    *,
    adopts: bool = False,
) -> tuple[Image, ...]:
    """Build what is not there or not current, and say of each row what became of it; docker/lock.json remembers.

    limit_seconds: for one image. adopts: take images that say that they are of a row's recipe as they are.
    A row that fails does not keep the others from being built; then EngineError is raised, naming each log.
    """
    built, failures = [], []
    with closing(open_builder()) as builder:
        for row in rows:
            taken = images.adopt(builder, row, home) if adopts else None
            if taken:
                say(f"{row.label}: took {images.reference(row)} as it is, {taken.id}")
            image = images.find(builder, row, home)
            if image.is_current:
                say(f"{row.label}: {images.reference(row)} is current")
                built.append(image)
                continue
            try:
                built.append(Image(row, images.ensure(builder, row, home, say, limit_seconds), True))
            except EngineError as error:
                failures.append(str(error))
    if failures:
        raise EngineError("\n".join(failures))
    return tuple(built)


def with_images(
    catalogue: Catalogue, named: Mapping[str, str], device: Device, say: Say, *, pulls: bool = True
) -> tuple[Catalogue, list[ImageRow]]:
    """The catalogue with a row for each of the user's own images, and these rows. named: framework -> image.

    Raises EngineError if no daemon answers or has an image of that name, CatalogueError for an unknown framework.
    """
    rows = []
    if named:
        with closing(open_builder()) as builder:
            for framework, name in named.items():
                facts = images.found(builder, name, say, pulls=pulls)
                catalogue, row = catalogue.with_image(framework, device, name, facts.id)
                say(f"{row.label} is {name} ({facts.id})")
                rows.append(row)
    return catalogue, rows


def outlook(rows: Sequence[ImageRow], home: Home) -> list[dict[str, Any]]:
    """`image_rows` of the rows as they are now, built or not; where no daemon answers their state is unknown."""
    try:
        builder = open_builder()
    except EngineError:
        return image_rows([Image(row, None, False) for row in rows], "unknown: Docker does not answer")
    with closing(builder):
        return image_rows([images.find(builder, row, home) for row in rows])


def listing(catalogue: Catalogue, home: Home) -> list[dict[str, Any]]:
    """`outlook` of every row there is."""
    return outlook(catalogue.rows(), home)


def image_rows(known: Sequence[Image], unbuilt: str = "not built") -> list[dict[str, Any]]:
    """For printing: one record per row: its image's state, size and age, and whether it was ever made here.

    unbuilt: state of a row without an image.
    """
    return [
        {
            "row": image.row.label,
            "state": _state(image, unbuilt),
            "proof": _proof(image),
            "size_MB": round(image.facts.size_bytes / 1e6) if image.facts else None,
            "built": image.facts.created[:19].replace("T", " ") if image.facts else None,
            "image": images.reference(image.row),
            "packages": ", ".join(image.row.packages),
            "cuda": f"{image.row.cuda.version}: {image.row.cuda.source}" if image.row.cuda else None,
            "why": image.row.why,
        }
        for image in known
    ]


def _state(image: Image, unbuilt: str) -> str:
    if image.facts is None:
        return unbuilt
    if image.is_foreign:
        return "not built by this home"
    return "current" if image.is_current else "its recipe changed"


def _proof(image: Image) -> str:
    """'proven' and when, if this recipe was built here; else 'unproven' and why; 'retired' and the evidence."""
    row = image.row
    if row.retired:
        return f"retired: {row.retired}"
    built = image.facts.created if image.facts and image.is_current else images.built_here(row)
    if built:
        return f"proven {built[:10]}"
    return "; ".join(filter(None, ["unproven: never built here", row.unproven]))
