"""How Idefics3 and SmolVLM cut a picture: it is made large, tile by tile, and the whole of it comes last.

Source of sizes and order: ``image_processing_pil_idefics3.py`` of Hugging Face transformers 5.23; SmolVLM's
is the same. What it pads is left out: no tile is ever smaller than another.
"""

from __future__ import annotations

import math
from typing import Annotated, Self

import numpy as np
import PIL.Image
import pydantic
from numpy.typing import NDArray

from enrich.inference.preprocess import Preprocessing

__all__ = ["Tiling"]

#: The processor's own defaults, where its file leaves them out.
_TILE_PX, _LONGEST_PX = 364, 4 * 364
#: However large a file says that pictures shall be made.
_LARGEST_PX = 4096

_Pixels = Annotated[int, pydantic.Field(ge=1, le=8192)]
_Finite = Annotated[float, pydantic.Field(allow_inf_nan=False)]
_Divisor = Annotated[float, pydantic.Field(gt=0, allow_inf_nan=False)]


class _Edges(pydantic.BaseModel):
    longest_edge: _Pixels | None = None
    height: _Pixels | None = None
    width: _Pixels | None = None

    @pydantic.model_validator(mode="after")
    def _one_form(self) -> Self:
        if self.longest_edge is None and (self.height is None or self.width is None):
            raise ValueError("give longest_edge, or height and width")
        return self


class _Tile(pydantic.BaseModel):
    longest_edge: _Pixels


class Tiling(pydantic.BaseModel):
    """How a picture is made large, cut and normalised, in the words of preprocessor_config.json.

    Whoever wants one look at each picture instead of many sets ``do_image_splitting`` to false there.
    """

    model_config = pydantic.ConfigDict(frozen=True)

    do_resize: bool = True
    size: _Edges = _Edges(longest_edge=_LONGEST_PX)
    resample: PIL.Image.Resampling = PIL.Image.Resampling.LANCZOS
    do_image_splitting: bool = True
    max_image_size: _Tile = _Tile(longest_edge=_TILE_PX)
    do_rescale: bool = True
    rescale_factor: _Divisor = 1 / 255
    do_normalize: bool = True
    image_mean: tuple[_Finite, _Finite, _Finite] = (0.5, 0.5, 0.5)
    image_std: tuple[_Divisor, _Divisor, _Divisor] = (0.5, 0.5, 0.5)

    @property
    def tile_px(self) -> int:
        """The edge of a tile."""
        return self.max_image_size.longest_edge

    @property
    def size_px(self) -> int:
        """The longest edge of a picture of which anything is left."""
        if not self.do_image_splitting:
            return self.tile_px
        # Without do_resize each picture is cut at its own size.
        return max(self._enlarged(1, 1)) if self.do_resize else _LARGEST_PX

    def preprocessing(self) -> Preprocessing:
        """From a tile to a tensor."""
        return Preprocessing(
            resize=(self.tile_px, self.tile_px),
            crop=None,
            resample=self.resample,
            scale=self.rescale_factor if self.do_rescale else 1.0,
            mean=self.image_mean if self.do_normalize else (0.0, 0.0, 0.0),
            std=self.image_std if self.do_normalize else (1.0, 1.0, 1.0),
        )

    def cut(self, picture: PIL.Image.Image) -> tuple[NDArray[np.uint8], tuple[int, int]]:
        """Cut a picture of mode RGB.

        Returns
        -------
        tiles : ndarray
            uint8, (N, H, W, 3), RGB: row by row, and the whole picture last.
        grid : (int, int)
            Rows and columns of tiles; (0, 0) where the picture is alone, because it is no larger than a
            tile, or none is split.
        """
        edge = self.tile_px
        if self.do_resize:
            picture = picture.resize(self._enlarged(*picture.size), self.resample)
        columns, rows = self._grid(*picture.size) if self.do_image_splitting else (1, 1)
        # Stretched, so that each tile is full.
        picture = picture.resize((columns * edge, rows * edge), self.resample)
        if rows == columns == 1:
            return np.asarray(picture)[None], (0, 0)
        parts = np.asarray(picture).reshape(rows, edge, columns, edge, 3).swapaxes(1, 2)
        whole = np.asarray(picture.resize((edge, edge), self.resample))
        return np.concatenate([parts.reshape(-1, edge, edge, 3), whole[None]]), (rows, columns)

    def _enlarged(self, width: int, height: int) -> tuple[int, int]:
        """Return the size at which the longest edge is what it should be, and the other one even."""
        longest = self.size.longest_edge
        if longest is None:
            assert self.size.width is not None, "checked when the file was read"
            assert self.size.height is not None, "checked when the file was read"
            return self.size.width, self.size.height
        aspect = width / height
        if width >= height:
            width, height = longest, int(longest / aspect)
            height += height % 2
        else:
            width, height = int(longest * aspect), longest
            width += width % 2
        width, height = max(width, 1), max(height, 1)
        aspect = width / height
        if width >= height and width > _LARGEST_PX:
            width, height = _LARGEST_PX, int(_LARGEST_PX / aspect)
        elif height > width and height > _LARGEST_PX:
            width, height = int(_LARGEST_PX * aspect), _LARGEST_PX
        return max(width, 1), max(height, 1)

    def _grid(self, width: int, height: int) -> tuple[int, int]:
        """Return how many columns and rows of tiles a picture takes; it is stretched to fill them."""
        edge, aspect = self.tile_px, width / height
        if width >= height:
            width = math.ceil(width / edge) * edge
            return width // edge, math.ceil(int(width / aspect) / edge)
        height = math.ceil(height / edge) * edge
        return math.ceil(int(height * aspect) / edge), height // edge
