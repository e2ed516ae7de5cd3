"""Decode pages into oriented sRGB pixels of the size asked for."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL.Image
from numpy.typing import NDArray
from PIL.TiffImagePlugin import TiffImageFile

from enrich.errors import DecoderMissing
from enrich.rendition.boundary import check_pixels, decoding
from enrich.rendition.budget import DecodeBudget, decode_bytes, webp_bytes
from enrich.rendition.colour import to_srgb
from enrich.rendition.exif import read_orientation
from enrich.rendition.formats import decoder_hint
from enrich.rendition.layout import Layout
from enrich.rendition.png import raw_profile, without_texts
from enrich.rendition.scale import decode_reduced, fit, shrink
from enrich.rendition.source import Source, open_source
from enrich.rendition.structure import Opener, examine, open_pillow

__all__ = ["Frame", "Picture", "open_picture"]

# A multi-page file stays open between pages, with the last page decoded, unless that is larger.
_KEEP_BYTES = 64 * 1024 * 1024

# A PNG is decoded again without its texts, in memory, up to this size.
_RETRY_BYTES = 256 * 1024 * 1024

# EXIF orientation -> how to turn the stored picture upright. Source: CIPA DC-008, Orientation.
_UPRIGHT = {
    2: PIL.Image.Transpose.FLIP_LEFT_RIGHT,
    3: PIL.Image.Transpose.ROTATE_180,
    4: PIL.Image.Transpose.FLIP_TOP_BOTTOM,
    5: PIL.Image.Transpose.TRANSPOSE,
    6: PIL.Image.Transpose.ROTATE_270,
    7: PIL.Image.Transpose.TRANSVERSE,
    8: PIL.Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One page, ready for the steps.

    Parameters
    ----------
    pixels : ndarray
        uint8, (H, W, 3), RGB, sRGB, orientation applied, alpha flattened on white; read-only.
    width_px, height_px : int
        The size of ``pixels``.
    original_width_px, original_height_px : int
        The size of the oriented original.
    """

    pixels: NDArray[np.uint8]
    width_px: int
    height_px: int
    original_width_px: int
    original_height_px: int


class Picture:
    """An open picture, made by `open_picture`, for one thread at a time. ``pages`` is at most 1000."""

    def __init__(
        self,
        source: Source,
        media_type: str,
        layout: Layout,
        images: Sequence[PIL.Image.Image] | None,
        *,
        max_pixels: int,
        budget: DecodeBudget | None,
    ) -> None:
        self.pages = layout.pages
        self._source = source
        self._media_type = media_type
        self._layout = layout
        # What a plugin's opener decoded; None where Pillow opens the file.
        self._images = images
        self._max_pixels = max_pixels
        self._budget = budget
        self._open: PIL.Image.Image | None = None

    def render(self, page: int, size_px: int | None) -> Frame:
        """Decode a page.

        Parameters
        ----------
        page : int
            From 0; rising order is fastest.
        size_px : int or None
            The longest edge at most; smaller pages are not enlarged. None for the full size.

        Raises
        ------
        BrokenPicture, PictureTooLarge, FileUnreadable
            The page cannot be decoded.
        FileVanished
            The file was changed meanwhile. Retryable.
        """
        if not 0 <= page < self.pages:
            raise ValueError(f"page {page} of a picture with {self.pages}")
        with decoding(self._source, max_pixels=self._max_pixels):
            try:
                return self._render(page, size_px, lambda: open_pillow(self._source, self._media_type))
            except ValueError:
                if self._media_type != "image/png" or self._source.size_bytes > _RETRY_BYTES:
                    raise
            # Pillow refuses a PNG whose compressed texts are bombs; the picture itself may be fine.
            self.close()
            content = without_texts(self._source.read_at(0, self._source.size_bytes))
            return self._render(page, size_px, lambda: PIL.Image.open(io.BytesIO(content), formats=("PNG",)))

    def close(self) -> None:
        """Give back the decoder and its memory."""
        if self._open is not None:
            self._open.close()
            self._open = None

    def _render(self, page: int, size_px: int | None, reopen: Callable[[], PIL.Image.Image]) -> Frame:
        with contextlib.ExitStack() as held:
            if self._media_type == "image/webp":
                # Its decoder takes its memory when it is opened.
                self._hold(held, webp_bytes(self._layout.width_px, self._layout.height_px))
            image = self._seek(page, reopen) if self._images is None else self._images[page]
            check_pixels(image.width, image.height, self._max_pixels)
            full_size = image.size
            target = fit(*full_size, size_px)
            decoded_size = decode_reduced(image, target) if self._images is None else full_size
            needed_bytes = decode_bytes(image, self._media_type, decoded_size, full_size, target == full_size)
            if self._media_type != "image/webp":
                self._hold(held, needed_bytes)
            try:
                return _frame(image, full_size, size_px)
            finally:
                if self.pages == 1 or needed_bytes > _KEEP_BYTES:
                    self.close()

    def _seek(self, page: int, reopen: Callable[[], PIL.Image.Image]) -> PIL.Image.Image:
        """Return the file as Pillow opens it, at the page, not decoded yet."""
        if self._open is not None and self._open.tell() >= page:
            self.close()
        if self._open is None:
            self._open = reopen()
        if page:
            self._open.seek(page)
        return self._open

    def _hold(self, held: contextlib.ExitStack, size_bytes: int) -> None:
        if self._budget is not None:
            held.enter_context(self._budget.hold(size_bytes))


@contextlib.contextmanager
def open_picture(
    path: Path,
    media_type: str,
    *,
    max_pixels: int,
    opener: Opener | None = None,
    budget: DecodeBudget | None = None,
) -> Iterator[Picture]:
    """Open a picture for rendering.

    Parameters
    ----------
    path : Path
        The file.
    media_type : str
        Its type, as `probe` found it.
    max_pixels : int
        The limit of a page's width times height.
    opener : callable or None
        A plugin's decoder; asked for types that Pillow does not open.
    budget : DecodeBudget or None
        Memory shared with other decoders; None for no limit.

    Raises
    ------
    FileVanished
        There is no such file any more. Retryable.
    FileUnreadable, NotRegularFile, BrokenPicture, PictureTooLarge, DecoderMissing
        It cannot be decoded.
    """
    with open_source(path) as source:
        layout, images = Layout(), None
        # One page, and its header is read when it is decoded: the walk over its scans would be in vain.
        if media_type != "image/jpeg":
            found = examine(source, media_type, max_pixels=max_pixels, opener=opener)
            if found is None:
                raise DecoderMissing(f"no decoder for {media_type}: {decoder_hint(media_type)}")
            layout, images = found
        picture = Picture(source, media_type, layout, images, max_pixels=max_pixels, budget=budget)
        try:
            yield picture
        finally:
            picture.close()


def _frame(image: PIL.Image.Image, full_size: tuple[int, int], size_px: int | None) -> Frame:
    image.load()
    if isinstance(image, TiffImageFile):
        # Pillow turns these upright while it loads them.
        full_size, orientation = image.size, 1
    else:
        orientation = _orientation(image)
    profile = image.info.get("icc_profile")
    small = to_srgb(shrink(image, fit(*full_size, size_px)), profile if isinstance(profile, bytes) else None)
    if orientation in _UPRIGHT:
        small = small.transpose(_UPRIGHT[orientation])
    if orientation >= 5:
        full_size = full_size[::-1]
    # Over a bytes object, hence C-contiguous and read-only.
    pixels = np.asarray(small)
    return Frame(pixels, small.width, small.height, *full_size)


def _orientation(image: PIL.Image.Image) -> int:
    """Return the EXIF orientation that the decoder has not applied itself; 1 for none."""
    exif = image.info.get("exif")
    if exif is None:
        # How ImageMagick writes EXIF into PNG files.
        text = image.info.get("Raw profile type exif") or image.info.get("Raw profile type APP1")
        exif = raw_profile(text.encode("latin-1", "replace")) if isinstance(text, str) else None
    return (read_orientation(exif) if isinstance(exif, bytes) else None) or 1
