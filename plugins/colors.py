"""Dominant colours, with the names that CSS gives them.

The same pixels give the same colours: clustering starts from the picture, not from chance.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import PIL.ImageColor
import pydantic
from numpy.typing import NDArray

import enrich

__all__ = ["Options", "enrich_data", "revision", "size_px"]

revision = "1"
size_px = 256

# Two colours nearer than this in OKLab pass for one: five times the just noticeable difference of 0.02.
# Source: CSS Color 4, section 13 (gamut mapping), "deltaEOK".
_SAME_COLOR = 0.1

_MAX_ROUNDS = 20

# In naming, lightness counts half: a dark gray is nearer to black than to midnight blue.
# Source: CMC l:c = 2:1, the ratio for acceptable (not just perceptible) differences, ISO 105-J03.
_NAMING = np.array([0.5, 1.0, 1.0])

# CSS has two names for these; we say cyan, magenta and gray.
_ALIASES = {"aqua", "fuchsia"} | {name for name in PIL.ImageColor.colormap if "grey" in name}

# Linear sRGB -> cone responses, and their cube roots -> (L, a, b).
# Source: B. Ottosson, "A perceptual color space for image processing", 2020 (constants of 2021-01-25).
_RGB_TO_LMS = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_LMS_TO_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)
_LMS_TO_RGB = np.linalg.inv(_RGB_TO_LMS)
_LAB_TO_LMS = np.linalg.inv(_LMS_TO_LAB)


class Options(pydantic.BaseModel):
    """What a step may set."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    count: int = pydantic.Field(default=5, ge=1, le=16, description="The most colours to name.")


@enrich.hookimpl
def enrich_data(renditions: Sequence[enrich.Rendition], context: enrich.Context) -> list[dict[str, Any]]:
    """Return each picture's dominant colours, the largest first, and its average."""
    options: Options = context.options
    return [_describe(rendition.pixels, options.count) for rendition in renditions]


def _describe(pixels: NDArray[np.uint8], count: int) -> dict[str, Any]:
    colors, weights = _histogram(pixels)
    light = _to_linear(colors)
    centres, shares = _cluster(_to_oklab(light), weights, count)
    return {
        "colors": [
            {
                "name": _nearest_name(centre),
                "hex": _hex(_to_srgb(_from_oklab(centre))),
                # Rounded down, so that the shares never add up to more than 1.
                "share": math.floor(share * 1e4 + 1e-6) / 1e4,
            }
            for centre, share in zip(centres, shares, strict=True)
        ],
        "average": _hex(_to_srgb(weights @ light)),
    }


def _histogram(pixels: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the colours in use, 0..1, (N, 3), and the share of the pixels that each has, (N,).

    Pixels that agree in the upper four bits of each channel count as one colour, their mean.
    """
    flat = pixels.reshape(-1, 3)
    upper = (flat >> 4).astype(np.intp)
    codes = (upper[:, 0] << 8) | (upper[:, 1] << 4) | upper[:, 2]
    counts = np.bincount(codes)
    used = np.flatnonzero(counts)
    sums = np.stack([np.bincount(codes, weights=flat[:, channel])[used] for channel in range(3)], axis=1)
    return sums / counts[used, None] / 255, counts[used] / len(flat)


def _cluster(
    colors: NDArray[np.float64], weights: NDArray[np.float64], count: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return at most ``count`` cluster centres in OKLab, (K, 3), and their weights, heaviest first."""
    centres = colors[_seeds(colors, weights, count)]
    for _ in range(_MAX_ROUNDS):
        nearest = np.argmin(_squared_distances(colors, centres), axis=1)
        shares = np.bincount(nearest, weights=weights, minlength=len(centres)).astype(np.float64)
        sums = [np.bincount(nearest, weights=weights * axis, minlength=len(centres)) for axis in colors.T]
        filled = shares > 0
        before, shares = centres, shares[filled]
        centres = np.stack(sums, axis=1)[filled] / shares[:, None]
        if centres.shape == before.shape and np.allclose(centres, before, atol=1e-4):
            break
    order = np.argsort(-shares, kind="stable")
    return centres[order], shares[order]


def _seeds(colors: NDArray[np.float64], weights: NDArray[np.float64], count: int) -> list[int]:
    """Choose the commonest colour, then again and again what is both common and far from those chosen."""
    seeds = [int(np.argmax(weights))]
    distances = _squared_distances(colors, colors[seeds])[:, 0]
    while len(seeds) < count and distances.max() >= _SAME_COLOR**2:
        far = np.where(distances >= _SAME_COLOR**2, weights * distances, 0.0)
        seeds.append(int(np.argmax(far)))
        distances = np.minimum(distances, _squared_distances(colors, colors[seeds[-1:]])[:, 0])
    return seeds


def _squared_distances(colors: NDArray[np.float64], centres: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (N, K); the expanded square, which needs no array of (N, K, 3)."""
    distances: NDArray[np.float64] = (
        (colors**2).sum(axis=1)[:, None] - 2 * (colors @ centres.T) + (centres**2).sum(axis=1)
    )
    return distances


def _nearest_name(color: NDArray[np.float64]) -> str:
    names, places = _named_colors()
    return names[int(np.argmin(_squared_distances(color[None, :] * _NAMING, places)[0]))]


@functools.cache
def _named_colors() -> tuple[tuple[str, ...], NDArray[np.float64]]:
    """Return the named colours of CSS Color 4, a list that Pillow holds, and their OKLab times _NAMING."""
    names = tuple(name for name in sorted(PIL.ImageColor.colormap) if name not in _ALIASES)
    values = np.array([PIL.ImageColor.getrgb(name)[:3] for name in names]) / 255
    return names, _to_oklab(_to_linear(values)) * _NAMING


def _hex(color: NDArray[np.float64]) -> str:
    red, green, blue = np.rint(color * 255).astype(int)
    return f"#{red:02x}{green:02x}{blue:02x}"


def _to_linear(color: NDArray[np.float64]) -> NDArray[np.float64]:
    # Source: IEC 61966-2-1 (sRGB), as are the constants of the inverse.
    return np.where(color <= 0.04045, color / 12.92, ((color + 0.055) / 1.055) ** 2.4)


def _to_srgb(light: NDArray[np.float64]) -> NDArray[np.float64]:
    light = np.clip(light, 0.0, 1.0)
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)


def _to_oklab(light: NDArray[np.float64]) -> NDArray[np.float64]:
    lab: NDArray[np.float64] = np.cbrt(light @ _RGB_TO_LMS.T) @ _LMS_TO_LAB.T
    return lab


def _from_oklab(lab: NDArray[np.float64]) -> NDArray[np.float64]:
    light: NDArray[np.float64] = (lab @ _LAB_TO_LMS.T) ** 3 @ _LMS_TO_RGB.T
    return light
