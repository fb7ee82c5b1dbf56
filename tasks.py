"""invoke verbs: parse flags, call one function, print. No logic, no Docker, no SQL.

Each verb imports its own command: `invoke images` need not wait for scipy.
"""

import sys
import webbrowser
from collections.abc import Sequence

from invoke.context import Context
from invoke.tasks import task

from orchestrator.console import flags
from orchestrator.console.program import take_over
from orchestrator.console.progress import Console
from orchestrator.console.tables import IMAGES, RUNS, TUNED, show
from orchestrator.console.verb import (
    BUDGET,
    CELLS,
    COMPARED,
    DEVICE,
    ENGINE,
    FRAMEWORKS,
    GPUS,
    IMAGE,
    JSON,
    SOURCE,
    STRICT,
    UNTIL,
    VARIANT,
    verb,
)
from orchestrator.errors import SpecError
from orchestrator.home import Home, default_reports, expanded

REPORTS = default_reports()
ARGV = tuple(sys.argv[1:])
Texts = Sequence[str] | None
take_over()
RUN = {**ENGINE, **GPUS, **IMAGE, **SOURCE}


@task(
    name="data",
    auto_shortflags=False,
    help={
        "from": "the GTSRB archives: a folder with the official zips, or one they were unpacked to",
        "download": "fetch the official archives (366 MB), checked by size and md5",
        "sizes": "input sizes to prepare, comma-separated",
        "video": "instead, draw a video of a drive past signs into this file, and beside it what is in each frame",
        "seconds": "with --video: how long it is",
        "fps": "with --video: frames a second",
        **JSON,
    },
)
@verb
def data_(
    _: Context,
    from_: str = "",
    download: bool = False,
    sizes: str = "32,48,64",
    video: str = "",
    seconds: str = "20s",
    fps: str = "30",
    json_: bool = False,
) -> None:
    """Read or download the GTSRB archives and prepare them; a second call finds the cache. Or draw a test video."""
    drawn = flags.new_file("--video", video)
    if drawn:
        from orchestrator.commands import camera

        length, rate = flags.duration("--seconds", seconds) or 20.0, flags.rate("--fps", fps)
        frames, truth = camera.draw_video(drawn, length, rate, 0, Console())
        show("Drawn video", [{"file": str(drawn), "frames": frames, "truth": str(truth)}], json_)
        return
    from orchestrator.commands import data

    rows = data.prepare_gtsrb(from_, download, flags.sizes(sizes), Home.default(), Console())
    show("Prepared pictures", rows, json_)


@task(
    auto_shortflags=False,
    iterable=["variant", "source"],
    help={
        **FRAMEWORKS,
        **DEVICE,
        **VARIANT,
        **SOURCE,
        "adopt": "take images that say that they are of these recipes as they are, for example after `docker load`",
        "dry-run": "list what would be built and why, and stop",
        **JSON,
    },
)
@verb
def build_images(
    _: Context,
    frameworks: str = "",
    device: str = "cpu",
    variant: Texts = None,
    source: Texts = None,
    adopt: bool = False,
    dry_run: bool = False,
    json_: bool = False,
) -> None:
    """Build the container images whose recipe changed."""
    from orchestrator.commands import images

    rows = images.chosen_rows(images.catalogue_with(source), flags.rows(frameworks, device, variant))
    if dry_run:
        show("To build", images.outlook(rows, Home.default()), json_, IMAGES)
    else:
        built = images.build_images(rows, Home.default(), Console().say, adopts=adopt)
        show("Images", images.image_rows(built), json_, IMAGES)


@task(auto_shortflags=False, help=JSON)
@verb
def images(_: Context, json_: bool = False) -> None:
    """List every row of the catalogue: whether and when it was built here, its size, where its CUDA is from."""
    from orchestrator.commands import images

    show("Images", images.listing(images.catalogue_with(), Home.default()), json_, IMAGES)


@task(
    name="check",
    auto_shortflags=False,
    iterable=["variant", "image", "source"],
    help={
        "spec": "experiment whose networks to check (default experiments/paper.json)",
        "cells": "only these, comma-separated, for example IDSIA@48,ResNet-20@32",
        "frameworks": "only these, comma-separated (default: those of the spec, in the variants that it trains)",
        **DEVICE,
        "variant": "framework=variant, for example mxnet=1.5-mkl: this one of it; mxnet=all for all; may be repeated",
        **RUN,
        "again": "repeat checks that have passed before",
        **JSON,
    },
)
@verb
def check_(
    _: Context,
    spec: str = "",
    cells: str = "",
    frameworks: str = "",
    device: str = "cpu",
    variant: Texts = None,
    engine: str = "",
    image: Texts = None,
    source: Texts = None,
    again: bool = False,
    gpus: str = "",
    json_: bool = False,
) -> int:
    """Compare what each environment computes with numpy_ref: the parity table."""
    from orchestrator.commands import check, images
    from orchestrator.console.results import show_parity
    from orchestrator.execution.session import RunOptions

    console = Console()
    catalogue, own = images.catalogue_for(source, flags.images(image), flags.device(device), engine, console)
    asked = check.request_for(
        flags.spec(spec, "paper.json"),
        flags.rows(frameworks, device, variant),
        cells,
        own,
        catalogue,
        RunOptions(engine=engine or None, gpus=flags.gpus(gpus), argv=ARGV),
    )
    result = check.check(asked, again, Home.default(), console)
    show_parity(result.rows, json_, console)
    return 0 if result.has_passed else 1


@task(
    name="sweep",
    auto_shortflags=False,
    iterable=["variant", "image", "source"],
    optional=["resume"],
    help={
        "spec": "experiment to run (default experiments/quick.json)",
        "device": "cpu or gpu: only this one",
        **FRAMEWORKS,
        **VARIANT,
        "epochs": "epochs of every model, in place of the spec's",
        "cells": "only these, comma-separated, for example IDSIA@48,ResNet-20@32",
        "seeds": "only these, in place of the spec's, for example 0,1,2",
        "repeats": "of every cell, in place of the spec's",
        **RUN,
        "dry-run": "print the plan with its skips and reasons and how long it will take, and run nothing",
        "scout": "take a few steps of each cell, three times or more, and tell what the whole training would take",
        "precision": "with --scout: an interval of +- this much is enough, for example 5%",
        "weights": "of networks that are run: the run that trained them (default: the newest; else they are trained)",
        "resume": "continue the newest run, or with --resume=RUN that one; its recorded spec and engine are used",
        "unverified": "also time environments whose selfcheck did not pass, and mark them",
        **STRICT,
        **JSON,
    },
)
@verb
def sweep_(
    _: Context,
    spec: str = "",
    device: str = "",
    frameworks: str = "",
    variant: Texts = None,
    epochs: str = "",
    cells: str = "",
    seeds: str = "",
    repeats: str = "",
    image: Texts = None,
    source: Texts = None,
    engine: str = "",
    dry_run: bool = False,
    scout: bool = False,
    precision: str = "5%",
    weights: str = "",
    resume: str | bool | None = None,
    unverified: bool = False,
    strict: bool = False,
    gpus: str = "",
    json_: bool = False,
) -> int:
    """Train, or run, every cell of a spec, each in its own process and environment, and write a report."""
    from orchestrator.commands import images, sweep
    from orchestrator.console.results import show_run
    from orchestrator.execution.session import RunOptions

    given = [device, frameworks, variant, epochs, cells, seeds, repeats, spec, scout, weights]
    resumed = flags.resumed(resume)
    if resumed and any(given):
        raise SpecError("--resume uses the spec that the run recorded; leave out the flags that change it.")
    console = Console()
    catalogue, own = images.catalogue_for(
        source, flags.images(image), flags.device(device or "cpu"), "", console, pulls=not dry_run
    )
    request = sweep.SweepRequest(
        spec_path=flags.spec(spec, "quick.json"),
        changes=flags.changes(
            device,
            frameworks,
            [*(variant or ()), *map(flags.variant_of, own)],
            epochs,
            seeds,
            repeats,
            is_scout=scout,
        ),
        cells=cells,
        resume=resumed,
        is_scout=scout,
        weights=weights,
        until=flags.until(precision, "") if scout else None,
        options=RunOptions(engine or None, flags.gpus(gpus), strict, unverified, ARGV),
    )
    if dry_run:
        show(*sweep.outline(request, catalogue, Home.default()), json_)
        return 0
    result = sweep.sweep(request, catalogue, Home.default(), REPORTS, console)
    show_run(result.report, json_, console)
    return result.exit_code


@task(
    name="compare",
    auto_shortflags=False,
    iterable=["image", "source"],
    help={
        **COMPARED,
        "pairs": "of fresh processes for each cell: auto adds them until the verdict stands; or a number (6 or more)",
        **UNTIL,
        **DEVICE,
        **RUN,
        **STRICT,
        **JSON,
    },
)
@verb
def compare_(
    _: Context,
    baseline: str,
    candidate: str,
    pairs: str = "auto",
    precision: str = "3%",
    budget: str = "",
    cells: str = "",
    spec: str = "",
    device: str = "cpu",
    engine: str = "",
    image: Texts = None,
    source: Texts = None,
    strict: bool = False,
    gpus: str = "",
    json_: bool = False,
) -> int:
    """Say by how much one build is faster than another, with an interval: interleaved pairs of fresh processes."""
    from orchestrator.commands import compare, images
    from orchestrator.console.results import show_comparison
    from orchestrator.execution.session import RunOptions

    home, console = Home.default(), Console()
    code, known = 0, compare.recorded(home, (baseline, candidate))
    if known is None:
        catalogue, own = images.catalogue_for(source, flags.images(image), flags.device(device), engine, console)
        baseline, candidate = flags.own_subjects((baseline, candidate), own)
        asked = compare.CompareRequest(
            spec_path=flags.spec(spec, "compare.json"),
            compared=(baseline, candidate),
            pairs=flags.pairs(pairs),
            until=flags.until(precision, budget),
            cells=cells,
            device=flags.device(device),
            options=RunOptions(engine or None, flags.gpus(gpus), strict, argv=ARGV),
        )
        code, known = compare.compare(asked, catalogue, home, REPORTS, console)
    if known:
        show_comparison((baseline, candidate), known, json_)
    return code


@task(
    name="gate",
    auto_shortflags=False,
    iterable=["image", "source"],
    help={
        **CELLS,
        "baseline": "framework:variant, for example mxnet:1.5; framework:image with --image",
        "candidate": "another variant of it",
        "allow": "how much slower the candidate may be, for example 3%",
        "budget": BUDGET,
        "output": "folder for junit.xml, summary.md, bencher.json and github-action-benchmark.json (default: none)",
        **DEVICE,
        **RUN,
        **STRICT,
        **JSON,
    },
)
@verb
def gate_(
    _: Context,
    baseline: str,
    candidate: str,
    allow: str = "3%",
    budget: str = "1h",
    output: str = "",
    cells: str = "",
    spec: str = "",
    device: str = "cpu",
    engine: str = "",
    image: Texts = None,
    source: Texts = None,
    strict: bool = False,
    gpus: str = "",
    json_: bool = False,
) -> int:
    """For CI: exit 0 if the candidate is not slower than allowed, 10 if it is, 11 undecided, 12 not measured."""
    from orchestrator.commands import compare, gate, images
    from orchestrator.console.results import show_gate
    from orchestrator.execution.session import RunOptions
    from orchestrator.records.run_folder import Until

    console = Console()
    catalogue, own = images.catalogue_for(source, flags.images(image), flags.device(device), engine, console)
    asked = compare.CompareRequest(
        spec_path=flags.spec(spec, "compare.json"),
        compared=flags.own_subjects((baseline, candidate), own),
        until=Until(budget_seconds=flags.duration("--budget", budget), margin=flags.margin(allow)),
        cells=cells,
        device=flags.device(device),
        options=RunOptions(engine or None, flags.gpus(gpus), strict, argv=ARGV),
    )
    result = gate.gate(asked, flags.path(output), catalogue, Home.default(), REPORTS, console)
    show_gate(result, json_, console)
    return result.exit_code


@task(
    name="tune",
    auto_shortflags=False,
    positional=["framework"],
    iterable=["image", "source"],
    help={
        "framework": "a framework, or all",
        "budget": "time for each framework, for example 30m (default: none)",
        "cells": "only these, comma-separated, for example IDSIA@48,ResNet-20@32",
        "spec": "experiment whose cells to time (default experiments/tune.json)",
        **DEVICE,
        **RUN,
        **STRICT,
        **JSON,
    },
)
@verb
def tune_(
    _: Context,
    framework: str,
    budget: str = "",
    cells: str = "",
    spec: str = "",
    device: str = "cpu",
    engine: str = "",
    image: Texts = None,
    source: Texts = None,
    strict: bool = False,
    gpus: str = "",
    json_: bool = False,
) -> int:
    """Find the fastest variant and settings of a framework on this machine; `best` stands for it from then on."""
    from orchestrator.commands import images, tune
    from orchestrator.execution.session import RunOptions

    console = Console()
    catalogue, _own = images.catalogue_for(source, flags.images(image), flags.device(device), engine, console)
    request = tune.TuneRequest(
        spec_path=flags.spec(spec, "tune.json"),
        framework=framework,
        device=flags.device(device),
        budget_seconds=flags.duration("--budget", budget),
        cells=cells,
        options=RunOptions(engine or None, flags.gpus(gpus), strict, argv=ARGV),
    )
    result = tune.tune(request, catalogue, Home.default(), REPORTS, console)
    show("Tuned", tune.tuned_rows(result.found), json_, TUNED)
    return result.exit_code


@task(
    name="limit",
    auto_shortflags=False,
    iterable=["source"],
    help={
        "spec": "experiment whose convolutions to time (default experiments/paper.json)",
        **ENGINE,
        **SOURCE,
        **STRICT,
        **JSON,
    },
)
@verb
def limit_(
    _: Context, spec: str = "", engine: str = "", source: Texts = None, strict: bool = False, json_: bool = False
) -> None:
    """Measure what this machine can do at best (GFLOP/s, GB/s); later reports say how far each speed is from it."""
    from orchestrator.commands import images, limit
    from orchestrator.execution.session import RunOptions

    console = Console()
    catalogue, _own = images.catalogue_for(source, {}, "cpu", engine, console)
    options = RunOptions(engine or None, is_strict=strict, argv=ARGV)
    found = limit.measure(flags.spec(spec, "paper.json"), catalogue, Home.default(), options, console)
    show(f"The limit of this machine, {found.threads} threads", limit.limit_rows(found), json_)


@task(
    name="report",
    auto_shortflags=False,
    help={
        "run": "which run (default the newest); several, comma-separated, are joined on one page",
        "open": "show the page in the browser, too",
        "watch": "serve the page on this machine alone, and make it again as the run goes on, until Ctrl-C",
        "port": "of the served page (default any that is free)",
    },
)
@verb
def report_(_: Context, run: str = "", open_: bool = False, watch: bool = False, port: int = 0) -> None:
    """Render the report of a run again, from the store; of several runs also a page that joins them."""
    from orchestrator.commands import collections, records, watching

    console, asked = Console(), flags.names(run)
    if watch:
        watching.watch(asked, Home.default(), port, console, open_)
        return
    if len(asked) > 1:
        page = collections.join_runs(asked, Home.default(), REPORTS, console)
    else:
        page = records.render_again(run or None, Home.default(), REPORTS).page
    console.say(f"report: {page}")
    if open_ and not webbrowser.open(page.as_uri()):
        console.say("no browser was found; open that file in one")


@task(
    name="index",
    auto_shortflags=False,
    help={
        "published": "a folder of published runs: folders or .zip files of `invoke publish`",
        "to": "a new folder: a site that any web server can host",
    },
)
@verb
def index_(_: Context, published: str, to: str) -> None:
    """Make a site of published runs: every hash verified, every page made anew, and one page that lists all."""
    from orchestrator.commands import collections

    console = Console()
    console.say(f"index: {collections.write_index(expanded(published), expanded(to), Home.default(), console)}")


@task(name="runs", auto_shortflags=False, help=JSON)
@verb
def runs_(_: Context, json_: bool = False) -> None:
    """List the runs on record, the newest first, with their age and size."""
    from orchestrator.commands import records

    show("Runs", records.run_rows(Home.default()), json_, RUNS)


@task(
    name="show",
    auto_shortflags=False,
    positional=["trial"],
    help={"trial": "RUN/7, or 7 for trial 7 of the newest sweep; reports and `invoke runs` name them", **JSON},
)
@verb
def show_(_: Context, trial: str, json_: bool = False) -> None:
    """Show everything about one trial: clocks, losses, audit, end of its log, and the command that repeats it."""
    from orchestrator.commands import records

    show(*records.trial_rows(trial, Home.default()), json_)


@task(
    name="remove",
    auto_shortflags=False,
    positional=["run"],
    help={"run": "which run; `invoke runs` lists them", "yes": "do not ask"},
)
@verb
def remove_(_: Context, run: str, yes: bool = False) -> int:
    """Remove a run: its record, its part of the store and its report. Selfchecks in it are made again when needed."""
    from orchestrator.commands import records

    console = Console()
    if not yes and not flags.confirmed(f"Remove run {run}, its record and its report?"):
        console.say("nothing was removed")
        return 1
    records.remove(run, Home.default(), REPORTS, console)
    return 0


@task(
    name="publish",
    auto_shortflags=False,
    positional=["run"],
    help={
        "run": "which run; `invoke runs` lists them",
        "to": "a new folder, or a new file that ends in .zip",
        "key": "a private key in PEM, to sign its hashes with (default: not signed)",
    },
)
@verb
def publish_(_: Context, run: str, to: str, key: str = "") -> None:
    """Write a run as one folder or archive: records, environments, hashes and the page, for others to check."""
    from orchestrator.commands import publication

    publication.publish_run(run, expanded(to), Home.default(), Console(), flags.path(key))


@task(
    name="export-mlflow",
    auto_shortflags=False,
    positional=["run"],
    help={
        "run": "which run; `invoke runs` lists them",
        "to": "where MLflow keeps its runs, for example sqlite:///mlflow.db or http://127.0.0.1:5000",
    },
)
@verb
def export_mlflow_(_: Context, run: str, to: str) -> None:
    """Write the trials of a run to MLflow, as an experiment of its name."""
    from orchestrator.commands import records

    records.export_to_mlflow(run, to, Home.default(), Console())


@task(
    auto_shortflags=False,
    help={
        "published": "a folder or .zip file of `invoke publish`: every hash is verified and its report rendered",
        "key": "a public key in PEM: refuse a published run that is not signed with the private one",
    },
)
@verb
def ingest(_: Context, published: str = "", key: str = "") -> int:
    """Make the store again from the event files of all runs; or take in a run that somebody published."""
    from orchestrator.commands import publication, records

    if published:
        return publication.ingest_publication(expanded(published), Home.default(), Console(), flags.path(key))
    if key:
        raise SpecError("--key verifies a published run; name it with --published.")
    return records.ingest(Home.default(), Console())


@task(auto_shortflags=False)
@verb
def reap(_: Context) -> int:
    """End and remove what runs of this home left behind when they were killed: workers, containers, files."""
    from orchestrator.commands import reap

    return reap.reap(Home.default(), REPORTS, Console())


@task(
    name="export",
    auto_shortflags=False,
    positional=["run", "cell"],
    iterable=["source"],
    help={
        "run": "the run that trained it; `invoke runs` lists them",
        "cell": "the network, for example ResNet-20@32",
        "onnx": "write it as ONNX to this file",
        "litert": "write it for LiteRT (.tflite) to this file",
        "ncnn": "write it for ncnn (.param, .bin) to this file",
        "subject": "who trained it, for example pytorch:2.13 (needed if several did)",
        **ENGINE,
        **SOURCE,
        **JSON,
    },
)
@verb
def export_(
    _: Context,
    run: str,
    cell: str,
    onnx: str = "",
    litert: str = "",
    ncnn: str = "",
    subject: str = "",
    engine: str = "",
    source: Texts = None,
    json_: bool = False,
) -> None:
    """Write a trained network as a file for other programs, checked to give the same logits."""
    from orchestrator.commands import export_model, images
    from orchestrator.execution.session import RunOptions

    console = Console()
    catalogue, _own = images.catalogue_for(source, {}, "cpu", engine, console)
    given = {"onnx": onnx, "litert": litert, "ncnn": ncnn}
    files = {name: expanded(file) for name, file in given.items() if file}
    request = export_model.ExportRequest(run, cell, files, RunOptions(engine or None, argv=ARGV), subject)
    show("Exported", export_model.export(request, catalogue, Home.default(), console), json_)


@task(
    name="watch",
    auto_shortflags=False,
    positional=["video"],
    iterable=["source"],
    help={
        "video": "a video file, the number of a camera, or a folder of frames",
        "subject": "the framework or runtime that answers, for example onnxruntime or pytorch:2.13-tuned",
        "run": "the run that trained the network (default: the newest that left weights)",
        "cell": "the network, for example IDSIA@48 (default: the first of that run)",
        "roi": "look at this region only: left,top,width,height in pixels",
        "fps": "frames a second, where the source says none",
        "confidence": "report a sign from this share on, for example 90%",
        "output": "write a video with what was recognised",
        "lines": "write one JSON object a frame to this file",
        "truth": "the signs that are there, as `invoke data --video` writes them: tells how many are recognised",
        **ENGINE,
        **SOURCE,
        **JSON,
    },
)
@verb
def watch_(
    _: Context,
    video: str,
    subject: str = "onnxruntime",
    run: str = "",
    cell: str = "",
    roi: str = "",
    fps: str = "30",
    confidence: str = "90%",
    output: str = "",
    lines: str = "",
    truth: str = "",
    engine: str = "",
    source: Texts = None,
    json_: bool = False,
) -> None:
    """Recognise the signs in a video or camera as its frames come; late frames are dropped and counted."""
    from orchestrator.commands import camera, images
    from orchestrator.execution import weights
    from orchestrator.execution.recognition import Wanted
    from orchestrator.execution.session import RunOptions

    console, home = Console(), Home.default()
    catalogue, _own = images.catalogue_for(source, {}, "cpu", engine, console)
    framework, _sign, variant = subject.partition(":")
    request = camera.WatchRequest(
        source=str(expanded(video)),
        subject=(framework, variant or None),
        wanted=Wanted(
            roi=flags.region(roi),
            confidence=flags.share("--confidence", confidence),
            output=flags.new_file("--output", output),
            lines=flags.new_file("--lines", lines),
            weights=weights.chosen(run, cell, home),
        ),
        rate=flags.rate("--fps", fps),
        truth=flags.path(truth),
        options=RunOptions(engine or None, argv=ARGV),
    )
    show("Watched", camera.watch(request, catalogue, home, console).rows(), json_)


@task(
    name="export-env",
    auto_shortflags=False,
    positional=["row"],
    help={"row": "framework:variant, for example mxnet:1.5-mkl", "to": "a new folder", **DEVICE},
)
@verb
def export_env_(_: Context, row: str, to: str, device: str = "cpu") -> None:
    """Write the environment of a row as a plain Dockerfile with its pins, to build without waymark."""
    from orchestrator.commands import export, images

    framework, variant = flags.subject(row)
    found = images.catalogue_with().resolve(framework, flags.device(device), variant)
    export.export_env(found, expanded(to), Console())


@task(name="doctor", auto_shortflags=False, help=JSON)
@verb
def doctor_(_: Context, json_: bool = False) -> int:
    """Check Docker, disk, processor, Pythons, indexes, data and card; each finding says what to do."""
    from orchestrator.commands import doctor, images

    findings = doctor.examine(Home.default(), images.catalogue_with())
    show("waymark doctor", [finding.model_dump() for finding in findings], json_)
    return 0 if doctor.can_sweep(findings) else 1
