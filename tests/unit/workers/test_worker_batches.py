"""Which pictures make up each batch, and what a batch holds."""

import hashlib
import json

import numpy
import pytest

from workers import augment
from workers import batches as batches_module
from workers.batches import Batches, open_batches
from workers.net import NetBuilder
from workers.protocol import BadJob


def numbered(count, size=4):
    """Pictures that hold their own number."""
    pictures = numpy.arange(count, dtype=numpy.uint8)[:, None, None, None] * numpy.ones((1, 3, 2, 2), numpy.uint8)
    return Batches(pictures, numpy.arange(count), size)


def test_an_epochs_order_is_a_permutation_of_seed_and_number():
    order = numpy.concatenate(numbered(10, 5).shuffled(3, 2))
    assert numpy.array_equal(order, numpy.random.RandomState([3, 2]).permutation(10))


def test_the_permutation_is_the_same_for_every_numpy():
    assert numpy.concatenate(numbered(8, 4).shuffled(0, 1)).tolist() == [0, 5, 6, 1, 3, 2, 4, 7]


def test_every_epoch_has_an_order_of_its_own():
    batches = numbered(50, 50)
    assert batches.shuffled(0, 0)[0].tolist() != batches.shuffled(0, 1)[0].tolist()


def test_training_drops_the_incomplete_batch():
    assert [len(batch) for batch in numbered(11).shuffled(0, 0)] == [4, 4]


def test_evaluation_reads_every_picture_once_in_order():
    batches = numbered(11).in_order()
    assert [len(batch) for batch in batches] == [4, 4, 3]
    assert numpy.concatenate(batches).tolist() == list(range(11))


def test_a_batch_holds_its_pictures_in_0_to_1():
    x, y = numbered(256).cut(numpy.array([0, 51, 255]))
    assert x[:, 0, 0, 0].tolist() == [0.0, float(numpy.float32(51) * numpy.float32(1 / 255.0)), 1.0]
    assert y.tolist() == [0, 51, 255]


def test_a_batch_is_float32_and_nobody_elses():
    batches = numbered(4)
    x, _ = batches.cut(numpy.arange(4))
    x[:] = 7
    assert x.dtype == numpy.float32
    assert batches.cut(numpy.arange(4))[0].max() < 1


def test_one_picture_is_what_a_batch_holds_of_it():
    batches = numbered(256)
    x, y = batches.cut(numpy.array([7, 51]))
    assert batches[51][0].tobytes() == x[1].tobytes()
    assert batches[51][1] == y[1]


def _net():
    net = NetBuilder((3, 2, 2))
    net.dense(net.flatten(net.input), 43)
    return net.net()


NET = _net()


@pytest.fixture
def folder(tmp_path):
    """Ten training and three test pictures; a split of six and three."""
    for name, count in (("train", 10), ("test", 3)):
        numpy.save(str(tmp_path / (name + "_x.npy")), numpy.zeros((count, 3, 2, 2), numpy.uint8))
        numpy.save(str(tmp_path / (name + "_y.npy")), numpy.arange(count))
    numpy.save(str(tmp_path / "train.npy"), numpy.array([9, 1, 2, 3, 4, 5]))
    numpy.save(str(tmp_path / "valid.npy"), numpy.array([6, 7, 8]))
    (tmp_path / "manifest.json").write_text(json.dumps({}))
    return tmp_path


def test_a_split_is_cut_out_of_the_prepared_pictures(folder):
    training, validation, test = open_batches(str(folder), str(folder), NET, 4)
    assert [len(training), len(validation), len(test)] == [6, 3, 3]
    assert training.cut(numpy.array([0, 1]))[1].tolist() == [9, 1]


@pytest.mark.parametrize(
    ("file", "value", "sentence"),
    [
        ("train.npy", numpy.array([1, 2, 3]), "train.npy names 3 pictures; one batch takes 4"),
        ("train.npy", numpy.array([1, 2, 3, 10]), "train.npy names picture 10; the data has 10"),
        ("valid.npy", numpy.array([], int), "the validation set is empty"),
        ("train_y.npy", numpy.full(10, 43), "there are 43 classes"),
        ("train_x.npy", numpy.zeros((10, 3, 4, 4), numpy.uint8), r"this job takes uint8 \(10, 3, 2, 2\)"),
        ("test_x.npy", numpy.zeros((3, 3, 2, 2), numpy.float32), "test_x.npy is float32"),
    ],
)
def test_data_that_does_not_fit_the_job_is_a_bad_job(folder, file, value, sentence):
    numpy.save(str(folder / file), value)
    with pytest.raises(BadJob, match=sentence):
        open_batches(str(folder), str(folder), NET, 4)


def test_a_missing_file_is_a_bad_job_that_names_it(folder):
    (folder / "test_y.npy").unlink()
    with pytest.raises(BadJob, match=r"test_y\.npy cannot be read"):
        open_batches(str(folder), str(folder), NET, 4)


def test_a_torn_file_is_a_bad_job(folder):
    (folder / "valid.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(BadJob, match=r"valid\.npy cannot be read"):
        open_batches(str(folder), str(folder), NET, 4)


def test_bytes_are_normalised_channel_by_channel(folder):
    scale = numpy.array([[0.5, 1.0, 2.0], [-1.0, 0.0, 3.0]], numpy.float32)
    numpy.save(str(folder / "scale.npy"), scale)
    numpy.save(str(folder / "train_x.npy"), numpy.full((10, 3, 2, 2), 8, numpy.uint8))
    for batches in open_batches(str(folder), str(folder), NET, 4)[:2]:
        assert batches.cut(numpy.array([0]))[0][0, :, 0, 0].tolist() == [3.0, 8.0, 19.0]
        assert batches[0][0][:, 0, 0].tolist() == [3.0, 8.0, 19.0]


@pytest.mark.parametrize("scale", [numpy.ones((2, 3)), numpy.ones(3, numpy.float32), numpy.float32([[1], [numpy.inf]])])
def test_a_scale_that_is_none_is_a_bad_job(folder, scale):
    numpy.save(str(folder / "scale.npy"), scale)
    with pytest.raises(BadJob, match="it must be finite float32"):
        open_batches(str(folder), str(folder), NET, 4)


STILL = augment.Augmentation(0, 0, 0, 0, 0, [])
PICTURES = numpy.random.RandomState(0).randint(0, 256, (6, 3, 8, 10)).astype(numpy.uint8)
LABELS = numpy.array([0, 1, 2, 0, 1, 2])


def changed(seed=0, epoch=0, **parts):
    draws = augment.drawn(seed, epoch, len(PICTURES))
    return augment.augmented(PICTURES, LABELS, STILL._replace(**parts), draws)


def test_nothing_asked_changes_nothing():
    assert numpy.array_equal(changed(), PICTURES)
    assert numpy.array_equal(changed(shift=1e-9), PICTURES)


@pytest.mark.parametrize("parts", [{"shift": 1e-9}, {}], ids=["moved", "not moved"])
def test_only_classes_that_allow_it_are_mirrored(parts):
    is_mirrored = []
    for epoch in range(20):
        for label, seen, picture in zip(LABELS, changed(epoch=epoch, flip=[1], **parts), PICTURES):
            is_same, is_other = numpy.array_equal(seen, picture), numpy.array_equal(seen, picture[..., ::-1])
            assert is_same or (is_other and label == 1)
            is_mirrored += [is_other] if label == 1 else []
    assert 5 < sum(is_mirrored) < 35


def test_a_whole_shift_moves_pixels():
    draws = numpy.full((6, 10), 0.5)
    draws[:, 3] = 1.0
    seen = augment.augmented(PICTURES, LABELS, STILL._replace(shift=0.2), draws)
    assert numpy.array_equal(seen[..., :8], PICTURES[..., 2:])
    assert numpy.array_equal(seen[..., 8:], PICTURES[..., [9, 9]])


def test_half_a_turn_turns_pictures_upside_down():
    draws = numpy.full((6, 10), 0.5)
    draws[:, 1] = 1.0
    seen = augment.augmented(PICTURES, LABELS, STILL._replace(rotation_degrees=180), draws)
    assert numpy.array_equal(seen, PICTURES[..., ::-1, ::-1])


def test_brightness_is_a_factor():
    draws = numpy.full((6, 10), 0.5)
    draws[:, 5] = 0.0
    seen = augment.augmented(PICTURES, LABELS, STILL._replace(brightness=0.5), draws)
    assert numpy.array_equal(seen, (PICTURES.astype(int) * 128 + 128) >> 8)


def test_an_erased_part_is_grey_and_not_too_large():
    for seen, picture in zip(changed(erase=0.5), PICTURES):
        is_changed = (seen != picture).any(0)
        assert (seen[:, is_changed] == augment.GREY).all()
        assert is_changed.any(1).sum() <= 4
        assert is_changed.any(0).sum() <= 5


def test_the_bytes_of_an_augmentation_are_known():
    seen = changed(3, 2, shift=0.1, scale=0.1, rotation_degrees=15, brightness=0.2, erase=0.3, flip=[0, 2])
    assert (
        hashlib.sha256(seen.tobytes()).hexdigest() == "fdc73a28e12f59d364d1ad7bdd18d59a26dbfe3d27033cac1ea5009ba6bfcca1"
    )


def test_each_epoch_changes_pictures_anew_and_validation_never(folder):
    numpy.save(str(folder / "train_x.npy"), numpy.random.RandomState(1).randint(0, 256, (10, 3, 2, 2)).astype("u1"))
    asked = STILL._replace(brightness=0.9)
    training, validation, _ = open_batches(str(folder), str(folder), NET, 4, asked)
    cuts = []
    for epoch in (0, 1, 0):
        training.shuffled(0, epoch)
        cuts.append(training.cut(numpy.arange(6))[0])
    assert numpy.array_equal(cuts[0], cuts[2])
    assert not numpy.array_equal(cuts[0], cuts[1])
    plain = open_batches(str(folder), str(folder), NET, 4)[1]
    assert numpy.array_equal(validation.cut(numpy.arange(3))[0], plain.cut(numpy.arange(3))[0])


def test_what_is_too_large_for_memory_is_read_as_it_is_needed(folder, monkeypatch):
    numpy.save(str(folder / "train_x.npy"), numpy.random.RandomState(1).randint(0, 256, (10, 3, 2, 2)).astype("u1"))
    in_memory = open_batches(str(folder), str(folder), NET, 4)[0]
    monkeypatch.setattr(batches_module, "IN_MEMORY_BYTES", 50)
    mapped = open_batches(str(folder), str(folder), NET, 4)[0]
    assert isinstance(mapped.pictures, batches_module.Mapped)
    assert not isinstance(in_memory.pictures, batches_module.Mapped)
    for numbers in (numpy.array([5, 0, 3]), 2):
        assert numpy.array_equal(mapped.cut(numbers)[0], in_memory.cut(numbers)[0])
    assert numpy.array_equal(numpy.asarray(mapped.pictures), in_memory.pictures)
