"""invoke verbs: parse flags, call one function, print. No logic, no Docker, no SQL.

Each verb imports its own use case: `invoke images` need not wait for scipy.
"""

import functools
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import ParamSpec

from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import task

from orchestrator.console import flags
from orchestrator.console.progress import View
from orchestrator.console.tables import COMPARISON, IMAGES, PARITY, SUMMARY, show, show_json
from orchestrator.errors import SpecError, WaymarkError
from orchestrator.home import REPOSITORY, Home
from orchestrator.planning.catalogue import Catalogue, chosen, local_clones
from orchestrator.planning.image_row import ImageRow
from orchestrator.trial import Dataset

P = ParamSpec("P")
REPORTS = Path(os.environ.get("WAYMARK_REPORTS") or REPOSITORY / "reports")

IMAGE_FLAG = {"image": "framework=NAME[@digest]: an image of your own (Python 3.6+ as `python`, numpy, the framework)"}
SOURCE_FLAG = {"source": "framework=PATH: a local clone to take an upstream source from (default $WAYMARK_SOURCE)"}

GPUS_FLAG = {"gpus": "cards to lease, by number, for example 0,1 (default: any); a row takes the first that it fits"}
ENGINE_HELP = (
    "docker, virtualenv, host[:PYTHON] (what is installed there) or replay:FOLDER "
    "(default docker, or virtualenv where no Docker answers)"
)

SPEC_FLAGS = {
    "spec": "experiment to run (default experiments/quick.json)",
    "device": "cpu or gpu: only this one",
    "frameworks": "only these, comma-separated",
    "variant": "framework=variant, for example mxnet=1.5-mkl; may be repeated",
    "epochs": "epochs of every model, in place of the spec's",
}


def verb(body: Callable[P, int | None]) -> Callable[P, None]:
    """A body whose WaymarkError becomes one sentence and an exit code, and whose Ctrl-C is no traceback."""

    @functools.wraps(body)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            code = body(*args, **kwargs)
        except WaymarkError as error:
            raise Exit(str(error), error.exit_code) from None
        except KeyboardInterrupt:
            raise Exit("stopped", 130) from None
        if code:
            raise Exit(code=code)

    return run


@task(
    name="data",
    auto_shortflags=False,
    help={
        "from": "the GTSRB archives: a folder with the official zips, or one they were unpacked to",
        "download": "fetch the official archives (366 MB), checked by size and md5",
        "sizes": "input sizes to prepare, comma-separated",
        "json": "print the result as JSON",
    },
)
@verb
def data_(_: Context, from_: str = "", download: bool = False, sizes: str = "32,48,64", json_: bool = False) -> None:
    """Read or download the GTSRB archives and prepare them; a second call finds the cache."""
    from orchestrator import data

    home, view = Home.default(), View()
    if download:
        data.register(data.download(home, view.say), home)
    elif from_:
        data.register(Path(from_).absolute(), home)
    with view.counting("preparing pictures") as progress:
        prepared = data.prepare(Dataset(), flags.sizes(sizes), home, progress)
    rows = [
        {
            "size": size,
            "pictures": one.recognised,
            "train": one.train_pictures,
            "test": one.test_pictures,
            "state": "new" if one.is_new else "found in cache",
            "folder": one.path,
        }
        for size, one in prepared.items()
    ]
    show("Prepared pictures", rows, json_)


@task(
    auto_shortflags=False,
    iterable=["variant", "source"],
    help={
        "frameworks": "only these, comma-separated",
        "device": "cpu or gpu",
        "variant": "framework=variant: only this one of that framework; may be repeated",
        **SOURCE_FLAG,
        "dry-run": "list what would be built and why, and build nothing",
        "json": "print the result as JSON",
    },
)
@verb
def build_images(
    _: Context,
    frameworks: str = "",
    device: str = "cpu",
    variant: Sequence[str] | None = None,
    source: Sequence[str] | None = None,
    dry_run: bool = False,
    json_: bool = False,
) -> None:
    """Build the container images that changed; the log of each is named."""
    from orchestrator.commands import images

    rows = chosen(_catalogue(source), flags.names(frameworks), flags.device(device), flags.variants(variant or ()))
    if dry_run:
        show("To build", images.outlook(rows), json_, IMAGES)
        return
    built = images.build_images(rows, Home.default(), View().say)
    show("Images", images.table(built), json_, IMAGES)


@task(auto_shortflags=False, help={"json": "print the result as JSON"})
@verb
def images(_: Context, json_: bool = False) -> None:
    """List every row of the catalogue: whether and when it was built here, its size, where its CUDA is from."""
    from orchestrator.commands import images

    show("Images", images.listing(_catalogue()), json_, IMAGES)


@task(
    name="check",
    auto_shortflags=False,
    iterable=["variant", "image", "source"],
    help={
        "spec": "experiment whose networks to check (default experiments/paper.json)",
        "frameworks": "only these, comma-separated",
        "device": "cpu or gpu",
        "variant": "framework=variant: only this one of that framework; may be repeated",
        "engine": ENGINE_HELP,
        **GPUS_FLAG,
        **IMAGE_FLAG,
        **SOURCE_FLAG,
        "again": "check what has passed before as well",
        "json": "print the result as JSON",
    },
)
@verb
def check_(
    _: Context,
    spec: str = "",
    frameworks: str = "",
    device: str = "cpu",
    variant: Sequence[str] | None = None,
    engine: str = "",
    image: Sequence[str] | None = None,
    source: Sequence[str] | None = None,
    again: bool = False,
    gpus: str = "",
    json_: bool = False,
) -> int:
    """Prove that every environment computes the same networks: the parity table against numpy_ref."""
    from orchestrator.commands import check
    from orchestrator.execution.session import as_installed
    from orchestrator.planning.spec import load_spec

    view = View()
    catalogue, own = _with_images(source, image, device)
    catalogue, _changes = as_installed(engine, catalogue, {})
    rows = chosen(catalogue, flags.names(frameworks), flags.device(device), flags.variants(variant or ()))
    rows = (*rows, *(row for row in own if row not in rows))
    asked = load_spec(Path(spec or REPOSITORY / "experiments" / "paper.json"), catalogue.frameworks, {})
    argv = tuple(sys.argv[1:])
    result = check.check(rows, asked, engine or None, again, argv, Home.default(), view, flags.gpus(gpus))
    show("Relative differences from numpy_ref", result.rows, json_, PARITY)
    for row in result.rows:
        if row["reason"]:
            view.say(f"{row['subject']} {row['cell']}: {row['reason']}")
    return 0 if result.has_passed else 1


@task(
    name="sweep",
    auto_shortflags=False,
    iterable=["variant", "image", "source"],
    optional=["resume"],
    help={
        **SPEC_FLAGS,
        **IMAGE_FLAG,
        **SOURCE_FLAG,
        "engine": ENGINE_HELP,
        **GPUS_FLAG,
        "dry-run": "print the plan with its skips and reasons, and run nothing",
        "resume": "go on with the newest run, or with --resume=RUN; its recorded spec and engine are used",
        "unverified": "time environments whose selfcheck did not pass, and mark them so",
        "strict": "refuse a machine that is busy, shared, short of memory or emulated, where others are only warned",
        "json": "print the result as JSON",
    },
)
@verb
def sweep_(
    _: Context,
    spec: str = "",
    device: str = "",
    frameworks: str = "",
    variant: Sequence[str] | None = None,
    epochs: int = 0,
    image: Sequence[str] | None = None,
    source: Sequence[str] | None = None,
    engine: str = "",
    dry_run: bool = False,
    resume: str | bool | None = None,
    unverified: bool = False,
    strict: bool = False,
    gpus: str = "",
    json_: bool = False,
) -> int:
    """Train every cell of a spec, each in its own process and environment, and write a report."""
    from orchestrator import report
    from orchestrator.commands import sweep

    given = {"device": device, "frameworks": frameworks, "variant": variant, "epochs": epochs, "spec": spec}
    if resume and any(given.values()):
        raise SpecError("--resume goes on with the spec that the run recorded; leave out the flags that change it.")
    catalogue, own = _with_images(source, image, device or "cpu")
    variants = flags.variants([*(variant or ()), *(f"{row.framework}={row.variant}" for row in own)])
    request = sweep.Request(
        spec_path=Path(spec or REPOSITORY / "experiments" / "quick.json"),
        changes=flags.changes(device and flags.device(device), flags.names(frameworks), variants, epochs),
        engine=engine or None,
        resume="latest" if resume is True else resume or None,
        allow_unverified=unverified,
        argv=tuple(sys.argv[1:]),
        is_strict=strict,
        gpus=flags.gpus(gpus),
    )
    if dry_run:
        show(*sweep.outline(request, catalogue), json_)
        return 0
    result = sweep.sweep(request, catalogue, Home.default(), REPORTS, View())
    rows = report.summary_rows(result.stored)
    tables = [table for section in result.studies for table in section.tables]
    if json_ and tables:
        show_json({"results": rows, **{table.name: table.rows for table in tables}})
    else:
        show(f"Run {result.stored.facts.run_id}", rows, json_, SUMMARY)
    for row in rows:
        if row["reason"]:
            View().say(f"{row['subject']} {row['cell']}: {row['reason']}")
    for section in () if json_ else result.studies:
        for table in section.tables:
            show(section.title, table.texts, False)
        for verdict in section.verdicts:
            View().say(verdict)
    View().say(f"report: {result.report}")
    return result.exit_code


@task(
    name="compare",
    auto_shortflags=False,
    iterable=["image", "source"],
    help={
        "baseline": "framework:variant, for example mxnet:1.5; framework:image with --image; or a run on record",
        "candidate": "another variant of it, or another run; the same twice is an A/A control",
        "pairs": "pairs of fresh processes for each cell (fewer than 6 give no verdict)",
        "cells": "only these, comma-separated, for example IDSIA@48,ResNet-20@32",
        "spec": "experiment whose cells to compare (default experiments/compare.json)",
        "device": "cpu or gpu",
        "engine": ENGINE_HELP,
        **GPUS_FLAG,
        **IMAGE_FLAG,
        **SOURCE_FLAG,
        "strict": "refuse a machine that is busy, shared, short of memory or emulated, where others are only warned",
        "json": "print the result as JSON",
    },
)
@verb
def compare_(
    _: Context,
    baseline: str,
    candidate: str,
    pairs: int = 10,
    cells: str = "",
    spec: str = "",
    device: str = "cpu",
    engine: str = "",
    image: Sequence[str] | None = None,
    source: Sequence[str] | None = None,
    strict: bool = False,
    gpus: str = "",
    json_: bool = False,
) -> int:
    """Say by how much one build is faster than another, with an interval: interleaved pairs of fresh processes."""
    from orchestrator.commands import compare, sweep
    from orchestrator.execution.session import as_installed

    home, view = Home.default(), View()
    code, known = 0, compare.recorded(home, baseline, candidate)
    if known is None:
        catalogue, own = _with_images(source, image, device)
        catalogue, _changes = as_installed(engine, catalogue, {})
        subjects = {f"{row.framework}:image": row.subject for row in own}
        baseline, candidate = subjects.get(baseline, baseline), subjects.get(candidate, candidate)
        request = compare.request_for(
            Path(spec or REPOSITORY / "experiments" / "compare.json"),
            (baseline, candidate),
            pairs,
            cells,
            flags.device(device),
            engine or None,
            catalogue,
            tuple(sys.argv[1:]),
            strict,
        )
        request = replace(request, gpus=flags.gpus(gpus))
        result = sweep.sweep(request, catalogue, home, REPORTS, view)
        view.say(f"report: {result.report}")
        if result.exit_code == sweep.INTERRUPTED:
            return result.exit_code
        code, known = result.exit_code, compare.result_of(home, result.stored)
    show(f"{candidate} against {baseline}", known, json_, COMPARISON)
    return code


@task(name="report", auto_shortflags=False, help={"run": "which run (default the newest)"})
@verb
def report_(_: Context, run: str = "") -> None:
    """Render the report of a run again, from the store."""
    from orchestrator.commands import sweep

    View().say(f"report: {sweep.render_again(run or None, Home.default(), REPORTS)}")


@task(auto_shortflags=False)
@verb
def ingest(_: Context) -> int:
    """Make the store again from the event files of all runs."""
    from orchestrator.commands import sweep

    return sweep.ingest(Home.default(), View())


@task(name="doctor", auto_shortflags=False, help={"json": "print the result as JSON"})
@verb
def doctor_(_: Context, json_: bool = False) -> int:
    """Check Docker, disk, processor, Pythons, data and card; each finding says what to do."""
    from orchestrator.commands import doctor

    findings = doctor.examine(Home.default(), _catalogue())
    show("waymark doctor", [finding.model_dump() for finding in findings], json_)
    return 0 if doctor.can_sweep(findings) else 1


def _catalogue(source: Sequence[str] | None = None) -> Catalogue:
    """The rows, with the local clones that --source or $WAYMARK_SOURCE name."""
    clones = local_clones(source or os.environ.get("WAYMARK_SOURCE", "").split())
    return Catalogue.load(REPOSITORY / "docker").with_sources(clones)


def _with_images(
    source: Sequence[str] | None, image: Sequence[str] | None, device: str
) -> tuple[Catalogue, Sequence[ImageRow]]:
    """The rows, and among them those of the user's own images."""
    from orchestrator.commands import images

    named = flags.images(image or ())
    return images.with_images(_catalogue(source), named, flags.device(device), View().say)
