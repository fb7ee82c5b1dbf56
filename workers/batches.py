"""Pictures and the order of batches, the same for every framework, numpy version and machine."""

import os

import numpy

from workers.protocol import BadJob

# uint8 to [0, 1]; done here, so that the rounding is the same for all frameworks.
TO_UNIT = numpy.float32(1 / 255.0)


class Batches(object):
    """Pictures with their labels, cut into batches.

    pictures: uint8 (n, channels, height, width), in memory or memory-mapped. labels: int64 (n,).
    size: pictures in a batch. scale: what each byte of a picture is multiplied by, in float32.
    """

    scale = TO_UNIT

    def __init__(self, pictures, labels, size):
        self.pictures = pictures
        self.labels = labels
        self.size = size

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, number):
        """(x float32 (channels, height, width) in [0, 1], y) of one picture, as a loader of samples asks it."""
        return self.cut(number)

    def shuffled(self, seed, epoch):
        """The batches of a training epoch, as arrays of picture numbers; the last, incomplete one is dropped.

        The order is that of RandomState([seed, epoch]).permutation: different in each epoch, the same on every machine.
        """
        order = numpy.random.RandomState([seed, epoch]).permutation(len(self))
        return [order[at : at + self.size] for at in range(0, len(self) - self.size + 1, self.size)]

    def in_order(self):
        """All pictures once, in batches of which the last may be smaller."""
        order = numpy.arange(len(self))
        return [order[at : at + self.size] for at in range(0, len(self), self.size)]

    def cut(self, numbers):
        """(x float32 (n, channels, height, width) in [0, 1], y int64 (n,)); new arrays, which nothing else writes."""
        # Gather, convert, scale in place: as fast as any other way, and 3 to 8 times as fast as a table of 256 values.
        x = self.pictures[numbers].astype(numpy.float32)
        x *= TO_UNIT
        return x, self.labels[numbers]


def open_batches(job_folder, data_folder, net, batch_size):
    """(training, validation, test) Batches of a job. net: Net of workers/net.py, which takes such pictures.

    The pictures of the split are copied into memory (217 MB for all of GTSRB at 48 x 48), so that no disk access or
    page fault is inside the clock; the test pictures, read once, stay memory-mapped.
    Raises BadJob, naming the file, if one is missing, does not fit the job, or holds too few pictures.
    """
    pictures, labels = _open_pictures(data_folder, "train", net)
    split = []
    for name in ("train", "valid"):
        numbers = _load(os.path.join(job_folder, name + ".npy"))
        if len(numbers) and not 0 <= numbers.min() <= numbers.max() < len(labels):
            raise BadJob(f"{name}.npy names picture {numbers.max()}; the data has {len(labels)} training pictures.")
        split.append(Batches(pictures[numbers], labels[numbers], batch_size))
    training, validation = split
    test = open_test(data_folder, net, batch_size)
    if len(training) < training.size:
        raise BadJob(f"train.npy names {len(training)} pictures; one batch takes {training.size}.")
    _require_pictures("validation", validation)
    return training, validation, test


def draw_training(job_folder, data_folder, net, count, seed):
    """x float32 (count or fewer, channels, height, width): training pictures of the job's split, drawn with `seed`.

    Raises BadJob, naming the file, if one is missing or does not fit the job.
    """
    pictures, labels = _open_pictures(data_folder, "train", net)
    numbers = _load(os.path.join(job_folder, "train.npy"))
    drawn = numpy.random.RandomState(seed).permutation(numbers)[:count]
    _require_pictures("training", drawn)
    return Batches(pictures, labels, count).cut(numpy.sort(drawn))[0]


def open_test(data_folder, net, batch_size):
    """The test Batches of a job. Raises BadJob, naming the file, if it is missing or empty, or does not fit the job."""
    test = Batches(*_open_pictures(data_folder, "test", net), size=batch_size)
    _require_pictures("test", test)
    return test


def _require_pictures(name, batches):
    if not len(batches):
        raise BadJob(f"the {name} set is empty; it needs one picture at least.")


def _open_pictures(folder, name, net):
    pictures = _load(os.path.join(folder, name + "_x.npy"), mmap_mode="r")
    labels = _load(os.path.join(folder, name + "_y.npy"))
    wanted = (len(labels),) + net.input
    if pictures.shape != wanted or pictures.dtype != numpy.uint8:
        raise BadJob(f"{name}_x.npy is {pictures.dtype} {pictures.shape}; this job takes uint8 {wanted}.")
    if len(labels) and not 0 <= labels.min() <= labels.max() < net.classes:
        seen = f"labels from {labels.min()} to {labels.max()}"
        raise BadJob(f"{name}_y.npy holds {seen}; there are {net.classes} classes.")
    return pictures, labels


def _load(path, mmap_mode=None):
    try:
        return numpy.load(path, mmap_mode=mmap_mode)
    except (OSError, ValueError) as error:
        raise BadJob(f"{path} cannot be read: {error}.") from error
