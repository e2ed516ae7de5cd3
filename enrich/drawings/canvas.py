"""Flat, antialiased shapes in frames that can be moved, scaled and tilted."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
import PIL.Image
import PIL.ImageDraw

__all__ = ["Canvas", "Colour", "Point", "arc", "mirrored", "mixed", "smooth"]

Colour = tuple[int, int, int]
Point = tuple[float, float]

# Shapes are drawn this many times too large and averaged down; large pictures have fine edges anyway.
_SUPERSAMPLING = 4
_SUPERSAMPLING_LARGE = 2
_LARGE_PX = 600


class Canvas:
    """A square picture on which flat shapes are drawn.

    Points are (x, y) with y downwards. The picture itself is the frame 0..1 in both directions;
    ``frame`` returns the same picture seen through another frame.

    Parameters
    ----------
    size_px : int
        The picture's edge.
    background : tuple of int
        Its colour, RGB, 0..255.
    """

    def __init__(self, size_px: int, background: Colour) -> None:
        self._times = _SUPERSAMPLING_LARGE if size_px > _LARGE_PX else _SUPERSAMPLING
        edge = size_px * self._times
        self._image = PIL.Image.new("RGB", (edge, edge), background)
        self._draw = PIL.ImageDraw.Draw(self._image)
        self._origin: Point = (0.0, 0.0)
        self._scale = float(edge)
        self._tilt = 0.0

    def frame(self, x: float, y: float, scale: float, tilt_degrees: float = 0.0) -> Canvas:
        """Return this picture with its origin at (x, y), ``scale`` as the unit, turned clockwise."""
        framed = object.__new__(Canvas)
        framed._times, framed._image, framed._draw = self._times, self._image, self._draw
        framed._origin = self._to_px([(x, y)])[0]
        framed._scale = self._scale * scale
        framed._tilt = self._tilt + math.radians(tilt_degrees)
        return framed

    def polygon(self, points: Iterable[Point], colour: Colour) -> None:
        """Fill the area that ``points`` enclose."""
        self._draw.polygon(self._to_px(points), fill=colour)

    def ellipse(
        self,
        centre: Point,
        radii: Point,
        colour: Colour,
        *,
        degrees: tuple[float, float] = (0.0, 360.0),
    ) -> None:
        """Fill an ellipse, or the segment of it between two angles (clockwise, 0 is to the right)."""
        self.polygon(arc(centre, radii, degrees), colour)

    def stroke(self, points: Sequence[Point], width: float, colour: Colour) -> None:
        """Draw a line with round ends through ``points``."""
        dots = self._to_px(points)
        width_px = max(1.0, width * self._scale)
        self._draw.line(dots, fill=colour, width=round(width_px), joint="curve")
        radius = width_px / 2
        for x, y in (dots[0], dots[-1]):
            self._draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)

    def ring(self, centre: Point, radii: Point, width: float, colour: Colour) -> None:
        """Draw an ellipse's outline."""
        self.stroke(arc(centre, radii, (0.0, 360.0)), width, colour)

    def image(self) -> PIL.Image.Image:
        """Return the finished picture, mode RGB."""
        return self._image.reduce(self._times)

    def _to_px(self, points: Iterable[Point]) -> list[Point]:
        cosine, sine = math.cos(self._tilt) * self._scale, math.sin(self._tilt) * self._scale
        left, top = self._origin
        return [(left + x * cosine - y * sine, top + x * sine + y * cosine) for x, y in points]


def arc(centre: Point, radii: Point, degrees: tuple[float, float]) -> list[Point]:
    """Return points along an ellipse, clockwise from the first angle to the second."""
    steps = max(8, round(abs(degrees[1] - degrees[0]) / 6))
    angles = [
        math.radians(degrees[0] + (degrees[1] - degrees[0]) * step / steps) for step in range(steps + 1)
    ]
    return [
        (centre[0] + radii[0] * math.cos(angle), centre[1] + radii[1] * math.sin(angle)) for angle in angles
    ]


def smooth(points: Sequence[Point], *, closed: bool = False, steps: int = 10) -> list[Point]:
    """Return a curve through ``points`` (a Catmull-Rom spline, ``steps`` pieces from one to the next)."""
    knots = np.asarray(points, dtype=np.float64)
    around = (
        np.vstack([knots[-1:], knots, knots[:2]]) if closed else np.vstack([knots[:1], knots, knots[-1:]])
    )
    before, start, end, after = around[:-3], around[1:-2], around[2:-1], around[3:]
    place = (np.arange(steps) / steps)[:, None, None]
    curve = 0.5 * (
        2 * start
        + (end - before) * place
        + (2 * before - 5 * start + 4 * end - after) * place**2
        + (3 * (start - end) + after - before) * place**3
    )
    # Axes are (step, segment, 2): go segment by segment.
    dots = np.swapaxes(curve, 0, 1).reshape(-1, 2)
    if not closed:
        dots = np.vstack([dots, knots[-1:]])
    return [(float(x), float(y)) for x, y in dots]


def mirrored(right: Sequence[Point]) -> list[Point]:
    """Return ``right``, a half outline from top to bottom, followed by its mirror image back to the top."""
    return [*right, *((-x, y) for x, y in reversed(right) if x != 0.0)]


def mixed(first: Colour, second: Colour, share: float) -> Colour:
    """Return ``first`` with ``share`` (0..1) of ``second`` in it."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return red, green, blue
