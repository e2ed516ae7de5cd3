"""How Qwen2-VL and Qwen2.5-VL want their pictures: resized to whole tokens, normalised, cut into patches.

Source of sizes and of the order of patches: ``image_processing_pil_qwen2_vl.py`` of Hugging Face
transformers 5.23.
"""

from __future__ import annotations

import math
from typing import Annotated, Self

import numpy as np
import PIL.Image
import pydantic
from numpy.typing import NDArray

from enrich.errors import UsageError
from enrich.inference.preprocess import Preprocessing

__all__ = ["Patching"]

#: Longer strips are refused by the reference, too.
_ASPECT_MAX = 200
#: However large a file says that pictures may be: what the model card of Qwen2.5-VL calls the most.
_PIXELS_MAX = 16384 * 28 * 28
#: The processor's own bounds, where its file leaves them out.
_LEAST_PIXELS, _MOST_PIXELS = 56 * 56, 28 * 28 * 1280

_Pixels = Annotated[int, pydantic.Field(ge=1, le=_PIXELS_MAX)]
_Small = Annotated[int, pydantic.Field(ge=1, le=64)]
_Three = tuple[float, float, float]


class _Bounds(pydantic.BaseModel):
    # In square pixels, whatever the names say; the second ones are those of older files.
    shortest_edge: _Pixels | None = None
    longest_edge: _Pixels | None = None
    min_pixels: _Pixels | None = None
    max_pixels: _Pixels | None = None


class Patching(pydantic.BaseModel):
    """How a picture is sized, normalised and cut, in the words of preprocessor_config.json.

    Whoever wants fewer tokens for each picture writes a smaller ``max_pixels`` there.
    """

    model_config = pydantic.ConfigDict(frozen=True)

    min_pixels: _Pixels | None = None
    max_pixels: _Pixels | None = None
    size: _Bounds = _Bounds()
    patch_size: _Small = 14
    merge_size: _Small = 2
    temporal_patch_size: _Small = 2
    resample: PIL.Image.Resampling = PIL.Image.Resampling.BICUBIC
    do_resize: bool = True
    do_rescale: bool = True
    rescale_factor: Annotated[float, pydantic.Field(gt=0, allow_inf_nan=False)] = 1 / 255
    do_normalize: bool = True
    # CLIP's.
    image_mean: _Three = (0.48145466, 0.4578275, 0.40821073)
    image_std: _Three = (0.26862954, 0.26130258, 0.27577711)

    @pydantic.model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.bounds[0] > self.bounds[1]:
            raise ValueError("min_pixels is larger than max_pixels")
        if not self.do_resize:
            raise ValueError("do_resize is false, and a picture must be resized to whole patches")
        return self

    @property
    def bounds(self) -> tuple[int, int]:
        """The least and the most that a resized picture has, in square pixels."""
        size = self.size
        least = self.min_pixels or size.shortest_edge or size.min_pixels or _LEAST_PIXELS
        return least, self.max_pixels or size.longest_edge or size.max_pixels or _MOST_PIXELS

    @property
    def unit_px(self) -> int:
        """The edge of the square that becomes one token."""
        return self.patch_size * self.merge_size

    def sized(self, width: int, height: int) -> tuple[int, int]:
        """Return the width and height in px that a picture is resized to: whole tokens, within the bounds.

        Raises
        ------
        UsageError
            One edge is more than 200 times the other. Not retryable.
        """
        if max(width, height) > _ASPECT_MAX * min(width, height):
            raise UsageError(
                f"a picture of {width} x {height} px: its model takes none with one edge more than "
                f"{_ASPECT_MAX} times the other; crop it"
            )
        unit, area, (least, most) = self.unit_px, width * height, self.bounds
        sized = [round(edge / unit) * unit for edge in (width, height)]
        if math.prod(sized) > most:
            shrink = math.sqrt(area / most)
            sized = [max(unit, math.floor(edge / shrink / unit) * unit) for edge in (width, height)]
        elif math.prod(sized) < least:
            grow = math.sqrt(least / area)
            sized = [math.ceil(edge * grow / unit) * unit for edge in (width, height)]
        return sized[0], sized[1]

    def cut(self, picture: PIL.Image.Image) -> tuple[NDArray[np.float32], tuple[int, int, int]]:
        """Return a picture's patches, and how many frames, rows and columns of them there are.

        Parameters
        ----------
        picture : PIL.Image.Image
            Mode RGB.

        Returns
        -------
        patches : ndarray
            float32, (N, C * F * P * P): those that become one token stand together; in each the channels
            R, G, B, in each of these the frames, all alike, and in each of these the rows;
            ``(x * scale - mean) / std``.
        grid : (int, int, int)
            1, rows and columns.

        Raises
        ------
        UsageError
            As ``sized``. Not retryable.
        """
        width, height = self.sized(*picture.size)
        pixels = self._preprocessing((height, width))(picture)
        patch, merge = self.patch_size, self.merge_size
        rows, columns = height // patch, width // patch
        parts = pixels.reshape(3, rows // merge, merge, patch, columns // merge, merge, patch)
        parts = parts.transpose(1, 4, 2, 5, 0, 3, 6)[..., None, :, :]
        shape = (*parts.shape[:5], self.temporal_patch_size, patch, patch)
        return np.broadcast_to(parts, shape).reshape(rows * columns, -1), (1, rows, columns)

    def _preprocessing(self, size: tuple[int, int]) -> Preprocessing:
        return Preprocessing(
            resize=size,
            crop=None,
            resample=self.resample,
            scale=self.rescale_factor if self.do_rescale else 1.0,
            mean=self.image_mean if self.do_normalize else (0.0, 0.0, 0.0),
            std=self.image_std if self.do_normalize else (1.0, 1.0, 1.0),
        )
