"""Drawn posters whose text can be read by a machine."""

from __future__ import annotations

import random

import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont

__all__ = ["draw_poster"]

_TITLES = ("SUMMER FAIR", "JAZZ NIGHT", "BOOK MARKET", "OPEN STUDIO", "FILM WEEK", "CITY RUN")
_DAYS = ("Saturday 12 June", "Friday 3 May", "Sunday 21 July", "Thursday 9 March")
_PLACES = ("Harbour Hall", "Old Town Square", "Museum Garden", "North Library")
_HOURS = ("Doors open 19:30", "Start at 10:00", "From 14:00 to 18:00")
# Paper, band and ink.
_PALETTES = (
    ((250, 244, 226), (200, 60, 50), (40, 36, 40)),
    ((226, 240, 246), (30, 80, 130), (24, 34, 54)),
    ((252, 252, 248), (40, 120, 90), (30, 40, 36)),
)


def draw_poster(rng: random.Random, size_px: int) -> tuple[PIL.Image.Image, tuple[str, ...]]:
    """Draw a poster with a title on a band and three lines below.

    Parameters
    ----------
    rng : random.Random
        Where all variation comes from; the text does not depend on ``size_px``.
    size_px : int
        The poster's height; it is three quarters as wide.

    Returns
    -------
    image : Image
        Mode RGB.
    lines : tuple of str
        The text, from top to bottom.
    """
    paper, band, ink = rng.choice(_PALETTES)
    lines = tuple(rng.choice(choices) for choices in (_TITLES, _DAYS, _PLACES, _HOURS))
    width, height = size_px * 3 // 4, size_px
    image = PIL.Image.new("RGB", (width, height), paper)
    draw = PIL.ImageDraw.Draw(image)
    draw.rectangle((0, height * 0.12, width, height * 0.36), fill=band)
    _write(draw, lines[0], (width / 2, height * 0.24), 0.84 * width, 0.14 * height, paper)
    for number, line in enumerate(lines[1:]):
        _write(draw, line, (width / 2, height * (0.52 + 0.14 * number)), 0.76 * width, 0.07 * height, ink)
    return image, lines


def _write(
    draw: PIL.ImageDraw.ImageDraw,
    text: str,
    centre: tuple[float, float],
    width_px: float,
    height_px: float,
    ink: tuple[int, int, int],
) -> None:
    """Write ``text`` around ``centre`` as large as the box allows."""
    font = PIL.ImageFont.load_default(height_px)
    length_px = draw.textlength(text, font=font)
    if length_px > width_px:
        font = PIL.ImageFont.load_default(height_px * width_px / length_px)
    draw.text(centre, text, fill=ink, font=font, anchor="mm")
