"""Forty-three road signs drawn by code, numbered and shaped like the classes of GTSRB.

Coordinates run from -1 to 1 over the square around a sign, x to the right and y down.
"""

from collections.abc import Callable
from functools import partial

import cv2
import numpy as np

from orchestrator.data.ppm import Pixels

SIDE = 128  # pixels of a drawn sign; about that of the largest real ones
_FINE = 4 * SIDE  # drawn four times as large and averaged, so that edges are smooth

Colour = tuple[int, int, int]  # RGB
Points = list[tuple[float, float]]

RED, BLUE, YELLOW = (196, 30, 38), (28, 84, 166), (248, 190, 20)
WHITE, BLACK, GREY = (244, 244, 240), (24, 24, 26), (122, 122, 122)


class Board:
    """A square to draw on: RGB and, as a fourth channel, the sign (255) or the background (0)."""

    def __init__(self) -> None:
        self._canvas = np.zeros((_FINE, _FINE, 4), np.uint8)

    def polygon(self, points: Points, colour: Colour) -> None:
        """Filled."""
        cv2.fillPoly(self._canvas, [self._pixels(points)], (*colour, 255))

    def path(self, points: Points, colour: Colour, width: float) -> None:
        """A line through all points, `width` thick."""
        cv2.polylines(self._canvas, [self._pixels(points)], False, (*colour, 255), self._length(width))

    def disc(self, x: float, y: float, radius: float, colour: Colour, width: float | None = None) -> None:
        """Filled, or a ring of `width` around `radius`."""
        ((centre,),) = (self._pixels([(x, y)]).tolist(),)
        thickness = -1 if width is None else self._length(width)
        cv2.circle(self._canvas, centre, self._length(radius), (*colour, 255), thickness)

    def arrow(self, points: Points, colour: Colour, width: float) -> None:
        """A path with an arrow head at its end."""
        *_, before, tip = (np.array(point) for point in points)
        along = (tip - before) / np.hypot(*(tip - before))
        across = np.array([-along[1], along[0]])
        neck = tip - 1.7 * width * along
        self.path([*points[:-1], tuple(neck)], colour, width)
        head = [tip, neck + 1.3 * width * across, neck - 1.3 * width * across]
        self.polygon([(float(x), float(y)) for x, y in head], colour)

    def text(self, text: str, height: float, colour: Colour) -> None:
        """Centred at the origin."""
        font, thickness = cv2.FONT_HERSHEY_DUPLEX, self._length(height / 6)
        (_, tall), _ = cv2.getTextSize(text, font, 1, 1)
        scale = self._length(height) / tall
        (wide, tall), _ = cv2.getTextSize(text, font, scale, thickness)
        corner = ((_FINE - wide) // 2, (_FINE + tall) // 2)
        cv2.putText(self._canvas, text, corner, font, scale, (*colour, 255), thickness)

    def finished(self) -> Pixels:
        """(SIDE, SIDE, 4)."""
        return np.asarray(cv2.resize(self._canvas, (SIDE, SIDE), interpolation=cv2.INTER_AREA), np.uint8)

    @staticmethod
    def _pixels(points: Points) -> np.ndarray[tuple[int, int], np.dtype[np.int32]]:
        return np.array([[round((x + 1) * _FINE / 2), round((y + 1) * _FINE / 2)] for x, y in points], np.int32)

    @staticmethod
    def _length(length: float) -> int:
        return max(1, round(length * _FINE / 2))


Draw = Callable[[Board], None]


def _corners(count: int, radius: float, turn: float) -> Points:
    angles = [2 * np.pi * (turn + k) / count for k in range(count)]
    return [(radius * float(np.sin(angle)), -radius * float(np.cos(angle))) for angle in angles]


def _ban(*pictogram: Draw) -> Draw:
    """White disc, red ring."""

    def draw(board: Board) -> None:
        board.disc(0, 0, 0.97, RED)
        board.disc(0, 0, 0.72, WHITE)
        for part in pictogram:
            part(board)

    return draw


def _end(*pictogram: Draw) -> Draw:
    """White disc, everything on it in grey, struck through."""

    def draw(board: Board) -> None:
        board.disc(0, 0, 0.97, GREY)
        board.disc(0, 0, 0.9, WHITE)
        for part in pictogram:
            part(board)
        for shift in (-0.1, 0.0, 0.1):
            board.path([(-0.6 + shift, 0.6 + shift), (0.6 + shift, -0.6 + shift)], BLACK, 0.06)

    return draw


def _warning(*pictogram: Draw) -> Draw:
    """White triangle, red border."""

    def draw(board: Board) -> None:
        board.polygon([(0, -0.95), (0.98, 0.8), (-0.98, 0.8)], RED)
        board.polygon([(0, -0.58), (0.68, 0.62), (-0.68, 0.62)], WHITE)
        for part in pictogram:
            part(board)

    return draw


def _order(*arrows: Points) -> Draw:
    """Blue disc, white arrows."""

    def draw(board: Board) -> None:
        board.disc(0, 0, 0.97, WHITE)
        board.disc(0, 0, 0.92, BLUE)
        for points in arrows:
            board.arrow(points, WHITE, 0.2)

    return draw


def _text(text: str, height: float, colour: Colour = BLACK) -> Draw:
    return partial(Board.text, text=text, height=height, colour=colour)


def _path(points: Points, width: float = 0.12, colour: Colour = BLACK) -> Draw:
    return partial(Board.path, points=points, colour=colour, width=width)


def _arrow(points: Points, width: float = 0.12, colour: Colour = BLACK) -> Draw:
    return partial(Board.arrow, points=points, colour=colour, width=width)


def _shape(points: Points, colour: Colour = BLACK) -> Draw:
    return partial(Board.polygon, points=points, colour=colour)


def _dot(x: float, y: float, radius: float, colour: Colour = BLACK) -> Draw:
    return partial(Board.disc, x=x, y=y, radius=radius, colour=colour)


def _ring(x: float, y: float, radius: float, width: float = 0.07) -> Draw:
    return partial(Board.disc, x=x, y=y, radius=radius, colour=BLACK, width=width)


def _car(x: float, colour: Colour) -> tuple[Draw, ...]:
    body = [
        (x - 0.24, 0.16),
        (x - 0.24, -0.08),
        (x - 0.14, -0.26),
        (x + 0.14, -0.26),
        (x + 0.24, -0.08),
        (x + 0.24, 0.16),
    ]
    return _shape(body, colour), _dot(x - 0.15, 0.2, 0.08, colour), _dot(x + 0.15, 0.2, 0.08, colour)


def _truck(x: float, scale: float, colour: Colour) -> tuple[Draw, ...]:
    box = [(-0.5, 0.25), (-0.5, -0.35), (0.15, -0.35), (0.15, -0.1), (0.4, -0.1), (0.5, 0.08), (0.5, 0.25)]
    wheels = (_dot(x + side * scale, 0.28 * scale, 0.12 * scale, colour) for side in (-0.28, 0.3))
    return _shape([(x + px * scale, py * scale) for px, py in box], colour), *wheels


def _walker(x: float, scale: float) -> tuple[Draw, ...]:
    def at(points: Points) -> Points:
        return [(x + px * scale, 0.12 + py * scale) for px, py in points]

    return (
        _dot(x, 0.12 - 0.42 * scale, 0.11 * scale),
        _path(at([(0, -0.3), (0, 0.05), (-0.22, 0.45)]), 0.13 * scale),
        _path(at([(0, 0.05), (0.2, 0.45)]), 0.13 * scale),
        _path(at([(-0.24, 0.02), (0, -0.22), (0.24, -0.02)]), 0.1 * scale),
    )


def _stop(board: Board) -> None:
    board.polygon(_corners(8, 1.04, 0.5), WHITE)
    board.polygon(_corners(8, 0.97, 0.5), RED)
    board.text("STOP", 0.5, WHITE)


def _give_way(board: Board) -> None:
    board.polygon([(0, 0.95), (0.98, -0.8), (-0.98, -0.8)], RED)
    board.polygon([(0, 0.52), (0.62, -0.58), (-0.62, -0.58)], WHITE)


def _priority_road(board: Board) -> None:
    board.polygon(_corners(4, 0.98, 0), WHITE)
    board.polygon(_corners(4, 0.9, 0), BLACK)
    board.polygon(_corners(4, 0.86, 0), WHITE)
    board.polygon(_corners(4, 0.6, 0), YELLOW)


def _no_entry(board: Board) -> None:
    board.disc(0, 0, 0.97, RED)
    board.polygon([(-0.72, -0.16), (0.72, -0.16), (0.72, 0.16), (-0.72, 0.16)], WHITE)


def _roundabout(board: Board) -> None:
    _order()(board)
    for turn in range(3):
        angles = [2 * np.pi * (turn + part) / 3 for part in (0.0, 0.2, 0.4, 0.6, 0.85)]
        board.arrow([(0.5 * float(np.sin(a)), -0.5 * float(np.cos(a))) for a in reversed(angles)], WHITE, 0.15)


_SNOWFLAKE = [_path([(x, 0.2 + y), (-x, 0.2 - y)], 0.07) for x, y in _corners(6, 0.36, 0)[:3]]
_LIGHTS = [_dot(0, y, 0.13, colour) for y, colour in ((-0.14, RED), (0.16, YELLOW), (0.46, (30, 140, 70)))]
_BICYCLE = [_ring(-0.27, 0.36, 0.18), _ring(0.27, 0.36, 0.18)]
_FRAME = [_path([(-0.27, 0.36), (-0.1, 0.06), (0.16, 0.06), (0.27, 0.36), (0, 0.36), (-0.1, 0.06)], 0.06)]
_DEER = [(-0.42, 0.2), (0.2, 0.12), (0.3, -0.14), (0.42, -0.1), (0.32, 0.3), (0.2, 0.56), (0.12, 0.32), (-0.28, 0.34)]

DRAWINGS: tuple[Draw, ...] = (
    *(_ban(_text(limit, 0.74)) for limit in ("20", "30", "50", "60", "70", "80")),
    _end(_text("80", 0.74, GREY)),
    *(_ban(_text(limit, 0.58)) for limit in ("100", "120")),
    _ban(*_car(-0.3, RED), *_car(0.3, BLACK)),  # 9: no overtaking
    _ban(*_truck(-0.24, 0.7, RED), *_car(0.42, BLACK)),
    _warning(_arrow([(0, 0.55), (0, -0.4)], 0.16), _path([(-0.3, 0.2), (0.3, 0.2)], 0.1)),  # 11: priority at crossing
    _priority_road,
    _give_way,
    _stop,
    _ban(),  # 15: no vehicles
    _ban(*_truck(0, 1.0, BLACK)),
    _no_entry,
    _warning(_path([(0, -0.25), (0, 0.22)], 0.18), _dot(0, 0.46, 0.1)),  # 18: caution
    _warning(_arrow([(0.2, 0.54), (0.2, 0.2), (-0.3, -0.1)], 0.13)),
    _warning(_arrow([(-0.2, 0.54), (-0.2, 0.2), (0.3, -0.1)], 0.13)),
    _warning(_arrow([(-0.2, 0.56), (0.2, 0.3), (-0.16, 0.1), (0.1, -0.34)], 0.11)),  # 21: double curve
    _warning(_dot(-0.24, 0.42, 0.2), _dot(0.24, 0.42, 0.2), _path([(-0.56, 0.52), (0.56, 0.52)], 0.12)),
    _warning(
        _shape([(-0.2, 0.0), (-0.1, -0.2), (0.1, -0.2), (0.2, 0.0)]),
        _path([(-0.1, 0.5), (0.1, 0.1)], 0.08),
        _path([(0.1, 0.5), (-0.1, 0.1)], 0.08),
    ),  # 23: slippery
    _warning(
        _path([(-0.22, 0.54), (-0.22, -0.1)], 0.11),
        _path([(0.22, 0.54), (0.22, 0.24), (0.06, 0.0), (0.06, -0.2)], 0.11),
    ),
    _warning(
        _shape([(0.05, 0.54), (0.28, 0.26), (0.52, 0.54)]),
        _path([(-0.3, 0.52), (-0.16, 0.2), (0.1, 0.3)], 0.1),
        _dot(-0.12, -0.02, 0.12),
    ),  # 25: road works
    _warning(*_LIGHTS),
    _warning(_shape([(-0.5, 0.56), (-0.4, 0.42), (0.4, 0.42), (0.5, 0.56)], GREY), *_walker(0, 0.85)),
    _warning(*_walker(-0.22, 0.75), *_walker(0.24, 0.6)),  # 28: children
    _warning(*_BICYCLE, *_FRAME),
    _warning(*_SNOWFLAKE),
    _warning(_shape(_DEER), _path([(0.32, -0.1), (0.2, -0.3)], 0.06), _path([(-0.34, 0.3), (-0.38, 0.56)], 0.09)),
    _end(),  # 32: end of all limits
    _order([(-0.3, 0.6), (-0.3, -0.1), (0.62, -0.1)]),
    _order([(0.3, 0.6), (0.3, -0.1), (-0.62, -0.1)]),
    _order([(0, 0.66), (0, -0.68)]),
    _order([(-0.3, 0.62), (-0.3, -0.64)], [(-0.3, 0.3), (0.1, 0.1), (0.6, 0.1)]),
    _order([(0.3, 0.62), (0.3, -0.64)], [(0.3, 0.3), (-0.1, 0.1), (-0.6, 0.1)]),
    _order([(-0.45, -0.45), (0.5, 0.5)]),
    _order([(0.45, -0.45), (-0.5, 0.5)]),
    _roundabout,  # 40
    _end(*_car(-0.3, GREY), *_car(0.3, GREY)),
    _end(*_truck(-0.24, 0.7, GREY), *_car(0.42, GREY)),
)


def drawn_sign(label: int) -> Pixels:
    """The sign of class `label`, RGB and coverage, (SIDE, SIDE, 4)."""
    board = Board()
    DRAWINGS[label](board)
    return board.finished()
