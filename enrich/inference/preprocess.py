"""From a rendition to a tensor: resize, centre crop, scale and normalise.

Source: the slow image processors of Hugging Face transformers 4.57 (``image_transforms.py``), whose
numbers these are: Pillow resizes the uint8 picture, the shorter edge is hit exactly and the longer
one truncated, a crop larger than the picture is padded with zeros, and the arithmetic is float32.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Literal

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from enrich.types import Rendition

__all__ = ["Colour", "Layout", "Preprocessing"]

Colour = Literal["RGB", "BGR"]
Layout = Literal["NCHW", "NHWC"]

# Of a strip that would become larger, 64 MB in Pillow, only the middle is enlarged: what lies beyond would
# be cropped away, and a picture of 1 x 20,000 px would take gigabytes. Not of others: where Pillow starts
# from a part, levels may differ by 1.
_LARGEST_PX = 16 * 2**20


@dataclass(frozen=True)
class Preprocessing:
    """How a model wants its pictures; equal ones share their tensors.

    Parameters
    ----------
    resize : int, (int, int) or None
        The shorter edge in px, keeping the aspect; or (height, width); or no resizing.
    crop : (int, int) or None
        (height, width) of the centre crop in px; zeros where the picture is smaller. Needed
        unless ``resize`` gives both edges: every picture reaches the model at one size.
    resample : PIL.Image.Resampling
        Pillow's filter.
    scale : float
        What pixel values (0..255) are multiplied with first.
    mean, std : (float, float, float)
        Per channel in the order of ``colour``: ``(x * scale - mean) / std``.
    colour : {"RGB", "BGR"}
        The order of the channels.
    layout : {"NCHW", "NHWC"}
        Where the channels stand.

    Raises
    ------
    ValueError
        ``crop`` is missing where it is needed.
    """

    resize: int | tuple[int, int] | None
    crop: tuple[int, int] | None
    resample: PIL.Image.Resampling = PIL.Image.Resampling.BILINEAR
    scale: float = 1 / 255
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    colour: Colour = "RGB"
    layout: Layout = "NCHW"

    def __post_init__(self) -> None:
        if self.crop is None and not isinstance(self.resize, tuple):
            raise ValueError("give crop, or resize with height and width: every picture needs the same size")

    @functools.cached_property
    def shape(self) -> tuple[int, int, int]:
        """The shape of one tensor, without the batch."""
        size = self.crop or self.resize
        assert isinstance(size, tuple)
        return (3, *size) if self.layout == "NCHW" else (*size, 3)

    def __call__(self, picture: PIL.Image.Image | NDArray[np.uint8]) -> NDArray[np.float32]:
        """Prepare one picture.

        Parameters
        ----------
        picture : PIL.Image.Image or ndarray
            Mode RGB; or uint8, (H, W, 3), RGB.

        Returns
        -------
        ndarray
            float32, (3, H, W) or (H, W, 3), channels in the order of ``colour``,
            ``(x * scale - mean) / std``.
        """
        if isinstance(picture, np.ndarray):
            picture = PIL.Image.fromarray(picture)
        pixels = np.asarray(self._crop(self._resize(picture)))
        if self.colour == "BGR":
            pixels = pixels[..., ::-1]
        if self.layout == "NCHW":
            pixels = pixels.transpose(2, 0, 1)
        mean, std = self._statistics
        # In place: at 224 x 224 px each temporary would cost more than the arithmetic.
        tensor = np.empty(pixels.shape, np.float32)
        np.multiply(pixels, np.float32(self.scale), out=tensor)
        tensor -= mean
        tensor /= std
        return tensor

    def tensor(self, rendition: Rendition) -> NDArray[np.float32]:
        """Return the rendition's tensor, made once for all models that want the same; read-only."""
        tensor: NDArray[np.float32] | None = rendition.tensors.get(self)
        if tensor is None:
            tensor = self(rendition.image)
            tensor.setflags(write=False)
            rendition.tensors[self] = tensor
        return tensor

    @functools.cached_property
    def _statistics(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        shape = (3, 1, 1) if self.layout == "NCHW" else (3,)
        mean, std = (np.asarray(values, np.float32).reshape(shape) for values in (self.mean, self.std))
        return mean, std

    def _resize(self, picture: PIL.Image.Image) -> PIL.Image.Image:
        if self.resize is None:
            return picture
        if isinstance(self.resize, tuple):
            height, width = self.resize
            return picture.resize((width, height), self.resample)
        short, long = sorted(picture.size)
        longer = int(self.resize * long / short)
        landscape = picture.width > picture.height
        size = (longer, self.resize) if landscape else (self.resize, longer)
        if size[0] * size[1] > _LARGEST_PX:
            return self._middle(picture, size)
        return picture.resize(size, self.resample)

    def _middle(self, picture: PIL.Image.Image, size: tuple[int, int]) -> PIL.Image.Image:
        """Return what the crop leaves of the picture resized to ``size``, without making the rest."""
        assert self.crop is not None, "a shorter edge comes with a crop"
        height, width = self.crop
        kept = (min(width, size[0]), min(height, size[1]))
        starts = [(whole - part) // 2 for whole, part in zip(size, kept, strict=True)]
        ends = [start + part for start, part in zip(starts, kept, strict=True)]
        # In px of the picture, along both edges.
        scales = [old / new for old, new in zip(picture.size, size, strict=True)]
        left, top, right, bottom = (
            edge * scale for edges in (starts, ends) for edge, scale in zip(edges, scales, strict=True)
        )
        return picture.resize(kept, self.resample, box=(left, top, right, bottom))

    def _crop(self, picture: PIL.Image.Image) -> PIL.Image.Image:
        return picture if self.crop is None else _centre(picture, *self.crop)


def _centre(picture: PIL.Image.Image, height: int, width: int) -> PIL.Image.Image:
    if (width, height) == picture.size:
        return picture
    # Pillow fills with zeros what lies outside the picture.
    top, left = (picture.height - height) // 2, (picture.width - width) // 2
    return picture.crop((left, top, left + width, top + height))
