"""Drawn scenes: a few shapes in named colours, with a description of what was drawn."""

from __future__ import annotations

import itertools
import math
import random
from dataclasses import dataclass

import PIL.Image

from enrich.drawings.canvas import Canvas, Colour, Point, arc, smooth

__all__ = ["COLOURS", "PLACES", "SHAPES", "Scene", "Shape", "compose_scene", "draw_scene"]

COLOURS: dict[str, Colour] = {
    "red": (214, 40, 40),
    "orange": (244, 130, 30),
    "yellow": (250, 212, 50),
    "green": (46, 150, 74),
    "blue": (40, 90, 200),
    "purple": (126, 58, 170),
    "pink": (244, 140, 180),
    "brown": (120, 74, 40),
    "grey": (138, 138, 138),
    "black": (24, 24, 24),
    "white": (250, 250, 250),
}

# Colours that are told apart with difficulty when one lies on the other.
_ALIKE = frozenset(
    frozenset(pair)
    for pair in (
        ("red", "orange"),
        ("red", "brown"),
        ("red", "pink"),
        ("orange", "yellow"),
        ("orange", "brown"),
        ("blue", "purple"),
        ("brown", "black"),
        ("purple", "brown"),
        ("green", "grey"),
        ("purple", "black"),
    )
)
_LARGE_RADIUS = (0.19, 0.205)
_SMALL_RADIUS = (0.125, 0.14)
# Between sizes, and between places, lies a gap: no drawing is a matter of opinion.
_CENTRES = (0.21, 0.5, 0.79)
_JITTER = 0.04
_MARGIN = 0.01
_GAP = 0.02

#: The places of a scene, row by row from the top left.
PLACES = (
    "top left",
    "top",
    "top right",
    "left",
    "centre",
    "right",
    "bottom left",
    "bottom",
    "bottom right",
)


@dataclass(frozen=True, slots=True)
class Shape:
    """One shape of a scene.

    Parameters
    ----------
    kind, colour : str
        A key of `SHAPES` and one of `COLOURS`.
    is_large : bool
        Large or small; nothing lies between.
    place : str
        One of `PLACES`.
    x, y, radius : float
        The circle around the shape, in 0..1 of the picture's edge.
    """

    kind: str
    colour: str
    is_large: bool
    place: str
    x: float
    y: float
    radius: float


@dataclass(frozen=True, slots=True)
class Scene:
    """What was drawn: the background's colour and the shapes in reading order (row by row, from the left)."""

    background: str
    shapes: tuple[Shape, ...]


def draw_scene(rng: random.Random, size_px: int) -> tuple[PIL.Image.Image, Scene]:
    """Draw one to three shapes that do not overlap, each of another kind, colour and place.

    Parameters
    ----------
    rng : random.Random
        Where all variation comes from; the scene does not depend on ``size_px``.
    size_px : int
        The edge of the square picture.

    Returns
    -------
    image : Image
        Mode RGB, (size_px, size_px).
    scene : Scene
        What is to be seen on it.
    """
    scene = compose_scene(rng)
    canvas = Canvas(size_px, COLOURS[scene.background])
    for shape in scene.shapes:
        frame = canvas.frame(shape.x, shape.y, shape.radius, rng.uniform(-12.0, 12.0))
        frame.polygon(SHAPES[shape.kind], COLOURS[shape.colour])
    return canvas.image(), scene


def compose_scene(rng: random.Random) -> Scene:
    """Choose what ``draw_scene`` draws with the same ``rng``."""
    background = rng.choice(sorted(COLOURS))
    contrasting = [
        colour
        for colour in sorted(COLOURS)
        if colour != background and frozenset((colour, background)) not in _ALIKE
    ]
    count = rng.randint(1, 3)
    kinds = rng.sample(sorted(SHAPES), count)
    colours = rng.sample(contrasting, count)
    sizes = [rng.random() < 0.5 for _ in range(count)]
    while True:
        shapes = [
            _placed(rng, *looks)
            for looks in zip(kinds, colours, sizes, rng.sample(range(len(PLACES)), count), strict=True)
        ]
        if not any(_touch(one, other) for one, other in itertools.combinations(shapes, 2)):
            return Scene(background, tuple(sorted(shapes, key=lambda shape: PLACES.index(shape.place))))


def _placed(rng: random.Random, kind: str, colour: str, is_large: bool, place: int) -> Shape:
    radius = rng.uniform(*(_LARGE_RADIUS if is_large else _SMALL_RADIUS))
    y, x = (_near(rng, _CENTRES[line], radius) for line in divmod(place, 3))
    return Shape(kind, colour, is_large, PLACES[place], x, y, radius)


def _near(rng: random.Random, centre: float, radius: float) -> float:
    edge = radius + _MARGIN
    return min(max(centre + rng.uniform(-_JITTER, _JITTER), edge), 1 - edge)


def _touch(one: Shape, other: Shape) -> bool:
    return math.hypot(one.x - other.x, one.y - other.y) < one.radius + other.radius + _GAP


def _regular(corners: int) -> list[Point]:
    turns = [math.tau * corner / corners - math.pi / 2 for corner in range(corners)]
    return [(math.cos(turn), math.sin(turn)) for turn in turns]


def _star() -> list[Point]:
    points = _regular(10)
    return [(x * 0.42, y * 0.42) if number % 2 else (x, y) for number, (x, y) in enumerate(points)]


def _heart() -> list[Point]:
    right = [(0.0, -0.45), (0.3, -0.78), (0.72, -0.68), (0.84, -0.25), (0.5, 0.3), (0.0, 0.85)]
    return [*smooth(right), *((-x, y) for x, y in reversed(smooth(right)))]


def _cross() -> list[Point]:
    arm, reach = 0.3, 0.9
    corner = [(arm, -reach), (arm, -arm), (reach, -arm), (reach, arm), (arm, arm), (arm, reach)]
    return [*corner, *((-x, -y) for x, y in corner)]


def _moon() -> list[Point]:
    # A disc less a smaller one to its right: along the outer edge from tip to tip, and back along the inner.
    return [*arc((0.0, 0.0), (0.92, 0.92), (47.4, 312.6)), *arc((0.8, 0.0), (0.7, 0.7), (255.3, 104.7))]


# Outlines within the unit circle.
SHAPES: dict[str, list[Point]] = {
    "circle": arc((0.0, 0.0), (0.92, 0.92), (0.0, 360.0)),
    "cross": _cross(),
    "heart": _heart(),
    "moon": _moon(),
    "square": [(0.7, -0.7), (0.7, 0.7), (-0.7, 0.7), (-0.7, -0.7)],
    "star": _star(),
    "triangle": _regular(3),
}
