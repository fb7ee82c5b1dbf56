"""`invoke watch`: signs in a video, a camera or a folder of frames, recognised by a trained network as they come."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestrator import data, files
from orchestrator.console.progress import Console
from orchestrator.data import datasets, video
from orchestrator.data.video import DrawnSign
from orchestrator.errors import DataError
from orchestrator.execution import weights as trained
from orchestrator.execution.recognition import Recogniser, Seen, Wanted, notes
from orchestrator.execution.serving import serving
from orchestrator.execution.session import RunOptions, open_session
from orchestrator.home import Home
from orchestrator.planning.catalogue import Catalogue
from orchestrator.planning.spec import Limits
from orchestrator.records.job import serve_job


@dataclass(frozen=True)
class WatchRequest:
    """The arguments of `invoke watch`.

    subject: (framework, variant or None) that answers.
    rate:    frames a second where the source says none.
    truth:   the signs that are there, as `invoke data --video` wrote them.
    """

    source: str
    subject: tuple[str, str | None]
    wanted: Wanted
    rate: float = 30.0
    truth: Path | None = None
    options: RunOptions = field(default_factory=RunOptions)


def watch(request: WatchRequest, catalogue: Catalogue, home: Home, console: Console) -> Seen:
    """Recognise signs until the source ends or the user stops it.

    A frame is there at its time. One that is there when the next one already is, is dropped, so that the answer to what
    the camera sees now is never late because of what it saw before; the drops are counted.
    Raises WaymarkError, one sentence, for a source that does not read or a worker that does not answer.
    """
    truth = _read_truth(request.truth) if request.truth else {}
    row = catalogue.resolve(request.subject[0], "cpu", request.subject[1])
    source = video.Source(request.source, request.rate)
    try:
        with open_session(request.options, home, console) as session:
            session.claim([row], Limits())
            threads = session.host.physical_cores
            environment = session.prepared(row)
            weights = request.wanted.weights
            classes = datasets.classes(weights.dataset, home)
            network = weights.network_of(len(classes))
            job = serve_job(environment, network, weights.sha256, threads)
            start, cpus = trained.path_of(weights, home), session.host.cpus[:threads]
            with console.counting("preparing pictures") as progress:
                scale = data.scale_of(weights.dataset, weights.input_size, home, progress)
            with serving(environment, session.engine, home, job, start, cpus, scale) as served:
                console.say(
                    f"{row.subject} answers; weights of {weights.network} by "
                    f"{weights.subject}; {source.frames_per_second:.3g} frames a second"
                )
                seen = Recogniser(request.wanted, source, served, classes, truth).run(console)
    finally:
        source.close()
    if not seen.frames:
        raise DataError(f"{request.source} holds no frame that reads.")
    for note in notes(source, seen):
        console.say(f"note: {note}")
    return seen


def draw_video(path: Path, seconds: float, rate: float, seed: int, console: Console) -> tuple[int, Path]:
    """Write a drawn video, and beside it <name>.truth.jsonl: a line for each frame with its signs.

    Gives how many frames it has, and that file.

    Raises DataError if it cannot be written.
    """
    writer, truth_path = video.Writer(path, rate, video.WIDTH, video.HEIGHT), path.with_suffix(".truth.jsonl")
    total, done = max(1, round(seconds * rate)), 0
    try:
        with (
            truth_path.open("w", encoding="utf-8") as truth,
            console.counting(f"drawing {path.name}") as progress,
        ):
            for done, (bgr, signs) in enumerate(video.drawn_frames(seconds, rate, seed), start=1):
                writer.write(bgr)
                said = [{"class": sign.label, "box": list(sign.box)} for sign in signs]
                truth.write(json.dumps({"frame": done - 1, "signs": said}) + "\n")
                progress(done, total)
    finally:
        writer.close()
    return done, truth_path


def _read_truth(path: Path) -> dict[int, list[DrawnSign]]:
    """Frame -> its signs. Raises DataError for a file that is no truth."""
    signs = {}
    try:
        for line in files.read_bytes(path).decode("utf-8").splitlines():
            truth = json.loads(line)
            signs[int(truth["frame"])] = [_sign(sign) for sign in truth["signs"]]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(
            f"{path} does not hold the signs of a drawn video ({type(error).__name__}); `invoke data --video` writes "
            "them."
        ) from None
    return signs


def _sign(said: Mapping[str, Any]) -> DrawnSign:
    left, top, width, height = map(int, said["box"])
    return DrawnSign(int(said["class"]), (left, top, width, height))
