import json
import os
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from orchestrator import data
from orchestrator.data import cache, fill
from orchestrator.data.draft import draft_folder, sweep
from orchestrator.dataset import Dataset, Synthetic
from orchestrator.errors import DataError
from orchestrator.networks import InputSize

SMALLEST = Synthetic(tracks_per_class=2, frames_per_track=1, test_tracks_per_class=1)


def silent(done, total):
    """No progress."""


@pytest.fixture
def prepare(home):
    """Function: prepare the registered pictures at some sizes."""

    def prepare(*sides, dataset=None):
        found = data.prepare(dataset or Dataset(), [InputSize.square(side) for side in sides], home, silent)
        return {size.side: entry for size, entry in found.items()}

    return prepare


@pytest.fixture
def registered(world, home):
    data.register("gtsrb", world.write(), home)
    return world


def test_arrays_have_the_promised_shapes_and_types(registered, prepare):
    path = prepare(48)[48].path
    found = {file.name: (np.load(file).dtype.str, np.load(file).shape) for file in path.glob("*.npy")}
    assert found == {
        "train_x.npy": ("|u1", (8, 3, 48, 48)),
        "train_y.npy": ("<i8", (8,)),
        "train_track.npy": ("<i8", (8,)),
        "test_x.npy": ("|u1", (2, 3, 48, 48)),
        "test_y.npy": ("<i8", (2,)),
    }


def test_tracks_are_numbered_by_class(registered, prepare):
    tracks = np.load(prepare(32)[32].path / "train_track.npy")
    assert tracks.tolist() == [0, 0, 1, 1, 100000, 100000, 100001, 100001]


def test_pictures_are_cut_to_the_sign(world, home, prepare, as_ppm):
    pixels = np.zeros((22, 20, 3), np.uint8)
    pixels[5:17, 5:15] = 77
    for member in world.test:
        world.test[member] = as_ppm(pixels)
    data.register("gtsrb", world.write(), home)
    assert np.unique(np.load(prepare(32, dataset=Dataset(clahe=False))[32].path / "test_x.npy")).tolist() == [77]


def test_second_run_finds_what_the_first_made(registered, prepare):
    first, second = prepare(32)[32], prepare(32)[32]
    assert (first.is_new, second.is_new) == (True, False)
    assert first.sha256 == second.sha256


def test_only_lacking_sizes_are_made(registered, prepare):
    prepare(32)
    assert {size: prepared.is_new for size, prepared in prepare(32, 64).items()} == {32: False, 64: True}


def test_size_is_the_same_alone_and_with_others(registered, prepare, home):
    together = prepare(32, 48, 64)[48].sha256
    shutil.rmtree(home.data / prepare(48)[48].path.name)
    assert prepare(48)[48].sha256 == together


@pytest.mark.parametrize("change", [{"clahe": False}, {"name": "synthetic", "synthetic": SMALLEST}])
def test_other_preparation_is_another_entry(registered, prepare, change):
    assert prepare(32)[32].path != prepare(32, dataset=Dataset(**change))[32].path


def test_split_does_not_change_the_entry(registered, prepare):
    assert prepare(32)[32].path == prepare(32, dataset=Dataset(split="by-track", split_seed=3))[32].path


def test_other_opencv_is_another_entry(registered, prepare, monkeypatch):
    first = prepare(32)[32].path
    monkeypatch.setattr(cache.cv2, "__version__", "9.9.9")
    assert prepare(32)[32].path != first


def test_changed_archives_are_seen_without_registering_again(registered, prepare):
    first = prepare(32)[32].path
    registered.edit(0, "5;5;15;17", "6;5;15;17")
    registered.write()
    assert prepare(32)[32].path != first


def test_unpacked_folder_gives_the_same_pictures(world, home, prepare, tmp_path):
    data.register("gtsrb", world.write(), home)
    packed = prepare(32)[32]
    world.folder = tmp_path / "unpacked"
    assert data.register("gtsrb", world.unpack(), home).kind == "folder"
    assert prepare(32)[32].sha256 == packed.sha256


def test_cache_outlives_its_source(registered, prepare):
    first = prepare(32)[32]
    shutil.rmtree(registered.folder)
    assert prepare(32)[32].path == first.path


def test_vanished_source_is_named_when_it_is_needed(registered, prepare):
    shutil.rmtree(registered.folder)
    with pytest.raises(DataError, match=f"{registered.folder} is not a folder"):
        prepare(32)


def test_without_a_source_the_message_says_how_to_get_one(prepare):
    with pytest.raises(DataError, match=r"`invoke data --from PATH`.*`invoke data --download`"):
        prepare(32)


def test_damaged_register_is_named(registered, prepare, home):
    (home.data / "source-gtsrb.json").write_text("{}")
    with pytest.raises(DataError, match=r"source-gtsrb.json does not read; run `invoke data --from PATH` again"):
        prepare(32)


def test_progress_ends_at_all_pictures(registered, home):
    seen = []
    data.prepare(Dataset(), [InputSize.square(32)], home, lambda done, total: seen.append((done, total)))
    assert seen[-1] == (10, 10)


def test_verify_accepts_what_was_prepared(registered, prepare):
    data.verify(prepare(32)[32])


def test_verify_names_the_changed_file(registered, prepare):
    prepared = prepare(32)[32]
    array = np.load(prepared.path / "test_x.npy", mmap_mode="r+")
    array[0, 0, 0, 0] ^= 1
    array.flush()
    with pytest.raises(DataError, match=f"{prepared.path}/test_x.npy is missing or not what was prepared"):
        data.verify(prepared)


def test_verify_names_the_missing_file(registered, prepare):
    prepared = prepare(32)[32]
    (prepared.path / "test_x.npy").unlink()
    with pytest.raises(DataError, match=f"{prepared.path}/test_x.npy is missing"):
        data.verify(prepared)


@pytest.mark.parametrize("name", ["manifest.json", "train_x.npy"])
def test_entry_that_lost_a_file_is_named(registered, prepare, name):
    path = prepare(32)[32].path
    (path / name).unlink()
    with pytest.raises(DataError, match=f"{path}/{name}.*remove the folder {path} "):
        prepare(32)


def test_manifest_says_what_was_made_from_what(registered, prepare):
    manifest = json.loads((prepare(32)[32].path / "manifest.json").read_text())
    assert set(manifest["source_sha256s"]) == {
        "GTSRB_Final_Training_Images.zip",
        "GTSRB_Final_Test_Images.zip",
        "GTSRB_Final_Test_GT.zip",
    }


def test_concurrent_preparers_do_not_clash(registered, prepare, entries):
    together = threading.Barrier(4)

    def one():
        together.wait()
        return prepare(32, 48)

    with ThreadPoolExecutor(4) as pool:
        results = [future.result() for future in [pool.submit(one) for _ in range(4)]]
    assert len({result[32].sha256 for result in results}) == 1
    assert len(entries()) == 2


def test_full_disk_is_a_data_error_and_leaves_nothing(registered, prepare, entries, monkeypatch):
    def full(file, content, at):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(fill.os, "pwrite", full)
    with pytest.raises(DataError, match="No space left on device"):
        prepare(32)
    assert entries() == []


def test_an_interrupt_leaves_a_part_for_the_next_call(registered, prepare, home, entries):
    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        data.prepare(Dataset(), [InputSize.square(32)], home, interrupt)
    (part,) = entries()
    assert part.startswith(".part-")
    prepare(32)
    (entry,) = entries()
    assert entry.startswith("gtsrb-32-")


def test_leftovers_of_dead_preparers_are_swept(registered, prepare, home, entries):
    left = home.data / ".draft-of-the-dead"
    left.mkdir()
    (left / "train_x.npy").write_bytes(b"half")
    prepare(32)
    assert not left.exists()


def test_drafts_of_living_preparers_are_kept(tmp_path):
    with draft_folder(tmp_path) as folder:
        sweep(tmp_path)
        assert folder.exists()
    assert not folder.exists()


def test_every_user_may_read_the_arrays_whatever_the_umask(registered, prepare):
    before = os.umask(0o077)
    try:
        path = prepare(32)[32].path
    finally:
        os.umask(before)
    assert {file.stat().st_mode & 0o444 for file in path.iterdir()} == {0o444}


def test_arrays_that_others_may_not_read_are_opened_to_them(registered, prepare):
    array = prepare(32)[32].path / "train_x.npy"
    array.chmod(0o600)
    prepare(32)
    assert array.stat().st_mode & 0o777 == 0o644
