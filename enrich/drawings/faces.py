"""Drawn faces in five apparent age groups."""

from __future__ import annotations

import random

import PIL.Image

from enrich.drawings.canvas import Canvas, Colour, mirrored, mixed, smooth
from enrich.drawings.features import draw_features
from enrich.drawings.hair import draw_hair_behind, draw_hair_over
from enrich.drawings.look import AGE_GROUPS, Look, look_of

__all__ = ["AGE_GROUPS", "draw_face"]

_WHITE: Colour = (250, 250, 250)


def draw_face(rng: random.Random, age_group: str, size_px: int) -> PIL.Image.Image:
    """Draw a face of ``age_group``, shoulders and background included.

    The same state of ``rng`` gives the same picture; the choice of the face does not depend on
    ``size_px``.

    Parameters
    ----------
    rng : random.Random
        Where all variation comes from.
    age_group : str
        One of `AGE_GROUPS`.
    size_px : int
        The edge of the square picture.

    Returns
    -------
    Image
        Mode RGB, (size_px, size_px).
    """
    look = look_of(rng, age_group)
    canvas = Canvas(size_px, look.background)
    x, y = 0.5 + rng.uniform(-0.04, 0.04), 0.48 + rng.uniform(-0.03, 0.03)
    canvas.ellipse((x, y + 0.02), (0.43, 0.43), look.disc)
    body = canvas.frame(x, y, look.head_size)
    head = canvas.frame(x, y, look.head_size, rng.uniform(-8.0, 8.0))
    draw_hair_behind(head, look)
    _draw_body(body, look)
    _draw_head(head, look)
    draw_features(head, look)
    draw_hair_over(head, look)
    _draw_extra(head, look)
    return canvas.image()


def _draw_body(canvas: Canvas, look: Look) -> None:
    neck = 0.3 + 0.16 * (look.shoulders - 1.0)
    canvas.polygon([(-neck, 0.5), (neck, 0.5), (neck * 1.1, 1.4), (-neck * 1.1, 1.4)], look.shade)
    width, dark = look.shoulders, mixed(look.clothing, (0, 0, 0), 0.3)
    half = [
        (0.0, 1.2),
        (neck, 1.16),
        (0.62 * width, 1.32),
        (0.92 * width, 1.55),
        (1.05 * width, 2.2),
        (width, 3.0),
    ]
    canvas.polygon(smooth(mirrored([*half, (0.0, 3.0)])), look.clothing)
    if look.clothes in ("tee", "stripes", "dungarees"):
        canvas.ellipse((0.0, 1.14), (neck * 1.15, 0.22), look.shade, degrees=(0.0, 180.0))
    if look.clothes == "stripes":
        for y in (1.55, 1.85, 2.15):
            canvas.stroke([(-0.8 * width, y), (0.8 * width, y)], 0.12, _WHITE)
    elif look.clothes == "dungarees":
        canvas.polygon([(-0.45, 1.62), (0.45, 1.62), (0.5, 3.0), (-0.5, 3.0)], dark)
        for side in (-1, 1):
            canvas.stroke([(side * 0.38, 1.65), (side * 0.5, 1.3)], 0.14, dark)
    elif look.clothes == "hoodie":
        canvas.polygon(
            smooth(
                [(-0.8, 1.2), (0.0, 1.52), (0.8, 1.2), (0.55, 1.02), (0.0, 1.36), (-0.55, 1.02)], closed=True
            ),
            dark,
        )
        for side in (-1, 1):
            canvas.stroke([(side * 0.16, 1.45), (side * 0.18, 1.95)], 0.05, _WHITE)
    elif look.clothes != "tee":
        _draw_collar(canvas, look, neck, dark)


def _draw_collar(canvas: Canvas, look: Look, neck: float, dark: Colour) -> None:
    """Shirts, blouses, suits and cardigans open in a V."""
    if look.clothes in ("blouse", "shirt"):
        canvas.polygon([(-neck, 1.12), (neck, 1.12), (0.0, 1.62)], look.shade)
    else:
        canvas.polygon([(-neck * 1.2, 1.1), (neck * 1.2, 1.1), (0.0, 2.3)], _WHITE)
        canvas.polygon([(-neck * 0.8, 1.1), (neck * 0.8, 1.1), (0.0, 1.4)], look.shade)
    if look.clothes == "suit":
        canvas.polygon([(-0.1, 1.4), (0.1, 1.4), (0.15, 2.0), (0.0, 2.25), (-0.15, 2.0)], (170, 40, 50))
    for side in (-1, 1):
        if look.clothes == "cardigan":
            canvas.stroke([(side * neck * 1.2, 1.12), (0.0, 2.3)], 0.13, dark)
        else:
            collar = [
                (side * neck, 1.08),
                (side * (neck + 0.22), 1.3),
                (side * 0.24, 1.62),
                (side * 0.05, 1.5),
            ]
            canvas.polygon(collar, dark)


def _draw_head(canvas: Canvas, look: Look) -> None:
    w = look.width
    for side in (-1, 1):
        canvas.ellipse((side * (w + 0.03), look.eye_y + 0.16), (look.ear * 0.75, look.ear * 1.3), look.shade)
    half = [
        (0.0, -1.0),
        (0.55 * w, -0.91),
        (0.91 * w, -0.5),
        (w, 0.0),
        (0.985 * w, 0.3),
        (look.jaw * w, 0.66),
        (look.chin * w, 0.93),
        (0.0, 1.0),
    ]
    canvas.polygon(smooth(mirrored(half), closed=True), look.skin)


def _draw_extra(canvas: Canvas, look: Look) -> None:
    w = look.width
    if look.extra == "headphones":
        canvas.stroke(
            smooth([(-1.1 * w, 0.1), (-1.0 * w, -0.8), (0.0, -1.26), (1.0 * w, -0.8), (1.1 * w, 0.1)]),
            0.11,
            (50, 50, 56),
        )
        for side in (-1, 1):
            canvas.ellipse((side * 1.12 * w, 0.18), (0.17, 0.28), (50, 50, 56))
    elif look.extra == "bow":
        for side in (-1, 1):
            canvas.polygon(
                [(0.4 * w, -0.98), (0.4 * w + side * 0.3, -1.18), (0.4 * w + side * 0.3, -0.78)],
                (230, 60, 110),
            )
        canvas.ellipse((0.4 * w, -0.98), (0.1, 0.1), (190, 40, 90))
    elif look.extra == "earrings":
        for side in (-1, 1):
            canvas.ellipse((side * 1.08 * w, look.eye_y + 0.46), (0.075, 0.075), (240, 200, 70))
