"""Technical quality: sharpness, noise and exposure, measured and judged.

The numbers are of the rendition, not of the original: scaling down sharpens and removes noise, so
they compare pictures that were seen at the same ``size_px``. docs/plugins.md defines each of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pydantic
from numpy.typing import NDArray

import enrich

__all__ = ["Options", "enrich_data", "revision", "size_px"]

revision = "1"
size_px = 1024

# Source: ITU-R BT.601-7 section 2.5.1 (luma), BT.709-6 item 3.2 (luminance).
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_LUMINANCE = np.array([0.2126, 0.7152, 0.0722], np.float32)

# sRGB levels 0..255 -> linear light 0..1. Source: IEC 61966-2-1.
_LEVELS = np.arange(256) / 255
_LINEAR = np.where(_LEVELS <= 0.04045, _LEVELS / 12.92, ((_LEVELS + 0.055) / 1.055) ** 2.4).astype(np.float32)

# The reflectance that light meters are set to.
_MIDDLE_GRAY = 0.18

# Luma that holds no detail any more, of 0..255.
_BLACK, _WHITE = 2, 253

# The picture is judged in up to so many parts each way, none under so many pixels: a portrait before
# a soft background is sharp.
_PARTS, _PART_PX = 4, 32

# Under this standard deviation of luma there is nothing in a picture that could be sharp.
_FEATURELESS = 2.0

# A picture whose border is so white (all channels, share of the border) is a document or a cut-out.
_BACKDROP, _BACKDROP_SHARE = 250, 0.4


class Options(pydantic.BaseModel):
    """What a step may set."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    blurred_below: float = pydantic.Field(
        default=50.0, ge=0, description="A picture of less sharpness is called blurred."
    )
    underexposed_below: float = pydantic.Field(
        default=-2.0, le=0, description="A picture of less exposure (stops) is called underexposed."
    )
    overexposed_above: float = pydantic.Field(
        default=0.25, ge=0, le=1, description="A picture of more clipped highlights is called overexposed."
    )


@enrich.hookimpl
def enrich_data(renditions: Sequence[enrich.Rendition], context: enrich.Context) -> list[dict[str, Any]]:
    """Return each picture's measures and verdicts; None where it gives nothing to judge by."""
    return [_describe(rendition.pixels, context.options) for rendition in renditions]


def _describe(pixels: NDArray[np.uint8], options: Options) -> dict[str, Any]:
    luma = pixels @ _LUMA
    sharpness, noise = _sharpness(luma), _noise(luma)
    exposure = _exposure(pixels)
    clipped_highlights = float((luma >= _WHITE).mean())
    has_features = float(luma.std()) >= _FEATURELESS
    return {
        "sharpness": _rounded(sharpness, 1),
        "noise": _rounded(noise, 2),
        "exposure": _rounded(exposure, 2),
        "clipped_shadows": _rounded(float((luma <= _BLACK).mean()), 4),
        "clipped_highlights": _rounded(clipped_highlights, 4),
        "is_blurred": sharpness < options.blurred_below if sharpness is not None and has_features else None,
        "is_underexposed": exposure < options.underexposed_below,
        "is_overexposed": None if _on_white(pixels) else clipped_highlights > options.overexposed_above,
    }


def _sharpness(luma: NDArray[np.float32]) -> float | None:
    """Return the variance of the Laplacian in the sharpest part; None under 3 px a side.

    Source: J. L. Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy", ICPR 2000.
    """
    if min(luma.shape) < 3:
        return None
    centre = luma[1:-1, 1:-1]
    laplacian = luma[:-2, 1:-1] + luma[2:, 1:-1] + luma[1:-1, :-2] + luma[1:-1, 2:] - 4 * centre
    rows, columns = (min(_PARTS, max(1, side // _PART_PX)) for side in laplacian.shape)
    return max(
        float(part.var(dtype=np.float64))
        for band in np.array_split(laplacian, rows)
        for part in np.array_split(band, columns, axis=1)
    )


def _noise(luma: NDArray[np.float32]) -> float | None:
    """Return the standard deviation of the noise, in levels of 0..255; None under 3 px a side.

    Fine texture counts as noise. Source: J. Immerkær, "Fast noise variance estimation", CVIU 1996.
    """
    if min(luma.shape) < 3:
        return None
    # The mask [[1, -2, 1], [-2, 4, -2], [1, -2, 1]] is a second difference each way.
    down = luma[:-2] - 2 * luma[1:-1] + luma[2:]
    both = down[:, :-2] - 2 * down[:, 1:-1] + down[:, 2:]
    return math.sqrt(math.pi / 2) / 6 * float(np.abs(both).mean(dtype=np.float64))


def _exposure(pixels: NDArray[np.uint8]) -> float:
    """Return the mean luminance in stops from middle gray, as an averaging light meter reads it."""
    # Of the means instead of the pixels: both are linear.
    means = _LINEAR[pixels].mean(axis=(0, 1), dtype=np.float64)
    # A black picture has an exposure too: that of the level above black.
    return math.log2(max(float(means @ _LUMINANCE), float(_LINEAR[1])) / _MIDDLE_GRAY)


def _on_white(pixels: NDArray[np.uint8]) -> bool:
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    return float((border.min(axis=1) >= _BACKDROP).mean()) >= _BACKDROP_SHARE


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
