"""Drawn road signs in changing light, blur and pose, in tracks: a data set that needs no download.

A track is one sign that a camera drives towards: place, wear and weather stay the same, the size grows, and angle,
light and sharpness drift. Every frame has its own random streams, seeded by its place in the set, so the pictures do
not depend on the order of drawing. (RandomState's stream is frozen across numpy versions.)
"""

from functools import cache
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from orchestrator.data.labels import SIGNS
from orchestrator.data.pictures import TRACKS_PER_CLASS, Integers, PictureSets
from orchestrator.data.ppm import Pixels
from orchestrator.data.signs import SIDE, drawn_sign
from orchestrator.dataset import Synthetic
from orchestrator.environment import digest

CLASSES = len(SIGNS)
"""The signs of GTSRB."""

VERSION = 1
"""Increased when a change of code changes a picture."""

_TRAIN, _TEST = 0, 1


def sha256(parameters: Synthetic) -> str:
    """Hash of what the pictures are made from: the parameters and the version of this code."""
    return digest({"synthetic": parameters.model_dump(mode="json"), "version": VERSION})


def draw(parameters: Synthetic) -> PictureSets:
    """The drawn sets; no sign is in both."""
    return PictureSets(
        DrawnPictures(parameters, _TRAIN, parameters.tracks_per_class),
        DrawnPictures(parameters, _TEST, parameters.test_tracks_per_class),
    )


class _Scene(NamedTuple):
    """What all frames of a track share.

    light:      factor on all channels, and `cast` one for each.
    haze:       0 to 1, how far contrast is reduced towards grey.
    tilt:       radians by which the sign leans.
    far, near:  pixels of its side in the first and the last frame.
    background: (8, 8, 3) float32, enlarged behind the sign.
    roughness:  factor on blur and noise.
    """

    light: float
    cast: NDArray[np.float32]
    haze: float
    tilt: float
    far: float
    near: float
    background: NDArray[np.float32]
    roughness: float = 1.0


class DrawnPictures:
    """One set, ordered by class, track and frame; each picture is drawn when it is read."""

    def __init__(self, parameters: Synthetic, subset: int, tracks_per_class: int) -> None:
        self._seed = (parameters.seed, subset)
        self._is_clear = parameters.weather == "clear"
        self._frames = parameters.frames_per_track
        per_track = np.arange(CLASSES * tracks_per_class, dtype=np.int64)
        numbers = per_track // tracks_per_class * TRACKS_PER_CLASS + per_track % tracks_per_class
        self.tracks: Integers = np.repeat(numbers, self._frames)
        self.labels: Integers = self.tracks // TRACKS_PER_CLASS

    def sign(self, index: int) -> Pixels:
        """RGB (height, width, 3), 15 to 110 pixels a side, cropped with a margin like hand-marked signs."""
        track, frame = int(self.tracks[index]), index % self._frames
        scene = _scene(np.random.RandomState([*self._seed, track]))
        scene = _cleared(scene) if self._is_clear else scene
        nearness = frame / max(self._frames - 1, 1)
        side = scene.far * (scene.near / scene.far) ** nearness
        return _frame(np.random.RandomState([*self._seed, track, frame]), scene, int(self.labels[index]), side)


def _scene(rng: np.random.RandomState) -> _Scene:
    base = rng.uniform(30, 190) + rng.normal(0, 20, 3)
    far = rng.uniform(15, 32)
    return _Scene(
        light=float(np.exp(rng.normal(-0.35, 0.5))),
        cast=np.exp(rng.normal(0, 0.08, 3)).astype(np.float32),
        haze=float(rng.beta(1.2, 3.0)) * 0.7,
        tilt=rng.normal(0, 0.06),
        far=far,
        near=far * rng.uniform(1.6, 3.4),
        background=(base + rng.normal(0, 34, (8, 8, 1)) + rng.normal(0, 9, (8, 8, 3))).astype(np.float32),
    )


def _cleared(scene: _Scene) -> _Scene:
    """The scene in even light, without haze, and near enough to be read."""
    return scene._replace(
        light=scene.light**0.25,
        haze=scene.haze * 0.1,
        far=scene.far * 1.8,
        near=scene.far * 1.8 * 1.6,
        roughness=0.3,
    )


def _frame(rng: np.random.RandomState, scene: _Scene, label: int, side: float) -> Pixels:
    # The crop: the sign with a margin, off centre by about a pixel.
    width, height = (round(side * stretch) for stretch in rng.uniform(0.98, 1.12, 2))
    street = _floats(cv2.resize(scene.background, (width, height), interpolation=cv2.INTER_CUBIC))
    sign = _floats(cv2.warpPerspective(_sign(label, side), _pose(rng, scene, side, width, height), (width, height)))
    # Averaging with the black around it has already multiplied the sign's colours by its coverage.
    view = _lit(rng, scene, _floats(street * (1 - sign[..., 3:] / 255) + sign[..., :3]))
    blur = abs(rng.normal(0, 0.018)) * side * scene.roughness
    if blur > 0.3:
        view = _floats(cv2.GaussianBlur(view, (0, 0), sigmaX=blur, sigmaY=blur * rng.uniform(0.3, 1.0)))
    noise = rng.standard_normal(view.shape) * rng.uniform(1.0, 7.0) * scene.roughness
    return np.clip(view + noise, 0, 255).astype(np.uint8)


def _pose(rng: np.random.RandomState, scene: _Scene, side: float, width: int, height: int) -> NDArray[np.float64]:
    """Homography from the drawn sign to the crop: rotated, tilted, seen from the side, not quite centred."""
    angle = scene.tilt + rng.normal(0, 0.05)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * (side / 2)
    seen = corners @ turn.T + rng.normal(0, 0.035, (4, 2)) * side
    middle = np.array([width, height]) / 2 + rng.normal(0, 0.025, 2) * side
    edge = _sign(label=0, side=side).shape[0]
    square = np.array([[0, 0], [edge, 0], [edge, edge], [0, edge]], np.float32)
    return np.asarray(cv2.getPerspectiveTransform(square, (seen + middle).astype(np.float32)), np.float64)


def _lit(rng: np.random.RandomState, scene: _Scene, view: NDArray[np.float32]) -> NDArray[np.float32]:
    """Applies exposure, colour of the light, haze, and a gradient of light or the edge of a shadow."""
    height, width = view.shape[:2]
    angle = rng.uniform(0, 2 * np.pi)
    x = np.linspace(-1, 1, width, dtype=np.float32)
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    across = np.cos(angle, dtype=np.float32) * x + np.sin(angle, dtype=np.float32) * y
    slope = np.float32(rng.normal(0, 0.18))
    if rng.uniform() < 0.25:
        across = np.tanh((across - np.float32(rng.uniform(-0.6, 0.6))) * 12)
    light = np.float32(scene.light * np.exp(rng.normal(0, 0.12)))
    lit = view * (light * (1 + slope * across))[..., None] * scene.cast
    level = np.float32(min(150 * scene.light, 200))
    return _floats(lit + (level - lit) * np.float32(scene.haze))


def _floats(values: NDArray[Any]) -> NDArray[np.float32]:
    return np.asarray(values, np.float32)


@cache
def _levels(label: int) -> tuple[Pixels, ...]:
    """The drawn sign at SIDE, SIDE / 2, SIDE / 4 and SIDE / 8 pixels: warping never has to shrink it by two."""
    sign = drawn_sign(label)
    return tuple(
        np.asarray(cv2.resize(sign, (SIDE >> k, SIDE >> k), interpolation=cv2.INTER_AREA), np.uint8) for k in range(4)
    )


def _sign(label: int, side: float) -> Pixels:
    """The smallest drawing that is no smaller than `side` pixels, or the largest there is."""
    return next((level for level in reversed(_levels(label)) if level.shape[0] >= side), _levels(label)[0])
