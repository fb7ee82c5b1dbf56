"""A tiny GTSRB in the official layout, to be bent before it is packed."""

import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from orchestrator.home import Home

HEADER = "Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId"
TRAINING = "GTSRB/Final_Training/Images"
TEST = "GTSRB/Final_Test/Images"


def ppm(pixels, line_end=b"\n"):
    """RGB (height, width, 3) as a binary PPM."""
    height, width = pixels.shape[:2]
    return line_end.join([b"P6", b"%d %d" % (width, height), b"255", pixels.tobytes()])


@dataclass
class World:
    """Archives as {member: content}, written to `folder` by `write`."""

    folder: Path
    training: dict[str, bytes] = field(default_factory=dict)
    test: dict[str, bytes] = field(default_factory=dict)
    truth: dict[str, bytes] = field(default_factory=dict)

    @property
    def training_zip(self):
        return self.folder / "GTSRB_Final_Training_Images.zip"

    def edit(self, csv, old, new):
        """Replace text in the CSV of a training class, or in that of the test set (csv=None)."""
        members, name = (
            (self.truth, "GT-final_test.csv")
            if csv is None
            else (self.training, f"{TRAINING}/{csv:05d}/GT-{csv:05d}.csv")
        )
        text = members[name].decode()
        assert old in text
        members[name] = text.replace(old, new, 1).encode()

    def write(self):
        self.folder.mkdir(exist_ok=True)
        for name, members in (("Training_Images", self.training), ("Test_Images", self.test), ("Test_GT", self.truth)):
            with zipfile.ZipFile(self.folder / f"GTSRB_Final_{name}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
                for member, content in members.items():
                    archive.writestr(member, content)
        return self.folder

    def unpack(self):
        for member, content in {**self.training, **self.test, **self.truth}.items():
            path = self.folder / member
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return self.folder


@pytest.fixture
def world(tmp_path):
    """Classes 0 and 1 with two tracks of two frames each, and two test pictures; 20 x 22 pixels, the sign 10 x 12."""
    world, rng = World(tmp_path / "gtsrb"), np.random.RandomState(0)

    def picture():
        return ppm(rng.randint(0, 256, (22, 20, 3)).astype(np.uint8))

    for label in (0, 1):
        rows = [HEADER]
        for track in (0, 1):
            for frame in (0, 1):
                name = f"{track:05d}_{frame:05d}.ppm"
                world.training[f"{TRAINING}/{label:05d}/{name}"] = picture()
                rows.append(f"{name};20;22;5;5;15;17;{label}")
        world.training[f"{TRAINING}/{label:05d}/GT-{label:05d}.csv"] = "\r\n".join([*rows, ""]).encode()
    rows = [HEADER]
    for number in (0, 1):
        world.test[f"{TEST}/{number:05d}.ppm"] = picture()
        rows.append(f"{number:05d}.ppm;20;22;5;5;15;17;{number}")
    world.truth["GT-final_test.csv"] = "\r\n".join([*rows, ""]).encode()
    return world


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path / "home")


@pytest.fixture
def entries(home):
    """Function: names of the folders in home.data, drafts among them."""
    return lambda: sorted(path.name for path in home.data.glob("*") if path.is_dir()) if home.data.exists() else []


@pytest.fixture
def as_ppm():
    return ppm
