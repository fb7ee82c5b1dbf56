"""The real slice of GTSRB, where this machine has it: `$WAYMARK_GTSRB_SAMPLE`, or beside the repository."""

import os
from pathlib import Path

import numpy as np
import pytest

from orchestrator import data
from orchestrator.dataset import Dataset
from orchestrator.home import REPOSITORY, Home
from orchestrator.networks import InputSize


@pytest.fixture(scope="module")
def sample():
    folder = Path(os.environ.get("WAYMARK_GTSRB_SAMPLE") or REPOSITORY.parent / "shared" / "gtsrb-sample")
    if not folder.is_dir():
        pytest.skip(f"the slice of GTSRB is not at {folder}; set WAYMARK_GTSRB_SAMPLE")
    return folder


SIDE = InputSize.square(32)
SIZES = [SIDE, InputSize.square(48), InputSize.square(64)]


@pytest.fixture(scope="module")
def home(sample, tmp_path_factory):
    home = Home(tmp_path_factory.mktemp("sample"))
    data.register("gtsrb", sample, home)
    return home


@pytest.fixture(scope="module")
def prepared(home):
    return data.prepare(Dataset(), SIZES, home, lambda done, total: None)


def test_slice_is_recognised(prepared):
    assert {entry.recognised for entry in prepared.values()} == {"sample"}


def test_slice_has_its_pictures(prepared):
    assert {(entry.train_pictures, entry.test_pictures) for entry in prepared.values()} == {(4506, 822)}


def test_all_classes_are_in_both_sets(prepared):
    assert [len(np.unique(np.load(prepared[SIDE].path / f"{part}_y.npy"))) for part in ("train", "test")] == [43, 43]


def test_slice_has_its_tracks(prepared):
    assert len(np.unique(np.load(prepared[SIDE].path / "train_track.npy"))) == 751


def test_stop_signs_are_red(prepared):
    # One picture in seven was written in text mode; read naively, its colours turn by a channel and red becomes green.
    pictures = np.load(prepared[SIDE].path / "train_x.npy")[np.load(prepared[SIDE].path / "train_y.npy") == 14]
    _, green, red = pictures[:, :, 4:-4, 4:-4].astype(float).mean(axis=(2, 3)).T
    assert (red > green).mean() > 0.95
    assert (green > red + 10).sum() == 0


def test_second_run_finds_the_slice(sample, home, prepared):
    data.register("gtsrb", sample, home)
    found = data.prepare(Dataset(), SIZES, home, lambda done, total: None)
    assert not any(entry.is_new for entry in found.values())


def test_slice_stands_verification(prepared):
    for entry in prepared.values():
        data.verify(entry)


def test_split_by_track_keeps_the_slice_apart(prepared):
    split = data.split(prepared[SIDE], Dataset(split="by-track"))
    assert data.facts(prepared[SIDE], split).valid_pictures == len(split.valid) == 900
