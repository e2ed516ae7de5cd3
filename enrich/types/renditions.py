"""What plugins look at: the pixels of an asset."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import PIL.Image
    from numpy.typing import NDArray

__all__ = ["Rendition"]


@dataclass(frozen=True, eq=False)
class Rendition:
    """Oriented, colour-managed pixels derived from an asset.

    Parameters
    ----------
    asset_id : int or None
        The asset's id; None outside the catalog.
    path : Path or None
        Where the original was read; None outside the catalog.
    page : int
        The page or frame, from 0.
    pixels : ndarray
        uint8, (H, W, 3), RGB, sRGB, orientation applied, alpha flattened on white; read-only.
    width_px, height_px : int
        The size of ``pixels``.
    original_width_px, original_height_px : int
        The size of the oriented original.
    embedded : mapping
        The original's embedded metadata (see ``assets.embedded``).
    """

    asset_id: int | None
    path: Path | None
    page: int
    pixels: NDArray[np.uint8]
    width_px: int
    height_px: int
    original_width_px: int
    original_height_px: int
    embedded: Mapping[str, Any] = field(default_factory=dict)
    # Preprocessed tensors by preprocessing, so that steps which ask for the same share them.
    tensors: dict[Any, Any] = field(default_factory=dict, repr=False)

    @property
    def image(self) -> PIL.Image.Image:
        """The same pixels as a Pillow image, mode RGB."""
        import PIL.Image

        # By hand: before Python 3.12 functools.cached_property lets one thread at a time make any image.
        image: PIL.Image.Image | None = self.__dict__.get("_image")
        if image is None:
            image = PIL.Image.fromarray(self.pixels)
            object.__setattr__(self, "_image", image)
        return image
