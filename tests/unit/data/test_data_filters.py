"""Filters by name: what each does, which chains are refused, and parts of a set."""

import json
import re

import cv2
import numpy as np
import pytest

from orchestrator.data import filters
from orchestrator.data.pixels import Preparer
from orchestrator.dataset import Dataset
from orchestrator.networks import InputSize
from orchestrator.networks.features import input_of
from tests.unit.data.own_pictures import arrays, named, picture, prepared, registered, written

SIZE = InputSize.square(32)
PICTURES = [picture(seed, 40, 50) for seed in range(3)]


def planes(*names, size=SIZE, **dataset):
    return Preparer(size, Dataset(filters=names, **dataset), 4).prepare(PICTURES).copy()


@pytest.mark.parametrize("name", sorted(filters.FILTERS))
def test_a_filter_gives_the_shape_that_networks_are_told(name):
    assert planes(name).shape == (3, *input_of((name,), SIZE))


@pytest.mark.parametrize("name", sorted(set(filters.FILTERS) - {"min_max"}))
def test_a_filter_changes_a_picture(name):
    found = planes(name)
    assert found.shape != (3, 3, 32, 32) or not np.array_equal(found, planes())


@pytest.mark.parametrize("name", sorted(filters.FILTERS))
def test_a_block_is_filtered_as_each_picture_alone(name):
    together = planes(name)
    preparer = Preparer(SIZE, Dataset(filters=(name,)), 4)
    assert all(np.array_equal(preparer.prepare([one])[0], together[at]) for at, one in enumerate(PICTURES))


def test_a_chain_filters_what_the_filter_before_it_gave():
    equalised = planes("clahe")
    table = filters.FILTERS["gamma"].make()
    assert np.array_equal(planes("clahe", "gamma"), table(equalised.reshape(-1)).reshape(equalised.shape))


def test_a_chain_goes_from_left_to_right():
    assert not np.array_equal(planes("gamma", "equalise"), planes("equalise", "gamma"))


def test_grey_is_the_luminance_in_each_channel():
    found = planes("grey")
    assert np.array_equal(found[:, 0], found[:, 1])
    assert np.array_equal(found[:, 0], planes(size=InputSize(1, 32, 32))[:, 0])


def test_a_colour_space_keeps_the_order_of_its_channels():
    hue = cv2.cvtColor(cv2.resize(PICTURES[0], (32, 32), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2HSV_FULL)
    assert np.abs(planes("hsv")[0].transpose(1, 2, 0).astype(int) - hue).max() <= 255
    assert np.array_equal(planes("yuv", channel_order="rgb"), planes("yuv"))


def test_channels_may_be_red_first():
    assert np.array_equal(planes(channel_order="rgb"), planes()[:, ::-1])


def test_a_letterbox_keeps_proportions_on_black():
    wide = [np.full((10, 40, 3), 200, np.uint8)]
    found = Preparer(SIZE, Dataset(filters=(), fit="letterbox"), 1).prepare(wide)[0, 0]
    assert (found[:12] == 0).all()
    assert (found[12:20] == 200).all()
    assert (found[20:] == 0).all()


def test_a_crop_takes_the_middle():
    wide = np.zeros((10, 40, 3), np.uint8)
    wide[:, 15:25] = 200
    assert (Preparer(SIZE, Dataset(filters=(), fit="crop"), 1).prepare([wide])[0] == 200).all()


@pytest.mark.parametrize(
    ("names", "size", "words"),
    [
        (("clage",), SIZE, "'clage' is no filter. Known: .* Did you mean 'clahe'?"),
        (("hsv", "gamma"), SIZE, "'hsv' gives no RGB picture, so it stands last; here gamma follows"),
        (("hog",), InputSize.square(20), "'hog' needs sides that are multiples of 8 and at least 24; they are 20x20"),
        (("haar",), InputSize.square(24), "'haar' needs sides that are multiples of 16"),
        (("lab",), InputSize(1, 32, 32), "'lab' gives three channels, and pictures of 1x32x32 have one"),
    ],
)
def test_a_chain_that_cannot_be_says_why(names, size, words):
    assert re.search(words, filters.fault(names, size))


def test_hog_sees_the_direction_of_an_edge():
    across = np.zeros((32, 32, 3), np.uint8)
    across[:, 16:] = 255
    described = [
        Preparer(SIZE, Dataset(filters=("hog",)), 1).prepare([one]).reshape(9, 4, 9).sum((0, 1)).argmax()
        for one in (across, across.transpose(1, 0, 2))
    ]
    assert described[0] in (0, 8)
    assert described[1] == 4


def test_haar_sees_an_edge_in_its_middle():
    across = np.zeros((32, 32, 3), np.uint8)
    across[:, 16:] = 255
    found = Preparer(SIZE, Dataset(filters=("haar",)), 1).prepare([across])[0, 0].astype(int)
    assert found[0].max() == 255
    assert (np.abs(found[1] - 127.5) < 1).all()


def test_hue_counts_colours_and_no_grey():
    red = np.zeros((32, 32, 3), np.uint8)
    red[..., 0] = 255
    found = Preparer(SIZE, Dataset(filters=("hue",)), 1).prepare([red]).reshape(-1)
    assert (found[0], found[1:].max()) == (255, 0)


def test_the_time_of_each_filter_is_kept(tmp_path, home):
    registered(written(tmp_path / "set", named("")), home)
    entry = prepared(home, size=32, filters=("gamma", "hog"))
    assert set(entry.manifest.filter_ms) == {"gamma", "hog"}
    assert all(0 < value < 1000 for value in entry.manifest.filter_ms.values())


@pytest.mark.parametrize(("part", "count"), [({"per_class": 2}, 2), ({"fraction": 0.5}, 4), ({"fraction": 0.01}, 1)])
def test_a_part_has_so_many_of_each_class(tmp_path, home, part, count):
    registered(written(tmp_path / "set", named("", count=10)), home)
    whole, found = arrays(prepared(home)), arrays(prepared(home, **part))
    assert np.bincount(found["train_y"]).tolist() == [count, count]
    rows = {one.tobytes() for one in whole["train_x"]}
    assert all(one.tobytes() in rows for one in found["train_x"])
    assert not np.array_equal(found["train_x"], arrays(prepared(home, **part, split_seed=1))["train_x"]) or count == 1


def test_old_questions_keep_their_hash():
    old = {"name": "gtsrb", "split": "paper", "split_seed": 0, "validation_fraction": 0.2}
    for clahe, names in ((True, ("clahe",)), (False, ())):
        asked = Dataset.model_validate_json(json.dumps({**old, "clahe": clahe, "synthetic": None}))
        assert asked.filters == names
        assert asked.model_dump(mode="json") == {**old, "clahe": clahe, "synthetic": None}
    written_out = Dataset(filters=("grey", "hog")).model_dump_json()
    assert Dataset.model_validate_json(written_out).filters == ("grey", "hog")
