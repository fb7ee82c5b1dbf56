import numpy as np
import pytest

from orchestrator import data
from orchestrator.data import synthetic
from orchestrator.data.pixels import Preparer
from orchestrator.data.signs import drawn_sign
from orchestrator.dataset import Dataset, Synthetic
from orchestrator.networks import InputSize

SMALL = Synthetic(tracks_per_class=2, frames_per_track=2, test_tracks_per_class=1)


SIDE = InputSize.square(32)


@pytest.fixture
def train():
    return synthetic.draw(SMALL).train


def test_every_class_has_its_tracks_and_frames(train):
    assert np.bincount(train.labels).tolist() == [4] * 43
    assert train.tracks[:6].tolist() == [0, 0, 1, 1, 100_000, 100_000]


def test_pictures_do_not_depend_on_the_order_of_drawing(train):
    forward = [train.sign(index) for index in range(20)]
    backward = [synthetic.draw(SMALL).train.sign(index) for index in reversed(range(20))][::-1]
    assert all(np.array_equal(one, other) for one, other in zip(forward, backward, strict=True))


def test_arrays_do_not_depend_on_the_number_of_cores(tmp_path, monkeypatch):
    def sha256(cores):
        monkeypatch.setattr("orchestrator.data.fill.os.sched_getaffinity", lambda pid: set(range(cores)))
        home = data.cache.Home(tmp_path / str(cores))
        dataset = Dataset(name="synthetic", synthetic=SMALL)
        return data.prepare(dataset, [SIDE], home, lambda done, total: None)[SIDE].sha256

    assert sha256(1) == sha256(5)


def test_seed_changes_every_picture(train):
    other = synthetic.draw(SMALL.model_copy(update={"seed": 1})).train
    assert not any(np.array_equal(train.sign(index), other.sign(index)) for index in range(0, 172, 10))


def test_clear_weather_leaves_dark_pictures_out(train):
    clear = synthetic.draw(SMALL.model_copy(update={"weather": "clear"})).train
    brightness = [np.array([one.sign(index).mean() for index in range(172)]) for one in (train, clear)]
    assert brightness[1].std() < 0.7 * brightness[0].std()
    assert brightness[1].min() > brightness[0].min()


def test_any_weather_keeps_the_hash_that_it_had():
    assert "weather" not in SMALL.model_dump(mode="json")
    assert synthetic.sha256(SMALL) != synthetic.sha256(SMALL.model_copy(update={"weather": "clear"}))


def test_test_set_shows_other_signs_than_the_training_set(train):
    test = synthetic.draw(SMALL).test
    assert not np.array_equal(train.sign(0), test.sign(0))


def test_camera_drives_towards_the_sign(train):
    assert all(train.sign(index).shape[0] < train.sign(index + 1).shape[0] for index in range(0, 172, 2))


def test_pictures_have_the_sizes_of_real_ones(train):
    sides = [side for index in range(172) for side in train.sign(index).shape[:2]]
    assert min(sides) >= 14
    assert max(sides) <= 130


def test_no_two_classes_look_alike():
    signs = Preparer(SIDE, Dataset(filters=()), capacity=43).prepare(
        [drawn_sign(label)[:, :, :3] for label in range(43)]
    )
    distances = np.abs(signs[:, None].astype(int) - signs[None]).mean(axis=(2, 3, 4))
    # The nearest two are limits that differ in one digit, a few dozen of 1,024 pixels.
    assert distances[~np.eye(43, dtype=bool)].min() > 2


def test_recognised_as_synthetic(home):
    dataset = Dataset(name="synthetic", synthetic=SMALL)
    assert data.prepare(dataset, [SIDE], home, lambda done, total: None)[SIDE].recognised == "synthetic"
