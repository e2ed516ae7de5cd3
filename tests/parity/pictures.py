"""Twenty pictures of odd sizes, the same on every machine: integers from a seed, no drawing library."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["CHOSEN", "odd_pictures"]

# Width and height in px.
_SIZES = (
    (1, 1),
    (1, 37),
    (37, 1),
    (1, 200),
    (3, 2),
    (2, 3),
    (5, 4),
    (7, 60),
    (60, 7),
    (31, 33),
    (32, 32),
    (48, 48),
    (64, 48),
    (100, 80),
    (33, 500),
    (427, 640),
    (640, 427),
    (999, 750),
    (1600, 1200),
    (1201, 1599),
)

#: Those that captions and answers are made for: a strip, a tiny one, portrait, landscape, large.
CHOSEN = (6, 8, 15, 16, 18)


def odd_pictures() -> list[NDArray[np.uint8]]:
    """Return the pictures, each uint8, (H, W, 3), RGB: coloured blocks under a slope, and some noise."""
    return [_picture(index, width, height) for index, (width, height) in enumerate(_SIZES)]


def _picture(seed: int, width: int, height: int) -> NDArray[np.uint8]:
    rng = np.random.default_rng(seed)
    edge = max(1, max(width, height) // (3 + seed % 5))
    blocks = rng.integers(0, 160, (-(-height // edge), -(-width // edge), 3))
    pixels = blocks.repeat(edge, axis=0).repeat(edge, axis=1)[:height, :width]
    slope = np.linspace(0, 64, width).astype(np.int64)[None, :, None]
    noise = rng.integers(0, 32, (height, width, 1))
    return (pixels + slope + noise).astype(np.uint8)
