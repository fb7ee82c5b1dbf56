"""`invoke export`: trained weights of a run as a file that other programs run, with proof that it gives the same."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from orchestrator import data
from orchestrator.console.flags import new_file
from orchestrator.console.progress import Console
from orchestrator.data import datasets
from orchestrator.data.filters import FILTERS
from orchestrator.errors import SpecError, did_you_mean
from orchestrator.execution import weights as trained
from orchestrator.execution.session import RunOptions, open_session
from orchestrator.files import write_atomically
from orchestrator.home import Home
from orchestrator.host import yield_processors
from orchestrator.planning.catalogue import Catalogue
from orchestrator.planning.spec import Limits
from orchestrator.printable import printable
from orchestrator.records.run_folder import TrainedWeights


@dataclass(frozen=True)
class Format:
    """How a network is written. framework: the runtime that writes and runs it. files: of its worker -> end of ours."""

    framework: str
    files: dict[str, str]


FORMATS = {
    "onnx": Format("onnxruntime", {"model.onnx": ".onnx"}),
    "litert": Format("litert", {"model.tflite": ".tflite"}),
    "ncnn": Format("ncnn", {"model.param": ".param", "model.bin": ".bin"}),
}


@dataclass(frozen=True)
class ExportRequest:
    """The arguments of `invoke export`.

    to: format -> file, whose ending is replaced by the format's own. subject: who trained it; '' if only one did.
    """

    run_id: str
    cell: str
    to: dict[str, Path]
    options: RunOptions
    subject: str = ""


def _of_subject(request: ExportRequest, home: Home) -> TrainedWeights:
    """The weights asked for. Raises SpecError if several subjects trained that network and none is named."""
    trained_by = trained.trainers(trained.chosen(request.run_id, request.cell, home), home)
    known = {weights.subject: weights for weights in trained_by}
    if request.subject and request.subject not in known:
        raise SpecError(
            f"--subject is {request.subject}; {request.cell} was trained there by {', '.join(known)}."
            f"{did_you_mean(request.subject, known)}"
        )
    if not request.subject and len(known) > 1:
        raise SpecError(
            f"{request.cell} was trained by {' and '.join(known)} in run {request.run_id}; say whose weights: "
            f"--subject={trained_by[0].subject}"
        )
    return known[request.subject] if request.subject else trained_by[0]


def export(request: ExportRequest, catalogue: Catalogue, home: Home, console: Console) -> list[dict[str, object]]:
    """A row for each format: its files, and how far their logits are from the oracle's.

    Raises WaymarkError if the run has left no such weights, or a format cannot be written.
    """
    if not request.to:
        raise SpecError(f"no file is named; write for example --onnx=net.onnx (formats: {', '.join(FORMATS)}).")
    targets = {
        name: {file: path.with_suffix(end) for file, end in FORMATS[name].files.items()}
        for name, path in request.to.items()
    }
    for name, files in targets.items():
        for path in (*files.values(), _about_path(files)):
            new_file(f"--{name}", str(path))
    weights = _of_subject(request, home)
    classes = datasets.classes(weights.dataset, home)
    network = weights.network_of(len(classes))
    about = _about(weights, classes, home, console)
    rows = {name: catalogue.resolve(FORMATS[name].framework, "cpu") for name in request.to}
    exports: list[dict[str, object]] = []
    yield_processors()  # a run that is going on keeps its speed
    with open_session(request.options, home, console, is_timed=False) as session:
        session.claim(list(rows.values()), Limits())
        for name, files in targets.items():
            off = session.export(rows[name], network, weights, files)
            write_atomically(_about_path(files), json.dumps(about, indent=1, ensure_ascii=False) + "\n")
            exports.append(
                {
                    "format": name,
                    "files": ", ".join(map(str, (*files.values(), _about_path(files)))),
                    "logits off": off,
                    "run by": rows[name].subject,
                    "trained by": weights.subject,
                }
            )
    return exports


def _about_path(files: Mapping[str, Path]) -> Path:
    """The file that says what the others take and give, beside them: net.onnx has net.about.json."""
    return next(iter(files.values())).with_suffix(".about.json")


def _about(weights: TrainedWeights, classes: Sequence[str], home: Home, console: Console) -> dict[str, Any]:
    """What whoever runs the network must know: its classes in the order of its logits, and how pictures are prepared.

    scale: for each channel the factor and the offset that make a network's input of a byte.
    """
    dataset, size = weights.dataset, weights.input_size
    with console.counting("preparing pictures") as progress:
        path = data.scale_of(dataset, size, home, progress)
    scale: list[list[float]] = [[1 / 255], [0.0]] if path is None else np.load(path).tolist()
    return {
        "network": weights.network,
        "classes": [printable(name) for name in classes],
        "picture": list(size),
        "fit": dataset.fit,
        "filters": [[name, FILTERS[name].about] for name in dataset.filters],
        "channel_order": "grey" if size.channels == 1 else dataset.channel_order,
        "scale": dict(zip(("factor", "offset"), scale, strict=True)),
    }
