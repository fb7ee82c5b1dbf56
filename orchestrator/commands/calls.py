"""The arguments of the commands, from the flags of one call of a verb."""

import os
import re
import sys
from collections.abc import Sequence

from orchestrator.cluster import MACHINE_VARIABLE, SUBMISSION_VARIABLE, SlurmSettings, read_settings
from orchestrator.commands import images
from orchestrator.commands.camera import WatchRequest
from orchestrator.commands.compare import CompareRequest
from orchestrator.commands.export_model import ExportRequest
from orchestrator.commands.largest_batch import BatchRequest
from orchestrator.commands.submit import SubmitRequest
from orchestrator.commands.sweep import SweepRequest
from orchestrator.commands.tune import TuneRequest
from orchestrator.console import flags
from orchestrator.console.verb import Call
from orchestrator.errors import SpecError, shortened
from orchestrator.execution import weights
from orchestrator.execution.asking import SentBy
from orchestrator.execution.recognition import Wanted
from orchestrator.execution.session import RunOptions
from orchestrator.home import Home, expanded
from orchestrator.planning.catalogue import Catalogue
from orchestrator.planning.image_row import ImageRow
from orchestrator.planning.narrowing import Narrowing
from orchestrator.records.run_folder import Until
from orchestrator.trial import SubjectPair

ARGV = tuple(sys.argv[1:])

_CHANGING = (
    "device",
    "frameworks",
    "variant",
    "epochs",
    "cells",
    "seeds",
    "repeats",
    "network",
    "dataset",
    "spec",
    "scout",
    "weights",
    "shard",
)
"""Flags of a sweep that its recorded spec would contradict."""

_SLURM = ("partition", "account", "constraint", "qos", "time")
_PASSED, _PASSED_OFTEN, _PASSED_BARE = ("engine", "gpus", "weights"), ("image", "source"), ("unverified", "strict")
"""Flags of `submit` that the sweep on a node gets; the others make its spec."""


def catalogue_of(call: Call, device: str = "cpu", *, pulls: bool = True) -> tuple[Catalogue, Sequence[ImageRow]]:
    """The rows that the engine knows, and those of the user's own images."""
    given = vars(call)
    own, engine = flags.images(given.get("image")), given.get("engine", "")
    return images.catalogue_for(call.source, own, flags.device(device), engine, call.console, pulls=pulls)


def options_of(call: Call) -> RunOptions:
    """How a run is started."""
    given = vars(call)
    return RunOptions(
        engine=given.get("engine") or None,
        gpus=flags.gpus(given.get("gpus", "")),
        is_strict=given.get("strict", False),
        allow_unverified=given.get("unverified", False),
        argv=ARGV,
    )


def sweep_of(call: Call) -> tuple[SweepRequest, Catalogue]:
    """The request of `sweep`, and the rows that it may use.

    Raises SpecError for flags that change the spec of a run that is resumed.
    """
    resumed = flags.resumed(call.resume)
    if resumed and any(vars(call)[name] for name in _CHANGING):
        raise SpecError("--resume uses the spec that the run recorded; leave out the flags that change it.")
    return _sweep_of(call, resumed, pulls=not call.dry_run)


def submission_of(call: Call) -> tuple[SubmitRequest, Catalogue]:
    """The request of `submit`, and the rows that it may use."""
    sweep, catalogue = _sweep_of(call, None, pulls=False)
    settings = settings_of(call)
    count = flags.number("--nodes", call.nodes)
    if count is None:
        raise SpecError("--nodes is needed: of how many nodes each runs a part, for example --nodes=4.")
    given = vars(call)
    passed = [f"--{name}={given[name]}" for name in _PASSED if given[name]]
    passed += [f"--{name}={value}" for name in _PASSED_OFTEN for value in given[name] or ()]
    passed += [f"--{name}" for name in _PASSED_BARE if given[name]]
    return SubmitRequest(sweep, count, settings, tuple(passed), is_detached=call.detach), catalogue


def settings_of(call: Call) -> SlurmSettings:
    """What Slurm is asked for: waymark.toml, and flags in its place."""
    given = {name: vars(call)[name] for name in _SLURM if vars(call)[name]}
    wrong = next((name for name, value in given.items() if not re.fullmatch("[!-~]{1,200}", value)), None)
    if wrong:
        raise SpecError(f"--{wrong} is '{shortened(given[wrong])}'; it takes a name without spaces.")
    settings = read_settings(call.home).model_copy(update=given)
    assert settings.limit_minutes, "a time that does not read is refused there"
    return settings


def largest_batch_of(call: Call) -> tuple[BatchRequest, Catalogue, Home]:
    """The arguments of `largest_batch.measure` but for its console."""
    catalogue, own = catalogue_of(call, call.device or "cpu")
    narrowing = Narrowing(
        device=flags.device(call.device) if call.device else None,
        frameworks=flags.names(call.frameworks),
        variants=flags.variants([*(call.variant or ()), *map(flags.variant_of, own)]),
    )
    spec = flags.spec(call.spec, "batch-sizes.json")
    memory = flags.gib("--memory", call.memory)
    return BatchRequest(spec, narrowing, flags.names(call.cells), memory, options_of(call)), catalogue, call.home


def _sweep_of(call: Call, resumed: str | None, *, pulls: bool) -> tuple[SweepRequest, Catalogue]:
    given = vars(call)
    catalogue, own = catalogue_of(call, call.device or "cpu", pulls=pulls)
    is_scout = given.get("scout", False)
    narrowing = Narrowing(
        device=flags.device(call.device) if call.device else None,
        frameworks=flags.names(call.frameworks),
        variants=flags.variants([*(call.variant or ()), *map(flags.variant_of, own)]),
        epochs=flags.number("--epochs", call.epochs),
        seeds=flags.seeds(call.seeds),
        repeats=flags.number("--repeats", call.repeats),
        network=flags.path(call.network),
        dataset=flags.dataset_name("--dataset", call.dataset),
        is_scout=is_scout,
    )
    request = SweepRequest(
        spec_path=flags.spec(call.spec, "quick.json"),
        changes=narrowing.changes(),
        cells=flags.names(call.cells),
        resume=resumed,
        is_scout=is_scout,
        weights=call.weights,
        shard=flags.shard(given.get("shard", "")),
        sent_by=_sent_by(),
        until=flags.until(call.precision, "") if is_scout else None,
        options=options_of(call),
    )
    return request, catalogue


def _sent_by() -> SentBy | None:
    """What the job of a cluster says of itself (cluster/shard_job.py)."""
    submission = os.environ.get(SUBMISSION_VARIABLE, "")
    return SentBy(submission, os.environ.get(MACHINE_VARIABLE, "")) if submission else None


def comparison_of(call: Call, subjects: SubjectPair) -> tuple[CompareRequest, Catalogue]:
    """The request of `compare`, or of `gate`, whose --allow is a margin; and the rows that it may use."""
    catalogue, own = catalogue_of(call, call.device)
    given = vars(call)
    if "allow" in given:
        until = Until(budget_seconds=flags.duration("--budget", call.budget), margin=flags.margin(call.allow))
    else:
        until = flags.until(call.precision, call.budget)
    request = CompareRequest(
        spec_path=flags.spec(call.spec, "compare.json"),
        compared=flags.own_subjects(subjects, own),
        pairs=flags.pairs(given.get("pairs", "auto")),
        until=until,
        cells=flags.names(call.cells),
        device=flags.device(call.device),
        options=options_of(call),
    )
    return request, catalogue


def tuning_of(call: Call) -> tuple[TuneRequest, Catalogue]:
    """The request of `tune`, and the rows that it may use."""
    catalogue, _ = catalogue_of(call, call.device)
    request = TuneRequest(
        spec_path=flags.spec(call.spec, "tune.json"),
        framework=call.framework,
        device=flags.device(call.device),
        budget_seconds=flags.duration("--budget", call.budget),
        cells=flags.names(call.cells),
        options=options_of(call),
    )
    return request, catalogue


def export_of(call: Call) -> tuple[ExportRequest, Catalogue]:
    """The request of `export`, and the rows that it may use."""
    catalogue, _ = catalogue_of(call)
    files = {name: expanded(file) for name in ("onnx", "litert", "ncnn") if (file := vars(call)[name])}
    return ExportRequest(call.run, call.cell, files, options_of(call), call.subject), catalogue


def watching_of(call: Call) -> tuple[WatchRequest, Catalogue]:
    """The request of `watch`, and the rows that it may use."""
    catalogue, _ = catalogue_of(call)
    framework, _, variant = call.subject.partition(":")
    wanted = Wanted(
        roi=flags.region(call.roi),
        confidence=flags.share("--confidence", call.confidence),
        output=flags.new_file("--output", call.output),
        lines=flags.new_file("--lines", call.lines),
        weights=weights.chosen(call.run, call.cell, call.home),
    )
    request = WatchRequest(
        source=str(expanded(call.video)),
        subject=(framework, variant or None),
        wanted=wanted,
        rate=flags.rate("--fps", call.fps),
        truth=flags.path(call.truth),
        options=options_of(call),
    )
    return request, catalogue
