from dataclasses import replace

import numpy as np
import pytest

from orchestrator import data
from orchestrator.data.cache import ArrayFacts, Manifest, Preparation, Prepared
from orchestrator.data.labels import SIGNS
from orchestrator.dataset import Dataset
from orchestrator.errors import DataError
from orchestrator.networks import InputSize


@pytest.fixture
def prepared(tmp_path):
    """Function: an entry of so many tracks for each class, of 30 frames each, without pixels."""

    def prepared(tracks_per_class, frames=30, drop=0):
        tracks = np.concatenate([label * 100_000 + np.arange(count) for label, count in enumerate(tracks_per_class)])
        tracks = np.repeat(tracks, frames)[: sum(tracks_per_class) * frames - drop].astype(np.int64)
        np.save(tmp_path / "train_track.npy", tracks)
        np.save(tmp_path / "train_y.npy", tracks // 100_000)
        np.save(tmp_path / "test_y.npy", np.array([0, 1, 1, 1, 2, 3, 4]))
        shapes = {"train_y.npy": (len(tracks),), "test_y.npy": (7,), "train_track.npy": (len(tracks),)}
        made = {
            "dataset": "gtsrb",
            "source_sha256": "",
            "size": InputSize.square(32),
            "filters": ("clahe",),
            "steps": {},
        }
        recipe = Preparation(**made, version=1, opencv="")
        arrays = {name: ArrayFacts(sha256="", size_bytes=0, shape=shape) for name, shape in shapes.items()}
        manifest = Manifest(recipe=recipe, recognised="unknown", source_sha256s={}, numpy="", arrays=arrays)
        return Prepared(tmp_path, manifest, SIGNS, is_new=False)

    return prepared


@pytest.fixture
def official(prepared):
    """As many pictures as the official set: 1,307 tracks of 30 frames, one of them a frame short."""
    return prepared([30] * 42 + [47], drop=1)


def test_paper_split_of_the_official_set_has_the_papers_counts(official):
    split = data.split(official, Dataset())
    assert (len(split.train), len(split.valid)) == (31_367, 7_842)


@pytest.mark.parametrize("kind", ["paper", "by-track"])
def test_every_picture_is_in_one_set(official, kind):
    split = data.split(official, Dataset(split=kind))
    assert np.array_equal(np.sort(np.concatenate([split.train, split.valid])), np.arange(39_209))


def test_paper_split_leaks_signs_and_says_so(official):
    split = data.split(official, Dataset())
    tracks = np.load(official.path / "train_track.npy")
    shared = len(np.intersect1d(tracks[split.train], tracks[split.valid]))
    assert shared > 1000
    assert f"frames of {shared:,} of 1,307 signs are in both sets" in split.note


def test_split_by_track_shares_no_sign_and_says_so(official):
    split = data.split(official, Dataset(split="by-track"))
    tracks = np.load(official.path / "train_track.npy")
    assert not np.intersect1d(tracks[split.train], tracks[split.valid]).size
    assert "261 of 1,307 signs validate and none of them is trained on" in split.note


def test_split_by_track_has_every_class_in_both_sets(prepared):
    entry = prepared([2, 3, 10, 75])
    split = data.split(entry, Dataset(split="by-track"))
    labels = np.load(entry.path / "train_y.npy")
    assert [np.unique(labels[part]).tolist() for part in (split.train, split.valid)] == [[0, 1, 2, 3]] * 2


def test_class_of_a_single_sign_only_trains(prepared):
    entry = prepared([1, 4])
    split = data.split(entry, Dataset(split="by-track"))
    assert np.load(entry.path / "train_y.npy")[split.valid].tolist() == [1] * 30


@pytest.mark.parametrize("kind", ["paper", "by-track"])
def test_seed_decides_the_split(official, kind):
    first, again, other = (data.split(official, Dataset(split=kind, split_seed=seed)).sha256 for seed in (1, 1, 2))
    assert first == again != other


def test_paper_split_is_the_same_for_ever(prepared):
    assert data.split(prepared([1], frames=10), Dataset()).valid.tolist() == [2, 8]


@pytest.mark.parametrize(("kind", "tracks", "frames"), [("paper", [1], 2), ("by-track", [1, 1], 30)])
def test_split_without_a_validation_set_is_refused(prepared, kind, tracks, frames):
    with pytest.raises(DataError, match=f"'{kind}' of .* leaves .* and 0 to validate"):
        data.split(prepared(tracks, frames), Dataset(split=kind))


@pytest.fixture
def trackless(prepared):
    """A data set that knows of no tracks, so that its preparation wrote none."""
    entry = prepared([3, 3])
    (entry.path / "train_track.npy").unlink()
    arrays = {name: facts for name, facts in entry.manifest.arrays.items() if name != "train_track.npy"}
    return replace(entry, manifest=entry.manifest.model_copy(update={"arrays": arrays}))


def test_pictures_without_tracks_are_split_at_random(trackless):
    split = data.split(trackless, Dataset())
    assert (len(split.train), len(split.valid)) == (144, 36)
    assert "signs" not in split.note


def test_pictures_without_tracks_cannot_be_split_by_track(trackless):
    with pytest.raises(
        DataError, match=r"dataset\.split is 'by-track', and the pictures of 'gtsrb' .* set it to 'paper'"
    ):
        data.split(trackless, Dataset(split="by-track"))


def test_facts_count_what_a_trial_reads(official):
    split = data.split(official, Dataset())
    facts = data.facts(official, split)
    assert (facts.train_pictures, facts.valid_pictures, facts.test_pictures) == (31_367, 7_842, 7)
    assert facts.largest_class_share == pytest.approx(3 / 7)


def test_facts_change_with_the_split(official):
    first, other = (data.facts(official, data.split(official, Dataset(split_seed=seed))).sha256 for seed in (0, 1))
    assert first != other
