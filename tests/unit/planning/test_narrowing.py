"""What a user asks of a spec besides its file."""

from pathlib import Path

import pytest

from orchestrator.errors import SpecError
from orchestrator.home import REPOSITORY
from orchestrator.networks import InputSize
from orchestrator.planning.narrowing import SCOUT, Narrowing, load_cells

QUICK = REPOSITORY / "experiments" / "quick.json"
FRAMEWORKS = ("cntk", "neon", "mxnet", "pytorch", "tensorflow")


def test_nothing_asked_changes_nothing():
    assert Narrowing().changes() == {}


@pytest.mark.parametrize(("name", "key"), [("my.onnx", "onnx"), ("my.json", "net"), ("my", "onnx")])
def test_a_network_of_ones_own_replaces_those_of_the_spec(name, key, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    changes = Narrowing(network=Path(name), epochs=2).changes()
    assert changes["axes.models"] == [{key: str(tmp_path / name)}]
    assert list(changes).index("axes.models") < list(changes).index("axes.models[].epochs")


def test_pictures_of_ones_own_replace_those_of_the_spec():
    demo = REPOSITORY / "experiments" / "demo.json"
    asked = load_cells(demo, ["numpy_ref", "pytorch", "tensorflow"], Narrowing(dataset="signs").changes(), ())
    assert (asked.dataset.name, asked.dataset.split, asked.dataset.synthetic) == ("signs", "paper", None)
    assert asked.dataset.validation_fraction == 0.08


def test_seeds_and_repeats_replace_those_of_the_spec():
    assert Narrowing(seeds=(3, 4), repeats=2).changes() == {"axes.seeds": [3, 4], "axes.repeats": 2}


def test_epochs_are_those_of_every_model():
    assert Narrowing(epochs=2).changes() == {"training.epochs": 2, "axes.models[].epochs": None, "axes.epochs": {}}


def test_a_scout_has_one_epoch():
    assert Narrowing(is_scout=True).changes() == SCOUT
    with pytest.raises(SpecError, match="leave out --epochs"):
        Narrowing(is_scout=True, epochs=3).changes()


def test_only_the_cells_that_are_named_are_left():
    spec = load_cells(QUICK, FRAMEWORKS, Narrowing(frameworks=("mxnet",)).changes(), ("IDSIA@48",))
    assert [(entry.model.label, entry.input_sizes) for entry in spec.axes.models] == [
        ("IDSIA", (InputSize.square(48),))
    ]
    assert spec.axes.frameworks == ("mxnet",)
    assert len(load_cells(QUICK, FRAMEWORKS, {}, ()).axes.models) == 2


def test_a_cell_that_is_not_there_is_refused_by_its_name():
    with pytest.raises(SpecError, match="--cells names 'VGG@32'; quick has ResNet-20@32, IDSIA@48"):
        load_cells(QUICK, FRAMEWORKS, {}, ("VGG@32",))
