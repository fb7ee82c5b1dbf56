"""Frames of a video, a camera or a folder; where signs may be in them; and a drawn video whose signs are known.

Boxes are (left, top, width, height) in pixels.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from orchestrator.data.archive import is_debris
from orchestrator.data.decode import MOST_PIXELS, SUFFIXES
from orchestrator.data.ppm import Pixels
from orchestrator.data.signs import DRAWINGS, drawn_sign
from orchestrator.errors import DataError

Box = tuple[int, int, int, int]

SMALLEST_SIDE = 16
"""Pixels of a region that is looked at; the smallest signs of GTSRB have 15."""

MARGIN = 0.1
"""Around a region, as around the signs of GTSRB."""

_CAMERA = re.compile(r"[0-9]{1,4}")

MOST_REGIONS = 8
"""Of one frame: a fixed camera rate leaves no time for more."""


class Source:
    """A video file, a camera (its number) or a folder of pictures, at a frame rate.

    frames_per_second: as the file says it; `rate` in its place for a folder, or where the file says none.
    expected: how many frames it promises; None for a camera. taken: how many came.
    was_stopped: by the user, before its end.
    Raises DataError, one sentence, if it cannot be opened or holds no frame.
    """

    def __init__(self, name: str, rate: float) -> None:
        self.name, self.is_live = name, bool(_CAMERA.fullmatch(name))
        self._pictures: list[Path] = []
        self._capture: cv2.VideoCapture | None = None
        self.expected: int | None = None
        self.taken, self.was_stopped = 0, False
        self._first_seconds = 0.0
        if not self.is_live and Path(name).is_dir():
            here = (path for path in Path(name).iterdir() if path.suffix.lower() in SUFFIXES and path.is_file())
            self._pictures = sorted((path for path in here if not is_debris(path.name)), key=_by_number)
            if not self._pictures:
                raise DataError(f"{name} holds no picture ({', '.join(SUFFIXES)}); name a video or a folder of frames.")
            self.frames_per_second, self.expected = rate, len(self._pictures)
            return
        if not self.is_live and not Path(name).is_file():
            raise DataError(f"{name} is no file, folder or number of a camera.")
        self._capture = cv2.VideoCapture(int(name) if self.is_live else name)
        if not self._capture.isOpened():
            what = f"camera {name} does not answer" if self.is_live else f"{name} does not read as a video"
            raise DataError(f"{what}.")
        self._require_size()
        if self.is_live:
            self._capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # the newest frame, and no queue of old ones
        said = self._capture.get(cv2.CAP_PROP_FPS)
        self.frames_per_second = said if 0 < said < 1000 else rate
        count = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self.expected = None if self.is_live or count <= 0 else count

    def _require_size(self) -> None:
        """Raises DataError for a video whose frames would take all memory."""
        assert self._capture is not None
        width, height = (int(self._capture.get(what)) for what in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
        if width * height > MOST_PIXELS:
            self._capture.release()
            raise DataError(f"{self.name} has frames of {width} x {height} pixels; at most {MOST_PIXELS} are read.")

    def grab(self) -> float | None:
        """Take the next frame; a camera waits for it.

        Gives when it is due, in seconds from the first; None after the last.
        """
        capture = self._capture
        if not (self.taken < len(self._pictures) if capture is None else capture.grab()):
            return None
        self.taken += 1
        return self._due(self.taken - 1)

    def picture(self) -> Pixels | None:
        """The frame that was grabbed, (height, width, 3) BGR; None if it is damaged.

        Raises DataError for a picture of a folder that does not read.
        """
        if self._capture is None:
            path = self._pictures[self.taken - 1]
            try:
                read = cv2.imread(str(path), cv2.IMREAD_COLOR)
            except cv2.error:  # it has more pixels than `orchestrator.data` allows
                read = None
            if read is None:
                raise DataError(f"{path} does not read as a picture.")
            return np.asarray(read, np.uint8)
        try:
            is_whole, bgr = self._capture.retrieve()
        except cv2.error:
            return None
        return np.asarray(bgr, np.uint8) if is_whole else None

    def _due(self, number: int) -> float:
        """As the file says it, whose rate may vary; by the rate where it says nothing."""
        said = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000 if self._capture else 0.0
        if number == 0:
            self._first_seconds = said
        return said - self._first_seconds if said > self._first_seconds else number / self.frames_per_second

    def close(self) -> None:
        """Release a file or a camera."""
        if self._capture is not None:
            self._capture.release()


def _by_number(path: Path) -> list[tuple[bool, int, str]]:
    """A key that puts frame2.png before frame10.png, as ffmpeg numbers its frames."""
    parts = re.split(r"(\d+)", path.name)
    return [(part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in parts if part]


def regions(bgr: Pixels) -> list[Box]:
    """Where a sign may be, the largest first: areas of the signs' red, blue and yellow that are about as wide as high.

    A simple proposal: it misses signs without such a border, and signs in dim light. Its recall is a test's.
    """
    hsv = cv2.cvtColor(bgr, cv2.COLOR_BGR2HSV)
    hue, saturation, value = cv2.split(hsv)
    strong = (saturation > 90) & (value > 50)
    red = ((hue < 10) | (hue > 168)) & strong
    blue = (hue > 98) & (hue < 128) & strong
    yellow = (hue > 16) & (hue < 32) & (saturation > 120) & (value > 90)
    boxes: list[Box] = []
    for mask in (red, blue, yellow):
        closed = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
        outlines, _ = cv2.findContours(closed, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        for outline in outlines:
            left, top, width, height = cv2.boundingRect(outline)
            is_whole = min(width, height) >= SMALLEST_SIDE and 0.6 < width / height < 1.6
            hull = cv2.contourArea(cv2.convexHull(outline))
            # A disc fills 0.79 of its box, an octagon 0.83, a triangle 0.5, a square on its corner 0.5.
            if is_whole and 0.4 < hull / (width * height) < 0.97:
                boxes.append(widened((left, top, width, height), bgr.shape[1], bgr.shape[0]))
    return without_overlaps(sorted(boxes, key=lambda box: -box[2] * box[3]))[:MOST_REGIONS]


def widened(box: Box, width: int, height: int) -> Box:
    """A box with its margin, cut at the borders of the frame."""
    left, top, wide, high = box
    across, down = round(wide * MARGIN), round(high * MARGIN)
    x, y = max(0, left - across), max(0, top - down)
    return x, y, min(width, left + wide + across) - x, min(height, top + high + down) - y


def without_overlaps(boxes: Sequence[Box]) -> list[Box]:
    """The boxes that do not lie mostly inside an earlier one."""
    kept: list[Box] = []
    for box in boxes:
        if all(shared(box, other) < 0.5 * box[2] * box[3] for other in kept):
            kept.append(box)
    return kept


def shared(box: Box, other: Box) -> int:
    """Pixels that two boxes share."""
    across = min(box[0] + box[2], other[0] + other[2]) - max(box[0], other[0])
    down = min(box[1] + box[3], other[1] + other[3]) - max(box[1], other[1])
    return max(0, across) * max(0, down)


def overlap(box: Box, other: Box) -> float:
    """Shared pixels as a share of all pixels of both."""
    both = shared(box, other)
    return both / (box[2] * box[3] + other[2] * other[3] - both)


def cropped(bgr: Pixels, box: Box) -> Pixels:
    """The region as RGB (height, width, 3)."""
    left, top, width, height = box
    return np.asarray(cv2.cvtColor(bgr[top : top + height, left : left + width], cv2.COLOR_BGR2RGB), np.uint8)


class Writer:
    """Writes an MP4 or AVI video with what was recognised. Raises DataError if it cannot be written."""

    def __init__(self, path: Path, frames_per_second: float, width: int, height: int) -> None:
        code = "MJPG" if path.suffix.lower() == ".avi" else "mp4v"
        fourcc = cv2.VideoWriter.fourcc(*code)
        self._writer = cv2.VideoWriter(str(path), fourcc, frames_per_second, (width, height))
        if not self._writer.isOpened():
            raise DataError(f"{path} cannot be written as a video; name a file that ends in .mp4 or .avi.")
        self._width, self._height = width, height
        self.fitted = 0

    def write(self, bgr: Pixels) -> None:
        """Append a frame; one of another size is fitted into the video's, on black, and counted.

        OpenCV would drop it without a word.
        """
        height, width = bgr.shape[:2]
        if (width, height) != (self._width, self._height):
            self.fitted += 1
            bgr = _fitted(bgr, self._width, self._height)
        self._writer.write(bgr)

    def close(self) -> None:
        """Complete the file."""
        self._writer.release()


def _fitted(bgr: Pixels, width: int, height: int) -> Pixels:
    """The frame in the middle of a black one of that size, its sides in proportion."""
    scale = min(width / bgr.shape[1], height / bgr.shape[0])
    wide, high = max(1, round(bgr.shape[1] * scale)), max(1, round(bgr.shape[0] * scale))
    whole = np.zeros((height, width, 3), np.uint8)
    left, top = (width - wide) // 2, (height - high) // 2
    whole[top : top + high, left : left + wide] = cv2.resize(bgr, (wide, high), interpolation=cv2.INTER_AREA)
    return whole


def drawn_on(bgr: Pixels, boxes: Sequence[tuple[Box, str]], note: str) -> Pixels:
    """A copy of the frame with boxes and their labels, and a note in its corner."""
    shown = bgr.copy()
    for (left, top, width, height), text in boxes:
        cv2.rectangle(shown, (left, top), (left + width, top + height), (60, 220, 60), 2)
        _text(shown, text, (left, top - 6 if top > 20 else top + height + 16))
    _text(shown, note, (8, 18))
    return shown


def _text(bgr: Pixels, text: str, corner: tuple[int, int]) -> None:
    """White on a dark ground, its lower left corner there, or further left where it would leave the frame."""
    font, scale = cv2.FONT_HERSHEY_SIMPLEX, 0.5
    (wide, high), below = cv2.getTextSize(text, font, scale, 1)
    left, bottom = max(0, min(corner[0], bgr.shape[1] - wide - 2)), corner[1]
    cv2.rectangle(bgr, (left, bottom - high - 2), (left + wide + 2, bottom + below), (40, 40, 40), cv2.FILLED)
    cv2.putText(bgr, text, (left + 1, bottom), font, scale, (255, 255, 255), 1, cv2.LINE_AA)


@dataclass(frozen=True)
class DrawnSign:
    """A sign of a drawn frame: its class and box."""

    label: int
    box: Box


WIDTH, HEIGHT = 640, 480
_NEAR, _FAR = 110, 22  # pixels of a sign in its last and its first frame
_SEEN_SECONDS = 1.6  # how long one sign is seen
_APART_SECONDS = 0.8  # between two signs: two are seen at once


def drawn_frames(seconds: float, frames_per_second: float, seed: int) -> Iterator[tuple[Pixels, list[DrawnSign]]]:
    """Frames (480, 640, 3) BGR of a drive past drawn signs, with the signs that are in each.

    Signs grow as they come nearer and leave at the right; the light of each is its own.
    """
    rng = np.random.default_rng(seed)
    count, seen = max(1, round(seconds * frames_per_second)), max(2, round(_SEEN_SECONDS * frames_per_second))
    every = max(1, round(_APART_SECONDS * frames_per_second))
    tracks = [
        (start, int(rng.integers(len(DRAWINGS))), float(rng.uniform(0.7, 1.1)), float(rng.uniform(0, 1)))
        for start in range(0, count, every)
    ]
    road = _road(rng)
    for number in range(count):
        frame, signs = road.copy(), []
        for start, label, light, place in tracks:
            if start <= number < start + seen:
                signs.append(_drawn(frame, label, light, place, (number - start) / (seen - 1)))
        noise = rng.normal(0, 4, frame.shape)
        yield np.clip(frame + noise, 0, 255).astype(np.uint8), signs


def _road(rng: np.random.Generator) -> NDArray[np.float32]:
    """Grey-green sides, a grey road, a pale sky."""
    frame = np.empty((HEIGHT, WIDTH, 3), np.float32)
    frame[: HEIGHT // 2] = (205, 190, 170)
    frame[HEIGHT // 2 :] = (70, 105, 90)
    corners = np.array([[WIDTH // 2 - 30, HEIGHT // 2], [WIDTH // 2 + 30, HEIGHT // 2], [520, HEIGHT], [0, HEIGHT]])
    cv2.fillPoly(frame, [corners.astype(np.int32)], (95, 95, 95))
    side = (HEIGHT // 16, WIDTH // 16)
    coarse = rng.normal(0, 14, (*side, 1)) + rng.normal(0, 3, (*side, 3))  # light varies more than colour
    return np.asarray(frame + cv2.resize(coarse.astype(np.float32), (WIDTH, HEIGHT)), np.float32)


def _drawn(frame: NDArray[np.float32], label: int, light: float, place: float, near: float) -> DrawnSign:
    """Draw a sign into `frame`. place: 0 to 1, how high. near: 0 to 1, how far it has come."""
    side = round(_FAR * (_NEAR / _FAR) ** near)
    left = round(WIDTH * 0.55 + (WIDTH * 0.45 - _NEAR - 8) * near)
    top = round(HEIGHT * (0.42 - (0.1 + 0.2 * place) * near) - side / 2)
    sign = cv2.resize(drawn_sign(label), (side, side), interpolation=cv2.INTER_AREA).astype(np.float32)
    cover = sign[:, :, 3:] / 255
    spot = frame[top : top + side, left : left + side]
    spot[:] = spot * (1 - cover) + np.clip(sign[:, :, 2::-1] * light, 0, 255) * cover
    return DrawnSign(label, (left, top, side, side))
