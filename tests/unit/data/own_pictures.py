"""Small pictures of one's own, written as a user has them."""

import cv2
import numpy as np

from orchestrator import data
from orchestrator.data.source import Reading
from orchestrator.dataset import Dataset
from orchestrator.networks import InputSize


def picture(seed, height=12, width=10):
    """RGB (height, width, 3) of noise."""
    return np.random.RandomState(seed).randint(0, 256, (height, width, 3)).astype(np.uint8)


def encoded(rgb, suffix=".png"):
    """The bytes of a file of that format."""
    return cv2.imencode(suffix, rgb[..., ::-1] if rgb.ndim == 3 else rgb)[1].tobytes()


def written(folder, names):
    """Files below `folder`, each a picture of its own; gives the folder."""
    for seed, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(picture(seed), "." + name.rpartition(".")[2]))
    return folder


def named(*sets, classes=("a", "b"), count=3):
    """train/a/0.png ..."""
    return [f"{set_}/{label}/{number}.png".lstrip("/") for set_ in sets for label in classes for number in range(count)]


def registered(path, home, **reading):
    """The source of pictures registered as 'mine'."""
    return data.register("mine", path, home, Reading(**reading))


def prepared(home, size=8, **dataset):
    """The prepared entry of 'mine'."""
    asked = Dataset(name="mine", **dataset)
    where = InputSize.square(size) if isinstance(size, int) else size
    return data.prepare(asked, [where], home, lambda done, total: None)[where]


def arrays(entry):
    """name -> array of an entry."""
    return {path.stem: np.load(path) for path in entry.path.glob("*.npy")}
