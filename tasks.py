"""invoke verbs: parse flags, call one function, print. No logic, no Docker, no SQL.

Each verb imports its own command: `invoke images` need not wait for scipy.
"""

import webbrowser

from orchestrator.console import flags
from orchestrator.console.program import take_over
from orchestrator.console.tables import IMAGES, JOBS, RUNS, TUNED, show
from orchestrator.console.verb import (
    BUDGET,
    CELLS,
    CHOICE,
    DEVICE,
    FRAMEWORKS,
    JSON,
    RUN,
    RUNTIME,
    STRICT,
    VARIANT,
    Call,
    Flag,
    verb,
    word,
)
from orchestrator.errors import SpecError
from orchestrator.home import default_reports, expanded

REPORTS = default_reports()
take_over()

BASELINE = "framework:variant, for example mxnet:1.5; framework:image with --image"
WHICH_RUN = word("run", "which run; `invoke runs` lists them")


@verb(
    "data",
    Flag("from", "where the pictures are: a folder, a zip or tar.gz, or a CSV file; of GTSRB the folder of its zips"),
    Flag("name", "a known data set, or a name for pictures of your own (default: what is there, else gtsrb)"),
    Flag("download", "fetch the published archives (of GTSRB 366 MB), checked by md5", False),
    Flag("group", r"a regular expression that finds the object in a name, '(\w+)_\d+': its pictures stay together"),
    Flag("test-share", "of your pictures, drawn to test where they have no test folder", "20%"),
    Flag("skip-broken", "leave out pictures that do not read", False),
    Flag("sizes", "input sizes to prepare, comma-separated", "32,48,64"),
    Flag("video", "instead, draw a video of a drive past signs into this file, and beside it what is in each frame"),
    Flag("seconds", "with --video: how long it is", "20s"),
    Flag("fps", "with --video: frames a second", "30"),
    *JSON,
)
def data_(call: Call) -> None:
    """Read or download pictures, GTSRB's or your own, and prepare them; a second call finds them. Or draw a video."""
    drawn = flags.new_file("--video", call.video)
    if drawn:
        from orchestrator.commands import camera

        length, rate = flags.duration("--seconds", call.seconds) or 20.0, flags.rate("--fps", call.fps)
        frames, truth = camera.draw_video(drawn, length, rate, 0, call.console)
        show("Drawn video", [{"file": str(drawn), "frames": frames, "truth": str(truth)}], call.json)
        return
    from orchestrator.commands import data

    name, share = flags.dataset_name("--name", call.name), flags.share("--test-share", call.test_share)
    reading = data.reading_of(call.group, share, call.skip_broken)
    request = data.DataRequest(name, call.from_, call.download, flags.sizes(call.sizes), reading)
    show("Prepared pictures", data.prepare_pictures(request, call.home, call.console), call.json)


@verb(
    "import",
    word("file", "an ONNX file"),
    Flag("as", "the name of the network (default: that of the file)"),
    Flag("size", "input size where the file leaves it open, or another one: 32, or 1x28x28"),
    Flag("to", "folder for NAME.json", "."),
    *JSON,
)
def import_(call: Call) -> None:
    """Write a network of your own, an ONNX file, as the ops that a spec may name; say which framework lacks what."""
    from orchestrator.commands import import_network

    name, size = flags.network_name(call.as_), flags.size(call.size)
    request = import_network.ImportRequest(expanded(call.file), name, size, expanded(call.to))
    show(*import_network.import_network(request, call.console), call.json)


@verb(
    "build-images",
    *CHOICE,
    Flag("adopt", "take images that say that they are of these recipes, for example after `docker load`", False),
    Flag("dry-run", "list what would be built and why, and stop", False),
    *JSON,
)
def build_images_(call: Call) -> None:
    """Build the container images whose recipe changed."""
    from orchestrator.commands import images

    wanted = flags.rows(call.frameworks, call.device, call.variant)
    rows = images.chosen_rows(images.catalogue_with(call.source), wanted)
    if call.dry_run:
        show("To build", images.outlook(rows, call.home), call.json, IMAGES)
    else:
        built = images.build_images(rows, call.home, call.console.say, adopts=call.adopt)
        show("Images", images.image_rows(built), call.json, IMAGES)


@verb("images", *JSON)
def images_(call: Call) -> None:
    """List every row of the catalogue: whether and when it was built here, its size, where its CUDA is from."""
    from orchestrator.commands import images

    show("Images", images.listing(images.catalogue_with(), call.home), call.json, IMAGES)


@verb(
    "check",
    Flag("spec", "experiment whose networks to check (default experiments/paper.json)"),
    CELLS,
    Flag("frameworks", "only these, comma-separated (default: those of the spec, in the variants that it trains)"),
    DEVICE,
    Flag("variant", "framework=variant, mxnet=1.5-mkl: this one of it; mxnet=all for all; may be repeated", ()),
    *RUN,
    Flag("again", "repeat checks that have passed before", False),
    *JSON,
)
def check_(call: Call) -> int:
    """Compare what each environment computes with numpy_ref: the parity table."""
    from orchestrator.commands import calls, check
    from orchestrator.console.results import show_parity

    catalogue, own = calls.catalogue_of(call, call.device)
    rows, spec = flags.rows(call.frameworks, call.device, call.variant), flags.spec(call.spec, "paper.json")
    request = check.request_for(spec, rows, flags.names(call.cells), own, catalogue, calls.options_of(call))
    result = check.check(request, call.again, call.home, call.console)
    show_parity(result.rows, call.json, call.console)
    return 0 if result.has_passed else 1


@verb(
    "sweep",
    Flag("spec", "experiment to run (default experiments/quick.json)"),
    Flag("device", "cpu or gpu: only this one"),
    FRAMEWORKS,
    VARIANT,
    Flag(
        "network", "file of a network of your own, ONNX or what `invoke import` wrote, in place of the spec's networks"
    ),
    Flag("dataset", "pictures in place of the spec's: a known data set, or a name that `invoke data` registered"),
    Flag("epochs", "epochs of every model, in place of the spec's"),
    CELLS,
    Flag("seeds", "only these, in place of the spec's, for example 0,1,2"),
    Flag("repeats", "of every cell, in place of the spec's"),
    *RUN,
    Flag("dry-run", "print the plan with its skips and reasons and how long it will take, and run nothing", False),
    Flag("scout", "take a few steps of each cell, three times or more, and tell what all of it would take", False),
    Flag("precision", "with --scout: an interval of +- this much is enough, for example 5%", "5%"),
    Flag("shard", "of several machines: this part of the plan, for example 2/4; `invoke join` joins their runs"),
    Flag("weights", "of networks that are run: the run that trained them (default: the newest; else they are trained)"),
    Flag("resume", "continue the newest run, or with --resume=RUN that one, as it was asked", None, may_be_bare=True),
    Flag("unverified", "also time environments whose selfcheck did not pass, and mark them", False),
    STRICT,
    *JSON,
)
def sweep_(call: Call) -> int:
    """Train, or run, every cell of a spec, each in its own process and environment, and write a report."""
    from orchestrator.commands import calls, outline, sweep
    from orchestrator.console.results import show_run

    request, catalogue = calls.sweep_of(call)
    if call.dry_run:
        show(*outline.outline(request, catalogue, call.home), call.json)
        return 0
    result = sweep.sweep(request, catalogue, call.home, REPORTS, call.console)
    show_run(result.report, call.json, call.console)
    return result.exit_code


@verb(
    "compare",
    word("baseline", f"{BASELINE}; or runs on record"),
    word("candidate", "another variant of it, or other runs; the same twice is a control"),
    Flag(
        "pairs", "of processes for each cell: auto adds them until the verdict stands; or a number (6 or more)", "auto"
    ),
    Flag("precision", "with --pairs=auto: an interval of +- this much is enough, for example 3%", "3%"),
    Flag("budget", BUDGET),
    CELLS,
    Flag("spec", "experiment whose cells to compare (default experiments/compare.json)"),
    DEVICE,
    *RUN,
    STRICT,
    *JSON,
)
def compare_(call: Call) -> int:
    """Say by how much one build is faster than another, with an interval: interleaved pairs of fresh processes."""
    from orchestrator.commands import calls, compare
    from orchestrator.console.results import show_comparison

    subjects = (call.baseline, call.candidate)
    code, known = 0, compare.recorded(call.home, subjects)
    if known is None:
        request, catalogue = calls.comparison_of(call, subjects)
        subjects = request.compared
        code, known = compare.compare(request, catalogue, call.home, REPORTS, call.console)
    if known:
        show_comparison(subjects, known, call.json)
    return code


@verb(
    "gate",
    word("baseline", BASELINE),
    word("candidate", "another variant of it"),
    Flag("allow", "how much slower the candidate may be, for example 3%", "3%"),
    Flag("budget", BUDGET, "1h"),
    Flag("output", "folder for junit.xml, summary.md, bencher.json and github-action-benchmark.json (default: none)"),
    CELLS,
    Flag("spec", "experiment whose cells to compare (default experiments/compare.json)"),
    DEVICE,
    *RUN,
    STRICT,
    *JSON,
)
def gate_(call: Call) -> int:
    """For CI: exit 0 if the candidate is not slower than allowed, 10 if it is, 11 undecided, 12 not measured."""
    from orchestrator.commands import calls, gate
    from orchestrator.console.results import show_gate

    request, catalogue = calls.comparison_of(call, (call.baseline, call.candidate))
    result = gate.gate(request, flags.path(call.output), catalogue, call.home, REPORTS, call.console)
    show_gate(result, call.json, call.console)
    return result.exit_code


@verb(
    "tune",
    word("framework", "a framework, or all"),
    Flag("budget", "time for each framework, for example 30m (default: none)"),
    CELLS,
    Flag("spec", "experiment whose cells to time (default experiments/tune.json)"),
    DEVICE,
    *RUN,
    STRICT,
    *JSON,
)
def tune_(call: Call) -> int:
    """Find the fastest variant and settings of a framework on this machine; `best` stands for it from then on."""
    from orchestrator.commands import calls, tune

    request, catalogue = calls.tuning_of(call)
    result = tune.tune(request, catalogue, call.home, REPORTS, call.console)
    show("Tuned", tune.tuned_rows(result.found), call.json, TUNED)
    return result.exit_code


@verb(
    "limit",
    Flag("spec", "experiment whose convolutions to time (default experiments/paper.json)"),
    *RUNTIME,
    STRICT,
    *JSON,
)
def limit_(call: Call) -> None:
    """Measure what this machine can do at best (GFLOP/s, GB/s); later reports say how far each speed is from it."""
    from orchestrator.commands import calls, limit

    (catalogue, _), spec = calls.catalogue_of(call), flags.spec(call.spec, "paper.json")
    measured = limit.measure(spec, catalogue, call.home, calls.options_of(call), call.console)
    show(f"The limit of this machine, {measured.threads} threads", limit.limit_rows(measured), call.json)


@verb(
    "largest-batch",
    Flag("spec", "experiment whose networks and rule to take (default experiments/batch-sizes.json)"),
    Flag("device", "cpu or gpu: only this one"),
    FRAMEWORKS,
    VARIANT,
    CELLS,
    Flag("memory", "GiB that a training may use (default limits.memory_gib of the spec)"),
    *RUNTIME,
    STRICT,
    *JSON,
)
def largest_batch_(call: Call) -> None:
    """Find the largest batch that fits into memory, by bisection; each try is a process held to the limit."""
    from orchestrator.commands import calls, largest_batch

    found = largest_batch.measure(*calls.largest_batch_of(call), call.console)
    show("The largest batch that fits", found, call.json)


@verb(
    "report",
    Flag("run", "which run (default the newest); several, comma-separated, are joined on one page"),
    Flag("open", "show the page in the browser, too", False),
    Flag("watch", "serve the page on this machine alone, and make it again as the run goes on, until Ctrl-C", False),
    Flag("port", "of the served page (default any that is free)", 0),
)
def report_(call: Call) -> None:
    """Render the report of a run again, from the store; of several runs also a page that joins them."""
    from orchestrator.commands import collections, records, watching

    runs = flags.names(call.run)
    if call.watch:
        watching.watch(runs, call.home, call.port, call.console, call.open)
        return
    if len(runs) > 1:
        page = collections.join_runs(runs, call.home, REPORTS, call.console)
    else:
        page = records.render_again(call.run or None, call.home, REPORTS).page
    call.console.say(f"report: {page}")
    if call.open and not webbrowser.open(page.as_uri()):
        call.console.say("no browser was found; open that file in one")


@verb(
    "join",
    word("runs", "the runs of the shards of one sweep, comma-separated; or what `invoke submit` sent, by its id"),
    Flag("open", "show the page in the browser, too", False),
)
def join_(call: Call) -> int:
    """Join the shards of a sweep on one page: each counted once, with what is missing; exit code 1 if something is."""
    from orchestrator.commands import collections

    runs = collections.runs_of(flags.names(call.runs), call.home, call.console)
    joined = collections.join_shards(runs, call.home, REPORTS, call.console)
    call.console.say(f"report: {joined.page}")
    if call.open and not webbrowser.open(joined.page.as_uri()):
        call.console.say("no browser was found; open that file in one")
    return 0 if joined.is_whole else 1


@verb(
    "submit",
    Flag("spec", "experiment to run (default experiments/quick.json)"),
    Flag("nodes", "how many nodes run a part of it, each as a job of its own"),
    Flag("partition", "of Slurm; this flag and the next ones have their defaults in waymark.toml, below [slurm]"),
    Flag("account", "of Slurm"),
    Flag("constraint", "of Slurm: a feature that the nodes have"),
    Flag("qos", "of Slurm"),
    Flag("time", "limit of one job, 90m, 4h or 1-12:00:00 (default 4h); a shard that reaches it goes on in the next"),
    Flag("detach", "return when the jobs are sent; `invoke jobs` tells how they go", False),
    Flag(
        "resume", "send what is missing of the newest submission, or with --resume=ID of that", None, may_be_bare=True
    ),
    Flag("device", "cpu or gpu: only this one"),
    FRAMEWORKS,
    VARIANT,
    Flag("network", "file of a network of your own in place of the spec's networks"),
    Flag("dataset", "pictures in place of the spec's"),
    Flag("epochs", "epochs of every model, in place of the spec's"),
    CELLS,
    Flag("seeds", "only these, in place of the spec's, for example 0,1,2"),
    Flag("repeats", "of every cell, in place of the spec's"),
    *RUN,
    Flag("weights", "of networks that are run: the run that trained them"),
    Flag("unverified", "also time environments whose selfcheck did not pass, and mark them", False),
    STRICT,
)
def submit_(call: Call) -> int:
    """Run a sweep on a Slurm cluster: a shard a node, each a run of its own; wait for them and join them."""
    from orchestrator.commands import calls, submit

    resumed = flags.resumed(call.resume)
    if resumed:
        name = "" if resumed == "latest" else resumed
        return submit.resume(name, call.home, REPORTS, call.console, is_detached=call.detach)
    request, catalogue = calls.submission_of(call)
    return submit.submit(request, catalogue, call.home, REPORTS, call.console)


@verb(
    "jobs",
    Flag("submission", "only this one (default: the newest, and those that are not done)"),
    *JSON,
)
def jobs_(call: Call) -> None:
    """List what was sent to the cluster: each shard with its state, its node, its attempts and its trials."""
    from orchestrator.commands import submit

    show("Jobs", submit.job_rows(call.submission, call.home), call.json, JOBS)


@verb(
    "index",
    word("published", "a folder of published runs: folders or .zip files of `invoke publish`"),
    word("to", "a new folder: a site that any web server can host"),
)
def index_(call: Call) -> None:
    """Make a site of published runs: every hash verified, every page made anew, and one page that lists all."""
    from orchestrator.commands import collections

    page = collections.write_index(expanded(call.published), expanded(call.to), call.home, call.console)
    call.console.say(f"index: {page}")


@verb("runs", *JSON)
def runs_(call: Call) -> None:
    """List the runs on record, the newest first, with their age and size."""
    from orchestrator.commands import records

    show("Runs", records.run_rows(call.home), call.json, RUNS)


@verb(
    "show",
    word("trial", "RUN/7, or 7 for trial 7 of the newest sweep; reports and `invoke runs` name them"),
    *JSON,
)
def show_(call: Call) -> None:
    """Show everything about one trial: clocks, losses, audit, end of its log, and the command that repeats it."""
    from orchestrator.commands import records

    show(*records.trial_rows(call.trial, call.home), call.json)


@verb("remove", WHICH_RUN, Flag("yes", "do not ask", False))
def remove_(call: Call) -> int:
    """Remove a run: its record, its part of the store and its report. Selfchecks in it are made again when needed."""
    from orchestrator.commands import records

    if not call.yes and not flags.confirmed(f"Remove run {call.run}, its record and its report?"):
        call.console.say("nothing was removed")
        return 1
    records.remove(call.run, call.home, REPORTS, call.console)
    return 0


@verb(
    "publish",
    WHICH_RUN,
    Flag("to", "a new folder, or a new file that ends in .zip", None),
    Flag("key", "a private key in PEM, to sign its hashes with (default: not signed)"),
)
def publish_(call: Call) -> None:
    """Write a run as one folder or archive: records, environments, hashes and the page, for others to check."""
    from orchestrator.commands import publication

    publication.publish_run(call.run, expanded(call.to), call.home, call.console, flags.path(call.key))


@verb(
    "export-mlflow",
    WHICH_RUN,
    Flag("to", "where MLflow keeps its runs, for example sqlite:///mlflow.db or http://127.0.0.1:5000", None),
)
def export_mlflow_(call: Call) -> None:
    """Write the trials of a run to MLflow, as an experiment of its name."""
    from orchestrator.commands import records

    records.export_to_mlflow(call.run, call.to, call.home, call.console)


@verb(
    "ingest",
    Flag("published", "a folder or .zip file of `invoke publish`: every hash is verified and its report rendered"),
    Flag("key", "a public key in PEM: refuse a published run that is not signed with the private one"),
)
def ingest_(call: Call) -> int:
    """Make the store again from the event files of all runs; or take in a run that somebody published."""
    from orchestrator.commands import publication, records

    if call.published:
        path, key = expanded(call.published), flags.path(call.key)
        return publication.ingest_publication(path, call.home, call.console, key)
    if call.key:
        raise SpecError("--key verifies a published run; name it with --published.")
    return records.ingest(call.home, call.console)


@verb("reap")
def reap_(call: Call) -> int:
    """End and remove what runs of this home left behind when they were killed: workers, containers, files."""
    from orchestrator.commands import reap

    return reap.reap(call.home, REPORTS, call.console)


@verb(
    "export",
    word("run", "the run that trained it; `invoke runs` lists them"),
    word("cell", "the network, for example ResNet-20@32"),
    Flag("onnx", "write it as ONNX to this file"),
    Flag("litert", "write it for LiteRT (.tflite) to this file"),
    Flag("ncnn", "write it for ncnn (.param, .bin) to this file"),
    Flag("subject", "who trained it, for example pytorch:2.13 (needed if several did)"),
    *RUNTIME,
    *JSON,
)
def export_(call: Call) -> None:
    """Write a trained network as a file for other programs, checked to give the same logits."""
    from orchestrator.commands import calls, export_model

    request, catalogue = calls.export_of(call)
    show("Exported", export_model.export(request, catalogue, call.home, call.console), call.json)


@verb(
    "watch",
    word("video", "a video file, the number of a camera, or a folder of frames"),
    Flag("subject", "what answers, for example pytorch:2.13-tuned (default onnxruntime)", "onnxruntime"),
    Flag("run", "the run that trained the network (default: the newest that left weights)"),
    Flag("cell", "the network, for example IDSIA@48 (default: the first of that run)"),
    Flag("roi", "look at this region only: left,top,width,height in pixels"),
    Flag("fps", "frames a second, where the source says none", "30"),
    Flag("confidence", "report a sign from this share on, for example 90%", "90%"),
    Flag("output", "write a video with what was recognised"),
    Flag("lines", "write one JSON object a frame to this file"),
    Flag("truth", "the signs that are there, as `invoke data --video` writes them: tells how many are recognised"),
    *RUNTIME,
    *JSON,
)
def watch_(call: Call) -> None:
    """Recognise the signs in a video or camera as its frames come; late frames are dropped and counted."""
    from orchestrator.commands import calls, camera

    request, catalogue = calls.watching_of(call)
    show("Watched", camera.watch(request, catalogue, call.home, call.console).rows(), call.json)


@verb(
    "export-env",
    word("row", "framework:variant, for example mxnet:1.5-mkl"),
    Flag("to", "a new folder", None),
    DEVICE,
)
def export_env_(call: Call) -> None:
    """Write the environment of a row as a plain Dockerfile with its pins, to build without waymark."""
    from orchestrator.commands import export, images

    framework, variant = flags.subject(call.row)
    row = images.catalogue_with().resolve(framework, flags.device(call.device), variant)
    export.export_env(row, expanded(call.to), call.console)


@verb("doctor", *JSON)
def doctor_(call: Call) -> int:
    """Check Docker, disk, processor, Pythons, indexes, data and card; each finding says what to do."""
    from orchestrator.commands import doctor, images

    findings = doctor.examine(call.home, images.catalogue_with())
    show("waymark doctor", [finding.model_dump() for finding in findings], call.json)
    return 0 if doctor.can_sweep(findings) else 1
