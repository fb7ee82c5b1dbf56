"""The probe: one training step, told of, or why there is none."""

import signal

import numpy
import pytest

from tests.fake_job import job_json, said_in
from workers import protocol, run
from workers.frameworks.numpy_ref import adapter as numpy_ref


@pytest.fixture(autouse=True)
def _signals():
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def start(folder, **changes):
    """(exit code, events) of a probe."""
    (folder / "job.json").write_text(job_json(kind="probe", **changes))
    code = run.main([str(folder)])
    return code, said_in(folder)


def test_a_probe_takes_one_step_and_tells_its_loss(tmp_path, monkeypatch):
    steps = []
    step = numpy_ref.Adapter.step
    monkeypatch.setattr(numpy_ref.Adapter, "step", lambda self, batch: steps.append(batch) or step(self, batch))
    code, events = start(tmp_path)
    assert (code, len(steps)) == (protocol.OK, 1)
    assert [event["kind"] for event in events] == ["hello", "built", "done"]
    assert 0 < events[1]["loss"] < 20


def test_a_step_that_fails_is_told_in_the_frameworks_words(tmp_path, monkeypatch):
    def step(self, batch):
        raise RuntimeError("CUDA error: no kernel image is available for execution on the device")

    monkeypatch.setattr(numpy_ref.Adapter, "step", step)
    code, events = start(tmp_path)
    assert code == protocol.BUG
    assert "no kernel image is available" in events[-1]["reason"]


def test_a_device_that_the_framework_has_not_is_unsupported(tmp_path):
    code, events = start(tmp_path, device="gpu")
    assert (code, events[-1]["op"]) == (protocol.UNSUPPORTED, "device")


def test_labels_are_of_the_networks_classes(tmp_path, monkeypatch):
    seen = []
    place = numpy_ref.Adapter.place
    monkeypatch.setattr(numpy_ref.Adapter, "place", lambda self, x, y: seen.append((x, y)) or place(self, x, y))
    start(tmp_path, classes=3)
    ((x, y),) = seen
    assert (x.dtype, y.dtype, y.max()) == (numpy.float32, numpy.int64, 2)


def test_without_a_job_folder_it_says_how_it_is_called(capsys):
    assert run.main([]) == protocol.BAD_JOB
    assert "usage: python -m workers.run JOB_FOLDER" in capsys.readouterr().err
