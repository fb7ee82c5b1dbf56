"""Networks that are trained, run, exported and watched, with the oracle's own environment."""

import json
import shutil

import pytest

from orchestrator.commands import camera, export_model
from orchestrator.console.progress import Console
from orchestrator.errors import DataError, EngineError, SpecError, StoreError
from orchestrator.execution import job_runner, weights
from orchestrator.execution.recognition import STAGES, Wanted
from orchestrator.execution.session import RunOptions
from tests.sweeping import SPEC, run

ASKED = {
    "kind": "infer",
    "inference": {
        "scenarios": ["single-stream", "offline"],
        "batch_sizes": [4],
        "seconds": 0.2,
        "warmup_seconds": 0,
        "trained_with": "numpy_ref",
    },
}


@pytest.fixture
def asking(world):
    """A world whose spec runs what its first sweep trained."""
    home, spec, reports = world
    axes = {**SPEC["axes"], "seeds": [0]}
    spec.write_text(json.dumps({**SPEC, **ASKED, "name": "asked", "axes": axes}))
    return home, spec, reports


def outcomes(result):
    return [trial.outcome.status for trial in result.report.stored.trials]


def test_a_network_is_run_with_the_weights_on_record(asking, catalogue, swept):
    result, said = run(asking, catalogue)
    trained = swept[1].report.stored
    assert (outcomes(result), result.exit_code) == (["ok", "ok"], 0)
    assert f"weights of ResNet-8@8: numpy_ref:1.0 in run {trained.facts.run_id}" in said
    assert {trial.trial.inference.weights_sha256 for trial in result.report.stored.trials} <= {
        trial.timeline.done.weights_sha256 for trial in trained.trials
    }
    accuracies = {trial.timeline.accuracy("test") for trial in result.report.stored.trials}
    assert accuracies == {result.report.stored.facts.weights[0].accuracy}


def test_no_selfcheck_of_a_training_is_needed_to_run(asking, catalogue):
    result, said = run(asking, catalogue)
    assert " selfcheck ResNet-8@8" not in said
    assert result.report.stored.checks == ()
    assert {row.check for row in result.report.rows} == {"passed"}


def test_the_report_of_an_inference_has_its_section(asking, catalogue):
    result, _ = run(asking, catalogue)
    page = result.report.page.read_text()
    assert '<h2 id="inference">' in page
    assert (result.report.page.parent / "inference.csv").exists()
    assert [section.anchor for section in result.report.sections] == ["inference"]


def test_weights_that_no_run_has_left_are_trained_first(asking, catalogue):
    home = asking[0]
    shutil.rmtree(home.runs)
    home.runs.mkdir()
    result, said = run(asking, catalogue)
    assert "no run on record has trained ResNet-8@8 so; that is done first" in said
    assert outcomes(result) == ["ok", "ok"]
    assert {folder.name.partition("-")[2].partition("-")[2] for folder in home.runs.iterdir()} == {
        "asked",
        "asked-weights",
    }


def test_epochs_of_the_trainer_alone_are_those_looked_for(asking, catalogue, swept):
    spec = asking[1]
    raw = json.loads(spec.read_text())
    changed = {**raw, "training": {**raw["training"], "epochs": 9}, "axes": {**raw["axes"], "epochs": {"numpy_ref": 1}}}
    spec.write_text(json.dumps(changed))
    result, said = run(asking, catalogue)
    assert "that is done first" not in said
    assert {one.run_id for one in result.report.stored.facts.weights} == {swept[1].report.stored.facts.run_id}


def test_a_stop_while_weights_are_trained_stops_the_sweep(asking, catalogue, monkeypatch):
    home = asking[0]
    shutil.rmtree(home.runs)
    home.runs.mkdir()

    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(job_runner.Telemetry, "tick", stopped)
    result, said = run(asking, catalogue)
    assert (result.exit_code, "stopped; what is done is kept" in said) == (130, True)
    assert [folder.name.endswith("asked-weights") for folder in home.runs.iterdir()] == [True]


def test_a_named_run_that_left_none_is_refused(asking, catalogue):
    home, spec, _ = asking
    (first,) = [folder.name for folder in home.runs.iterdir()]
    spec.write_text(spec.read_text().replace('"depth": 8', '"depth": 14'))
    with pytest.raises(SpecError, match=f"run {first} has left no weights of ResNet-14@8"):
        run(asking, catalogue, weights=first)


def test_a_resumed_inference_keeps_its_weights(asking, catalogue):
    first, _ = run(asking, catalogue)
    again, said = run(asking, catalogue, resume="latest")
    assert said.count("already done") == 2
    assert again.report.stored.facts.weights == first.report.stored.facts.weights


def test_a_framework_without_files_of_its_own_exports_nothing(world, catalogue, monkeypatch, tmp_path):
    monkeypatch.setitem(export_model.FORMATS, "onnx", export_model.Format("numpy_ref", {"model.onnx": ".onnx"}))
    request = export_model.ExportRequest(
        "", "ResNet-8@8", {"onnx": tmp_path / "net.onnx"}, RunOptions(engine="virtualenv")
    )
    with pytest.raises(EngineError, match="unsupported: export: numpy_ref has no files of its own to write"):
        export_model.export(request, catalogue, world[0], Console())
    assert not (tmp_path / "net.onnx").exists()


@pytest.fixture
def watched(world, catalogue, tmp_path):
    """watched(**changes) -> what `invoke watch` saw of a drawn video of one second at 10 frames a second."""
    video = tmp_path / "drive.mp4"
    camera.draw_video(video, 1.0, 10.0, 0, Console())

    def watched(**changes):
        asked = {
            "source": str(video),
            "subject": ("numpy_ref", None),
            "weights": weights.chosen("", "", world[0]),
            "confidence": 0.0,
            "truth": video.with_suffix(".truth.jsonl"),
            "options": RunOptions(engine="virtualenv"),
        }
        asked |= changes
        names = [name for name in Wanted.__dataclass_fields__ if name in asked]
        wanted = Wanted(**{name: asked.pop(name) for name in names})
        return camera.watch(camera.WatchRequest(**asked, wanted=wanted), catalogue, world[0], Console())

    return watched


def test_every_frame_is_taken_or_counted_as_dropped(watched, tmp_path):
    seen = watched(lines=tmp_path / "said.jsonl", output=tmp_path / "seen.mp4")
    lines = [json.loads(line) for line in (tmp_path / "said.jsonl").read_text().splitlines()]
    assert seen.frames + seen.dropped == 10
    assert len(lines) == seen.frames
    assert {f"{stage}_ms" for stage in STAGES} < lines[0].keys()
    assert (tmp_path / "seen.mp4").stat().st_size > 1000


def test_a_region_of_ones_own_is_the_only_one(watched, tmp_path):
    watched(roi=(300, 100, 120, 120), lines=tmp_path / "said.jsonl")
    boxes = [
        sign["box"] for line in (tmp_path / "said.jsonl").read_text().splitlines() for sign in json.loads(line)["signs"]
    ]
    assert set(map(tuple, boxes)) == {(300, 100, 120, 120)}


def test_a_region_outside_the_frames_is_refused(watched):
    with pytest.raises(SpecError, match=r"--roi ends at 720,200; the frames are 640 x 480 pixels"):
        watched(roi=(600, 100, 120, 100))


def test_a_file_that_is_no_video_is_refused(watched, tmp_path):
    (tmp_path / "broken.mp4").write_bytes(b"this is no video" * 100)
    with pytest.raises(DataError, match=r"broken\.mp4 does not read as a video"):
        watched(source=str(tmp_path / "broken.mp4"))


def test_a_run_that_is_not_there_has_no_weights(world):
    with pytest.raises(StoreError, match="has no run"):
        weights.chosen("20990101-000000-none", "", world[0])
