"""A network at an input size: how its size is written, what it is called, and which ops it is."""

import json
from typing import get_args

import pytest
from pydantic import ValidationError

from orchestrator.environment import Precision
from orchestrator.networks import InputSize, Model, Network, families, label_at
from tests import fake_run as fake
from tests.networks import network_of
from workers.bounds import PRECISIONS

GREY, WIDE = InputSize(1, 28, 28), InputSize(3, 48, 96)


@pytest.mark.parametrize(
    ("written", "size", "label"),
    [
        (32, InputSize(3, 32, 32), "32"),
        ([3, 32, 32], InputSize(3, 32, 32), "32"),
        ([1, 28, 28], GREY, "1x28x28"),
        ([3, 48, 96], WIDE, "3x48x96"),
        (8, InputSize(3, 8, 8), "8"),
        ([4, 512, 512], InputSize(4, 512, 512), "4x512x512"),
    ],
)
def test_a_size_is_a_side_or_channels_height_and_width(written, size, label):
    assert InputSize.of(written) == size
    assert str(size) == label
    assert InputSize.named(label) == InputSize.of(size.written) == size


@pytest.mark.parametrize(
    "written", [7, 513, True, "32", 32.0, [32, 32], [0, 32, 32], [5, 32, 32], [3, 7, 32], [1.0, 9, 9]]
)
def test_a_size_that_cannot_be_is_one_sentence(written):
    with pytest.raises(ValueError, match=r"it must be a side of 8 to 512 pixels, or \[channels, height, width\]"):
        InputSize.of(written)


@pytest.mark.parametrize("text", ["", "x", "32x", "1x28", "-1x28x28", "1x28x28x28", "9" * 5000])
def test_a_name_of_no_size_is_refused(text):
    with pytest.raises(ValueError, match="it must be a side"):
        InputSize.named(text)


def test_a_trial_writes_a_square_size_as_before():
    assert json.loads(fake.trial().model_dump_json())["input_size"] == 32
    grey = fake.trial(input_size=[1, 28, 28])
    assert json.loads(grey.model_dump_json())["input_size"] == [1, 28, 28]
    assert type(grey).model_validate_json(grey.model_dump_json()) == grey


def test_a_trial_of_an_impossible_size_is_refused():
    with pytest.raises(ValidationError, match="it must be a side of 8 to 512"):
        fake.trial(input_size=600)


def test_a_trial_in_float32_has_the_key_that_it_had():
    assert "precision" not in fake.trial().model_dump()
    assert fake.trial(precision="int8").key != fake.trial().key


def test_two_number_formats_do_not_meet_in_a_cell():
    full, few = fake.trial().cell, fake.trial(precision="int8").cell
    assert full != few
    assert few.label == "ResNet-20@32 in int8"
    assert few.in_float32 == full


def test_what_may_be_asked_for_is_what_a_worker_knows():
    assert get_args(Precision) == PRECISIONS


def test_a_network_is_called_by_its_model_and_size():
    assert network_of("resnet20", 32).label == "ResNet-20@32"
    assert label_at(Model(name="idsia"), WIDE) == "IDSIA@3x48x96"


def test_a_network_is_its_ops_whatever_it_is_called():
    network = network_of("resnet8", 32)
    assert network.model_copy(update={"label": "mine"}).sha256 == network.sha256
    assert network_of("resnet8", 32, classes=7).sha256 != network.sha256
    assert network_of("resnet8", [1, 32, 32]).sha256 != network.sha256


def test_a_network_is_the_same_after_its_way_through_job_json():
    network = network_of("resnet8", [1, 28, 28], classes=10)
    again = Network.model_validate_json(network.model_dump_json())
    assert again.sha256 == network.sha256
    assert (again.net.input, again.net.classes) == ((1, 28, 28), 10)


@pytest.mark.parametrize("size", [GREY, WIDE, InputSize(4, 32, 64)])
def test_a_resnet_takes_any_sides_that_it_can_halve(size):
    net = Network.of(Model(name="resnet", depth=20), size, 10).net
    assert net.shapes["conv1"] == (16, *size[1:])
    assert net.weight_count == 274_619 - 16 * 27 + 16 * 9 * size.channels - 33 * 65


def test_idsia_on_wide_pictures_has_wide_maps():
    net = Network.of(Model(name="idsia"), WIDE, 43).net
    assert net.shapes["maxpool3"] == (250, 4, 10)


def test_a_family_of_another_clone_is_not_known():
    assert Model(name="resnet", depth=8).is_known
    assert not Model(name="alexnet").is_known
    with pytest.raises(ValueError, match="there is no model 'alexnet'; known: idsia, lenet, linear, mobilenet_v2"):
        families.build("alexnet", GREY, 10)
