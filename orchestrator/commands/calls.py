"""The arguments of the commands, from the flags of one call of a verb."""

import sys
from collections.abc import Sequence

from orchestrator.commands import images
from orchestrator.commands.camera import WatchRequest
from orchestrator.commands.compare import CompareRequest
from orchestrator.commands.export_model import ExportRequest
from orchestrator.commands.sweep import SweepRequest
from orchestrator.commands.tune import TuneRequest
from orchestrator.console import flags
from orchestrator.console.verb import Call
from orchestrator.errors import SpecError
from orchestrator.execution import weights
from orchestrator.execution.recognition import Wanted
from orchestrator.execution.session import RunOptions
from orchestrator.home import expanded
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
    catalogue, own = catalogue_of(call, call.device or "cpu", pulls=not call.dry_run)
    narrowing = Narrowing(
        device=flags.device(call.device) if call.device else None,
        frameworks=flags.names(call.frameworks),
        variants=flags.variants([*(call.variant or ()), *map(flags.variant_of, own)]),
        epochs=flags.number("--epochs", call.epochs),
        seeds=flags.seeds(call.seeds),
        repeats=flags.number("--repeats", call.repeats),
        network=flags.path(call.network),
        dataset=flags.dataset_name("--dataset", call.dataset),
        is_scout=call.scout,
    )
    request = SweepRequest(
        spec_path=flags.spec(call.spec, "quick.json"),
        changes=narrowing.changes(),
        cells=flags.names(call.cells),
        resume=resumed,
        is_scout=call.scout,
        weights=call.weights,
        shard=flags.shard(call.shard),
        until=flags.until(call.precision, "") if call.scout else None,
        options=options_of(call),
    )
    return request, catalogue


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
