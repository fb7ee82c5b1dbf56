"""How alike runs of one seed are graded, and where they are said to part."""

import pytest

from orchestrator.analysis.reproducibility import Layer, grade
from orchestrator.records.timeline import read_timeline
from tests import fake_run as fake


def run(losses=((3.0, 2.0), (1.5, 1.0)), weights=(("a", "b"), ("c", "d")), seen=("v0", "v1", "t"), accuracy=0.9):
    """One training: losses by epoch and step; hashes of two layers by epoch; of predictions by epoch, then test."""
    said = []
    for epoch, (loss, (conv, dense)) in enumerate(zip(losses, weights, strict=True)):
        said.append(("epoch", {"epoch": epoch, "loss": list(loss), "epoch_seconds": 1.0}))
        hashes = {"conv1.weight": conv, "dense1.weight": dense}
        said.append(("fingerprint", {"epoch": epoch, "weights": hashes, "predictions": {"valid": seen[epoch]}}))
    said.append(("score", {**fake.score("test", 1, accuracy), "pictures": 1000}))
    said.append(("fingerprint", {"epoch": 1, "weights": {}, "predictions": {"test": seen[2]}}))
    return read_timeline(fake.events(*said))


def test_runs_that_agree_in_everything_are_bit_exact():
    found = grade([run(), run(), run()])
    assert (found.level, found.runs, found.step, found.layer) == ("bit-exact", 3, None, None)


def test_other_weights_alone_are_loss_exact_and_name_the_layer():
    found = grade([run(), run(weights=(("a", "b"), ("c", "x")))])
    assert (found.level, found.step) == ("loss-exact", None)
    assert found.layer == Layer(epoch=1, name="dense1.weight", apart=1, count=2)


def test_other_losses_are_prediction_exact_and_name_the_step():
    found = grade([run(), run(), run(losses=((3.0, 2.0), (1.5, 1.0000001)), weights=(("a", "y"), ("z", "z")))])
    assert (found.level, found.step) == ("prediction-exact", (1, 1))
    assert found.layer == Layer(epoch=0, name="dense1.weight", apart=1, count=2)


@pytest.mark.parametrize(("accuracy", "level"), [(0.895, "no difference shown"), (0.80, "divergent")])
def test_other_predictions_are_held_against_chance(accuracy, level):
    other = run(losses=((3.1, 2.0), (1.5, 1.0)), seen=("v0", "v1", "u"), accuracy=accuracy)
    assert grade([run(), other]).level == level


def test_all_right_everywhere_is_no_difference():
    other = run(losses=((3.1, 2.0), (1.5, 1.0)), seen=("v0", "v1", "u"), accuracy=1.0)
    assert grade([run(accuracy=1.0), other]).level == "no difference shown"


def test_the_test_pictures_count_as_predictions_too():
    assert grade([run(), run(seen=("v0", "v1", "u"))]).level == "loss-exact"


def test_a_loss_that_is_not_finite_is_none_in_both():
    losses = ((3.0, None), (None, None))
    assert grade([run(losses=losses), run(losses=losses)]).level == "bit-exact"
    assert grade([run(losses=losses), run()]).step == (0, 1)


def test_a_run_that_stopped_earlier_differs_where_it_stopped():
    short = read_timeline(fake.events(*[(e.kind, e.fields) for e in fake.training(epochs=1)]))
    assert short.fingerprints == ()
    cut = run(losses=((3.0,), (1.5, 1.0)))
    assert grade([run(), cut]).step == (0, 1)


def test_one_run_has_no_grade():
    with pytest.raises(ValueError, match="1 of its runs ended ok; it takes two"):
        grade([run()])


def test_runs_without_fingerprints_have_no_grade():
    with pytest.raises(ValueError, match=r"set measure\.fingerprint to 'epoch'"):
        grade([run(), read_timeline(fake.training())])
