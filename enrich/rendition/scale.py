"""Downscaling that is fast, of high quality, and sparing with memory."""

from __future__ import annotations

import math

import PIL.Image
from PIL.Jpeg2KImagePlugin import Jpeg2KImageFile
from PIL.JpegImagePlugin import JpegImageFile

from enrich.rendition.colour import Simplifier

__all__ = ["decode_reduced", "fit", "shrink"]

# Averaging goes no further than to this multiple of the wanted size; the rest is left to the
# better filter, as Image.thumbnail does it. Source: Pillow's documentation of reducing_gap.
_GAP = 2

# Larger pictures are converted in bands of this many pixels.
_BAND_PIXELS = 1_000_000

_COD = b"\xff\x52"


def fit(width_px: int, height_px: int, size_px: int | None) -> tuple[int, int]:
    """Return the size with the longest edge at most ``size_px``, never enlarged, never under 1 px."""
    if size_px is None or size_px >= max(width_px, height_px):
        return width_px, height_px
    scale = size_px / max(width_px, height_px)
    return max(1, round(width_px * scale)), max(1, round(height_px * scale))


def decode_reduced(image: PIL.Image.Image, target: tuple[int, int]) -> tuple[int, int]:
    """Let the decoder make a smaller picture, where it can, of at least `_GAP` times the target size.

    Returns the size it will make.
    """
    wanted = (_GAP * target[0], _GAP * target[1])
    if isinstance(image, JpegImageFile):
        image.draft(None, wanted)
    elif isinstance(image, Jpeg2KImageFile):
        ratio = min(image.width / wanted[0], image.height / wanted[1])
        level = min(int(math.log2(max(1, ratio))), _resolutions(image))
        while not _rounds_alike(image.size, level):
            level -= 1
        image.reduce = level
        return -(-image.width >> level), -(-image.height >> level)
    return image.size


def shrink(image: PIL.Image.Image, target: tuple[int, int]) -> PIL.Image.Image:
    """Return a decoded picture at the target size, in mode L, RGB, CMYK or LAB, without transparency."""
    simplifier = Simplifier(image)
    factors = (max(1, int(image.width / target[0] / _GAP)), max(1, int(image.height / target[1] / _GAP)))
    small = image if simplifier.is_simple(image) else None
    if small is None:
        small = _banded(image, simplifier, factors)
    elif factors != (1, 1):
        # By its class: the JPEG 2000 plugin hides the method behind its own attribute.
        small = PIL.Image.Image.reduce(small, factors)
    if small.size == target:
        return small
    box = (0, 0, image.width / factors[0], image.height / factors[1])
    return small.resize(target, PIL.Image.Resampling.BICUBIC, box=box)


def _banded(image: PIL.Image.Image, simplifier: Simplifier, factors: tuple[int, int]) -> PIL.Image.Image:
    """Simplify and average band by band: a large picture is never there twice at full size."""
    rows = max(1, _BAND_PIXELS // image.width // factors[1]) * factors[1]
    if rows >= image.height:
        band = simplifier.simplify(image)
        return band if factors == (1, 1) else band.reduce(factors)
    small = None
    for top in range(0, image.height, rows):
        band = simplifier.simplify(image.crop((0, top, image.width, min(top + rows, image.height))))
        if factors != (1, 1):
            band = band.reduce(factors)
        if small is None:
            small = PIL.Image.new(band.mode, (band.width, -(-image.height // factors[1])))
        small.paste(band, (0, top // factors[1]))
    assert small is not None
    return small


def _rounds_alike(size: tuple[int, int], level: int) -> bool:
    """Tell whether Pillow, which rounds a reduced size, agrees with the decoder, which rounds up."""
    power = 1 << level
    return all((side + power // 2) // power == -(-side // power) for side in size)


def _resolutions(image: Jpeg2KImageFile) -> int:
    """Return how often a JPEG 2000 picture can be halved, from its coding style marker (COD)."""
    assert image.fp is not None
    position = image.fp.tell()
    image.fp.seek(0)
    head = image.fp.read(65536)
    image.fp.seek(position)
    # Marker, length, style, progression, layers, component transform, then the levels.
    # Source: ITU-T T.800, A.6.1.
    start = head.find(_COD, head.find(b"\xff\x4f\xff\x51"))
    return head[start + 9] if 0 < start < len(head) - 9 and head[start + 9] <= 32 else 0
