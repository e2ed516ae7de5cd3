"""Drawn scenes: a few shapes in named colours, with a description of what was drawn."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

import PIL.Image

from enrich.drawings.canvas import Canvas, Colour, Point, arc, smooth

__all__ = ["COLOURS", "SHAPES", "Scene", "Shape", "draw_scene"]

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
_LARGE_RADIUS = (0.2, 0.24)
_SMALL_RADIUS = (0.08, 0.11)
_MARGIN = 0.03
_TRIES = 200


@dataclass(frozen=True, slots=True)
class Shape:
    """One shape of a scene.

    Parameters
    ----------
    name, colour : str
        A key of `SHAPES` and one of `COLOURS`.
    is_large : bool
        Large or small; nothing lies between.
    x, y, radius : float
        The circle around the shape, in 0..1 of the picture's edge.
    """

    name: str
    colour: str
    is_large: bool
    x: float
    y: float
    radius: float

    @property
    def words(self) -> str:
        """The shape in words: ``large red circle``."""
        return f"{'large' if self.is_large else 'small'} {self.colour} {self.name}"


@dataclass(frozen=True, slots=True)
class Scene:
    """What was drawn: the background's colour and the shapes, from left to right."""

    background: str
    shapes: tuple[Shape, ...]

    @property
    def sentence(self) -> str:
        """The scene in words, such as ``A large red circle and a small blue star on a white background.``."""
        named = [f"{'an' if shape.words[0] in 'aeiou' else 'a'} {shape.words}" for shape in self.shapes]
        listed = named[0] if len(named) == 1 else f"{', '.join(named[:-1])} and {named[-1]}"
        article = "an" if self.background[0] in "aeiou" else "a"
        return f"{listed[0].upper()}{listed[1:]} on {article} {self.background} background."


def draw_scene(rng: random.Random, size_px: int) -> tuple[PIL.Image.Image, Scene]:
    """Draw one to three shapes that do not overlap, each of another form and colour.

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
    scene = _compose(rng)
    canvas = Canvas(size_px, COLOURS[scene.background])
    for shape in scene.shapes:
        outline = SHAPES[shape.name]
        frame = canvas.frame(shape.x, shape.y, shape.radius, rng.uniform(-12.0, 12.0))
        frame.polygon(outline, COLOURS[shape.colour])
    return canvas.image(), scene


def _compose(rng: random.Random) -> Scene:
    background = rng.choice(sorted(COLOURS))
    contrasting = [
        colour
        for colour in sorted(COLOURS)
        if colour != background and frozenset((colour, background)) not in _ALIKE
    ]
    count = rng.randint(1, 3)
    names = rng.sample(sorted(SHAPES), count)
    colours = rng.sample(contrasting, count)
    shapes: list[Shape] = []
    for name, colour in zip(names, colours, strict=True):
        is_large = rng.random() < 0.5
        radius = rng.uniform(*(_LARGE_RADIUS if is_large else _SMALL_RADIUS))
        place = _free_place(rng, radius, shapes)
        if place is not None:
            shapes.append(Shape(name, colour, is_large, *place, radius))
    return Scene(background, tuple(sorted(shapes, key=lambda shape: shape.x)))


def _free_place(rng: random.Random, radius: float, taken: list[Shape]) -> Point | None:
    """Return a centre whose circle touches no other; None where the picture is too full."""
    for _ in range(_TRIES):
        x, y = (rng.uniform(radius + _MARGIN, 1 - radius - _MARGIN) for _ in range(2))
        if all(math.hypot(x - other.x, y - other.y) > radius + other.radius + _MARGIN for other in taken):
            return x, y
    return None


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


# Outlines within the unit circle.
SHAPES: dict[str, list[Point]] = {
    "circle": arc((0.0, 0.0), (0.92, 0.92), (0.0, 360.0)),
    "cross": _cross(),
    "heart": _heart(),
    "hexagon": _regular(6),
    "square": [(0.7, -0.7), (0.7, 0.7), (-0.7, 0.7), (-0.7, -0.7)],
    "star": _star(),
    "triangle": _regular(3),
}
