"""Pictures and the order of batches, the same for every framework, numpy version and machine."""

import os

import numpy

from workers import augment
from workers.protocol import BadJob

# uint8 to [0, 1]; done here, so that the rounding is the same for all frameworks.
TO_UNIT = numpy.float32(1 / 255.0)


IN_MEMORY_BYTES = 2 * 2**30
"""Of the pictures of one split; what is larger is read from the disk as it is needed."""


class Mapped(object):
    """Pictures that stay in a memory-mapped file: those of `numbers` (n,), as an array of them is indexed."""

    def __init__(self, pictures, numbers):
        self._pictures = pictures
        self._numbers = numbers

    def __getitem__(self, at):
        return numpy.asarray(self._pictures[self._numbers[at]])

    def __array__(self, dtype=None, copy=None):
        return numpy.asarray(self[:], dtype=dtype)


def _of_split(pictures, numbers):
    """The pictures of those numbers: if they fit, in memory, so that no disk access is inside the clock."""
    bytes_each = pictures[0].nbytes if len(pictures) else 0
    return Mapped(pictures, numbers) if len(numbers) * bytes_each > IN_MEMORY_BYTES else pictures[numbers]


class Scale(object):
    """What makes a network's input of bytes: times `factor`, plus `offset`, in float32.

    factor: a number, or one for each channel (channels, 1, 1). offset: the same; None for none.
    """

    def __init__(self, factor=TO_UNIT, offset=None):
        self.factor = factor
        self.offset = offset

    @classmethod
    def read(cls, folder):
        """That of scale.npy in `folder`, float32 (2, channels): factors and offsets; to [0, 1] where there is none.

        Raises BadJob if the file is something else.
        """
        path = os.path.join(folder, "scale.npy")
        if not os.path.exists(path):
            return cls()
        known = _load(path)
        if known.ndim != 2 or len(known) != 2 or known.dtype != numpy.float32 or not numpy.isfinite(known).all():
            raise BadJob(f"{path} is {known.dtype} {known.shape}; it must be finite float32 (2, channels).")
        return cls(known[0][:, None, None], known[1][:, None, None])

    def apply(self, pictures):
        """float32, of uint8 (n, channels, height, width) or of one picture."""
        # Convert, scale in place: as fast as any other way, and 3 to 8 times as fast as a table of 256 values.
        x = pictures.astype(numpy.float32)
        x *= self.factor
        if self.offset is not None:
            x += self.offset
        return x


class Batches(object):
    """Pictures with their labels, cut into batches.

    pictures: uint8 (n, channels, height, width), in memory or memory-mapped. labels: int64 (n,).
    size: pictures in a batch. scale: Scale, what a network gets of the bytes.
    """

    def __init__(self, pictures, labels, size, scale=None):
        self.pictures = pictures
        self.labels = labels
        self.size = size
        self.scale = scale or Scale()

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, number):
        """(x float32 (channels, height, width), y) of one picture, as a loader of samples asks it."""
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
        """(x float32 (n, channels, height, width), y int64 (n,)); new arrays, which nothing else writes."""
        return self.scale.apply(self.pictures[numbers]), self.labels[numbers]


class AugmentedBatches(Batches):
    """Batches whose pictures are changed at random, in each epoch anew; `shuffled` tells which epoch it is."""

    def __init__(self, pictures, labels, size, scale, augmentation):
        super(AugmentedBatches, self).__init__(pictures, labels, size, scale)
        self._augmentation = augmentation
        self._draws = None

    def shuffled(self, seed, epoch):
        """As of Batches; later cuts are of that epoch."""
        self._draws = augment.drawn(seed, epoch, len(self))
        return super(AugmentedBatches, self).shuffled(seed, epoch)

    def cut(self, numbers):
        """As of Batches. numbers: (n,), of one batch."""
        labels = self.labels[numbers]
        changed = augment.augmented(self.pictures[numbers], labels, self._augmentation, self._draws[numbers])
        return self.scale.apply(changed), labels


def open_batches(job_folder, data_folder, net, batch_size, augmentation=None):
    """(training, validation, test) Batches of a job. net: Net of workers/net.py, which takes such pictures.

    augmentation: how the training pictures are changed; None for as they are.

    The pictures of the split are copied into memory (217 MB for all of GTSRB at 48 x 48), up to IN_MEMORY_BYTES; the
    test pictures, read once, stay memory-mapped.
    Raises BadJob, naming the file, if one is missing, does not fit the job, or holds too few pictures.
    """
    pictures, labels = _open_pictures(data_folder, "train", net)
    scale = Scale.read(data_folder)
    split = []
    for name in ("train", "valid"):
        numbers = _load(os.path.join(job_folder, name + ".npy"))
        if len(numbers) and not 0 <= numbers.min() <= numbers.max() < len(labels):
            raise BadJob(f"{name}.npy names picture {numbers.max()}; the data has {len(labels)} training pictures.")
        split.append((_of_split(pictures, numbers), labels[numbers], batch_size, scale))
    validation = Batches(*split[1])
    training = Batches(*split[0]) if augmentation is None else AugmentedBatches(*split[0], augmentation=augmentation)
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
    return Batches(pictures, labels, count, Scale.read(data_folder)).cut(numpy.sort(drawn))[0]


def open_test(data_folder, net, batch_size):
    """The test Batches of a job. Raises BadJob, naming the file, if it is missing or empty, or does not fit the job."""
    test = Batches(*_open_pictures(data_folder, "test", net), size=batch_size, scale=Scale.read(data_folder))
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
