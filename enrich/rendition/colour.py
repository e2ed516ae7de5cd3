"""Any Pillow mode to 8 bit RGB in sRGB, with transparency flattened on white.

The work is cut in two so that large pictures need little memory: `Simplifier` brings a band of any
mode to one that can be averaged (L, RGB, CMYK, LAB), and `to_srgb` converts the small result.
"""

from __future__ import annotations

import io
import math

import numpy as np
import PIL.Image
from numpy.typing import NDArray
from PIL import ImageCms

__all__ = ["Simplifier", "to_srgb"]

_WITH_ALPHA = {"LA", "PA", "RGBA", "La", "RGBa"}
_SIXTEEN_BITS = {"I;16", "I;16L", "I;16B", "I;16N"}
_PLAIN = {"L", "RGB", "CMYK", "LAB"}
_BITS_PER_SAMPLE = 258

# What an ICC profile calls the colour spaces of our modes.
_PROFILE_SPACES = {"L": "GRAY", "RGB": "RGB ", "CMYK": "CMYK", "LAB": "Lab "}


class Simplifier:
    """Brings bands of one decoded picture to 8 bits without transparency.

    Parameters
    ----------
    image : PIL.Image.Image
        The whole picture: what the numbers mean may depend on their range over all of it.
    """

    def __init__(self, image: PIL.Image.Image) -> None:
        self._low, self._high = _range(image)

    @staticmethod
    def is_simple(image: PIL.Image.Image) -> bool:
        """Tell whether the picture is as `simplify` would return it."""
        return image.mode in _PLAIN and image.info.get("transparency") is None

    def simplify(self, band: PIL.Image.Image) -> PIL.Image.Image:
        """Return the band in mode L, RGB, CMYK or LAB."""
        if self.is_simple(band):
            return band
        transparency = band.info.get("transparency")
        if band.mode in _SIXTEEN_BITS or band.mode in ("I", "F"):
            return self._scaled(band, transparency)
        if band.mode in _WITH_ALPHA or transparency is not None:
            return _flattened(band)
        if band.mode == "1":
            return band.convert("L")
        return band.convert("RGB")

    def _scaled(self, band: PIL.Image.Image, transparency: object) -> PIL.Image.Image:
        """Map the numbers from the picture's range to 0..255."""
        numbers: NDArray[np.float32] = np.asarray(band).astype(np.float32)
        grey = np.nan_to_num((numbers - self._low) * (255 / (self._high - self._low)), nan=0.0)
        if isinstance(transparency, int):
            grey[numbers == transparency] = 255
        return PIL.Image.fromarray((np.clip(grey, 0, 255) + 0.5).astype(np.uint8))


def to_srgb(image: PIL.Image.Image, profile: bytes | None) -> PIL.Image.Image:
    """Return a picture of mode L, RGB, CMYK or LAB as RGB in sRGB.

    A profile that is broken, or of another colour space than the picture, is ignored: without one,
    L and RGB count as sRGB and CMYK is converted by formula.
    """
    if profile:
        try:
            return _converted(image, profile)
        except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
            pass
    return image if image.mode == "RGB" else image.convert("RGB")


def _converted(image: PIL.Image.Image, profile: bytes) -> PIL.Image.Image:
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    space = source.profile.xcolor_space
    if image.mode == "L" and space == "RGB ":
        image = image.convert("RGB")
    if space != _PROFILE_SPACES[image.mode]:
        raise ValueError(f"a {space.strip()} profile in a picture of mode {image.mode}")
    transform = ImageCms.buildTransform(
        source,
        ImageCms.createProfile("sRGB"),
        image.mode,
        "RGB",
        ImageCms.Intent.RELATIVE_COLORIMETRIC,
        ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    return transform.apply(image)


def _flattened(band: PIL.Image.Image) -> PIL.Image.Image:
    """Lay the band over white."""
    is_grey = band.mode in ("1", "L", "LA", "La")
    if band.mode == "La":
        band = band.convert("LA")
    if band.mode != "LA" or not is_grey:
        band = band.convert("RGBA")
    white = PIL.Image.new("L" if is_grey else "RGB", band.size, "white")
    white.paste(band.convert("L") if is_grey else band.convert("RGB"), mask=band.getchannel("A"))
    return white


def _range(image: PIL.Image.Image) -> tuple[float, float]:
    """Return which numbers mean black and white in a picture of more than 8 bits."""
    if image.mode in _SIXTEEN_BITS:
        return 0.0, float(2 ** _significant_bits(image) - 1)
    if image.mode not in ("I", "F"):
        return 0.0, 255.0
    low, high = _extrema(image)
    if low >= 0:
        # Most writers mean 0..1 in floats, and 8 or 16 bits in integers.
        limits = (1.0, 255.0, 65535.0) if image.mode == "F" else (255.0, 65535.0)
        for limit in limits:
            if high <= limit:
                return 0.0, limit
    return (low, high) if high > low else (low, low + 1)


def _significant_bits(image: PIL.Image.Image) -> int:
    """Return 9 to 16: TIFF files may use fewer bits than they store."""
    tags = getattr(image, "tag_v2", {})
    bits = tags.get(_BITS_PER_SAMPLE, (16,))[0]
    return bits if isinstance(bits, int) and 8 < bits < 16 else 16


def _extrema(image: PIL.Image.Image) -> tuple[float, float]:
    """Return the least and the greatest finite number, band by band to save memory."""
    low, high = math.inf, -math.inf
    rows = max(1, 1_000_000 // image.width)
    for top in range(0, image.height, rows):
        numbers = np.asarray(image.crop((0, top, image.width, min(top + rows, image.height))))
        numbers = numbers[np.isfinite(numbers)]
        if numbers.size:
            low, high = min(low, float(numbers.min())), max(high, float(numbers.max()))
    return (low, high) if math.isfinite(low) else (0.0, 1.0)
