"""Which environments there are: the rows of docker/*/images.toml.

A framework is a folder of docker/ that holds an images.toml; its name is that of the adapter's folder in
workers/frameworks/. Reading touches no daemon, and no row is known that its own folder does not declare.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from orchestrator.environment import FLOAT32, Device
from orchestrator.errors import CatalogueError, did_you_mean
from orchestrator.home import expanded
from orchestrator.planning.image_row import ImageRow
from orchestrator.planning.images_toml import TABLE, URL, read_table
from orchestrator.planning.setting import JOINT, Setting, with_settings

OWN_IMAGE = "image-"
"""How the variants of users' own images begin."""

BEST = "best"
"""Stands for the variant that is fastest on this machine as far as is known: tuned here, or named by the catalogue."""

HOST = "host"
"""The variant that is whatever a Python of this machine has installed."""


@dataclass(frozen=True)
class Catalogue:
    """All rows, by framework, in the order of their files.

    defaults: each framework's default variant on each device. best: the variant that `best` stands for there.
    settings: what may be put on the variants of a framework, by name.
    """

    tables: dict[str, tuple[ImageRow, ...]]
    defaults: dict[str, dict[Device, str]]
    best: dict[str, dict[Device, str]] = field(default_factory=dict)
    settings: dict[str, dict[str, Setting]] = field(default_factory=dict)

    @classmethod
    def load(cls, folder: Path) -> "Catalogue":
        """Read <folder>/*/images.toml. Raises CatalogueError, naming file and key."""
        tables = {path.parent.name: read_table(path) for path in sorted(folder.glob(f"*/{TABLE}"))}
        if not tables:
            raise CatalogueError(f"{folder} holds no */{TABLE}: there is nothing to train in.")
        return cls(
            {framework: table.rows for framework, table in tables.items()},
            {framework: table.defaults for framework, table in tables.items()},
            {framework: table.best for framework, table in tables.items()},
            {framework: table.settings for framework, table in tables.items()},
        )

    @property
    def frameworks(self) -> tuple[str, ...]:
        """Names, sorted."""
        return tuple(self.tables)

    @property
    def trainers(self) -> tuple[str, ...]:
        """The names of those that train networks; the others are runtimes."""
        return tuple(name for name, rows in self.tables.items() if any(row.trains for row in rows))

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
            variant=f"{OWN_IMAGE}{image_id.removeprefix('sha256:')[:12]}",
            device=device,
            args={},
            env={},
            options={},
            precision=FLOAT32,
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
        it, and nothing is known of what it was built for. Any setting of its device may be put on it.
        """
        bare: dict[str, Any] = {"variant": HOST, "args": {}, "options": {}, "source": None, "cuda": None, "index": None}
        bare |= {"why": "what a Python of this machine has installed", "image": None, "expects": {}, "needs": {}}
        bare |= {"unproven": "", "retired": "", "precision": FLOAT32}
        env: dict[str, dict[str, str]] = {"cpu": {}, "gpu": {"NVIDIA_TF32_OVERRIDE": "0"}}
        tables = {
            framework: tuple(
                replace(row, env=env[row.device], **bare) for row in {row.device: row for row in rows}.values()
            )
            for framework, rows in self.tables.items()
        }
        only = {framework: dict.fromkeys(self.defaults[framework], HOST) for framework in tables}
        settings = {
            framework: {name: setting.model_copy(update={"of": ()}) for name, setting in known.items()}
            for framework, known in self.settings.items()
        }
        return Catalogue(tables, only, only, settings)

    def default(self, framework: str, device: Device = "cpu") -> str:
        """The variant taken when none is asked for. Raises CatalogueError for an unknown framework."""
        self._table(framework)
        return self.defaults[framework][device]

    def resolve(self, framework: str, device: Device, variant: str | None = None) -> ImageRow:
        """The row of that variant, or of the default one; `best` and settings are understood.

        Raises CatalogueError with the nearest name.
        """
        rows = [row for row in self._table(framework) if row.device == device]
        wanted = variant or self.default(framework, device)
        if wanted == BEST and framework in self.best:
            wanted = self.best[framework][device]
        for row in rows:
            if row.variant == wanted:
                return row
        base, *names = wanted.split(JOINT)
        if names and base in {row.variant for row in rows}:
            return self._with_settings(self.resolve(framework, device, base), names)
        known = [row.variant for row in rows]
        if wanted == OWN_IMAGE.rstrip("-"):
            raise CatalogueError(
                f"'{framework}:{wanted}' stands for an image of your own; name it with --image={framework}=NAME."
            )
        raise CatalogueError(
            f"docker/{framework}/{TABLE} has no variant '{wanted}' for {device}. "
            f"Known: {', '.join(known) or 'none'}.{did_you_mean(wanted, known)}"
        )

    def with_best(self, tuned: Mapping[str, Mapping[Device, str]]) -> "Catalogue":
        """This catalogue, in which `best` stands for other variants. tuned: framework -> device -> variant.

        What this catalogue does not declare any more is left out.
        """
        best = {framework: dict(by_device) for framework, by_device in self.best.items()}
        for framework, by_device in tuned.items():
            for device, variant in by_device.items():
                try:
                    self.resolve(framework, device, variant)
                except CatalogueError:  # its row or a setting is gone since
                    continue
                best[framework][device] = variant
        return replace(self, best=best)

    def _with_settings(self, row: ImageRow, names: Sequence[str]) -> ImageRow:
        known = {name: setting for name, setting in self.settings.get(row.framework, {}).items() if setting.fits(row)}
        for name in names:
            if name not in known:
                raise CatalogueError(
                    f"docker/{row.framework}/{TABLE} has no setting '{name}' for {row.variant}. "
                    f"Known: {', '.join(known) or 'none'}.{did_you_mean(name, known)}"
                )
        return with_settings(row, known, names)

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
        clones[framework] = expanded(path).absolute()
    return clones


def index_mirrors(texts: Sequence[str]) -> dict[str, str]:
    """'pytorch=https://mirror/whl/cpu' -> {'pytorch': that URL}, for Catalogue.with_indexes. Raises CatalogueError."""
    mirrors = {}
    for text in texts:
        framework, _, url = text.partition("=")
        if not framework or not re.match(URL, url):
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
