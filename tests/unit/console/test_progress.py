"""Progress lines: odd events change nothing on the screen, and a closed pipe does not end the run."""

import io

import pytest

from orchestrator.console.progress import Console, TrialProgress
from tests import fake_run as fake


class Closed(io.StringIO):
    """A pipe whose reader has gone."""

    def write(self, text):
        raise BrokenPipeError

    def flush(self):
        raise BrokenPipeError


def test_a_closed_pipe_does_not_end_a_run(monkeypatch):
    monkeypatch.setattr("sys.stderr", Closed())
    console = Console()
    for _ in range(3):
        console.say("a line")


def test_a_trial_tells_where_it_is():
    progress = TrialProgress(epochs=2, batch_size=64)
    for event in fake.training():
        progress.take(event)
    assert (progress.epoch, progress.share, progress.loss, progress.accuracy) == (2, 1.0, 3.0, 0.9)
    assert progress.test_accuracy == pytest.approx(0.89)


ODD = [
    ("progress", {}),
    ("progress", {"epoch": "x", "step": 1, "steps": 2}),
    ("progress", {"epoch": 0, "step": 1, "steps": 0}),
    ("epoch", {"epoch": 0, "loss": ["abc"]}),
    ("epoch", {"epoch": 0, "epoch_seconds": 0}),
    ("score", {"split": "test", "accuracy": "high"}),
    ("score", {"accuracy": 7}),
]


@pytest.mark.parametrize("said", ODD, ids=str)
def test_an_odd_event_changes_nothing(said):
    progress = TrialProgress(epochs=2, batch_size=64)
    progress.take(fake.events(said)[0])
    assert progress == TrialProgress(epochs=2, batch_size=64)
    assert progress.text(1.0) == "epoch 1/2"


def test_an_inference_tells_how_much_is_done():
    progress = TrialProgress(epochs=None, batch_size=1)
    progress.take(*fake.events(("progress", {"epoch": 0, "step": 400, "steps": 1000})))
    assert progress.text(1.0) == "40 %"
