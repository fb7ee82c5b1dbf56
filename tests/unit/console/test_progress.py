"""Progress lines: odd events change nothing on the screen, and a closed pipe does not end the run."""

import io

import pytest

from orchestrator.console.progress import Console, TrialProgress
from orchestrator.records.event import Event
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


def progress_at(*positions, epochs=None):
    """Texts after each of (t, step, steps, phase)."""
    progress = TrialProgress(epochs=epochs, batch_size=1)
    texts = []
    for t, step, steps, phase in positions:
        fields = {"epoch": 0, "step": step, "steps": steps, "phase": phase}
        progress.take(Event(v=1, seq=0, t=float(t), kind="progress", **fields))
        texts.append(progress.text(float(t)))
    return texts


def test_a_selfcheck_tells_its_phase_and_the_time_left_of_all():
    said = progress_at((0, 0, 100, "regime 'first' (1 of 9)"), (10, 20, 100, "regime 'clean' (2 of 9)"))
    assert said == ["regime 'first' (1 of 9)  0 %", "regime 'clean' (2 of 9)  20 %  00:40 left"]


def test_scoring_after_the_training_has_a_time_of_its_own():
    said = progress_at((0, 0, 10, ""), (60, 10, 10, ""), (61, 0, 800, "scoring"), (71, 200, 800, "scoring"), epochs=1)
    assert said[-1] == "scoring  25 %  00:30 left"


def test_the_training_goes_on_after_scoring_at_its_own_rate():
    progress = TrialProgress(epochs=2, batch_size=1)
    for t, epoch, step, phase in ((0, 0, 5, ""), (50, 0, 9, "scoring"), (60, 1, 0, ""), (70, 1, 5, "")):
        fields = {"epoch": epoch, "step": step, "steps": 10, "phase": phase}
        progress.take(Event(v=1, seq=0, t=float(t), kind="progress", **fields))
    assert progress.seconds_left(70.0) == pytest.approx(10.0)


def test_what_a_worker_says_controls_no_terminal(capsys):
    Console().say("failed: \x1b]0;mine\x07\x1b]52;c;aGk=\x07 \x1b[31mred\x1b[0m\r\u202eend")
    said = capsys.readouterr().err.removesuffix("\n")
    assert said.isprintable()
    assert "red" in said
