"""Memory for decoding, shared by all decoders of a process."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Iterator

import PIL.Image

from enrich.errors import PictureTooLarge

__all__ = ["DecodeBudget", "decode_bytes", "webp_bytes"]

# How many bytes Pillow keeps for a pixel; four for all modes that are not here.
_STORED_BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2, "I;16N": 2}

# What decoders need besides, bytes a pixel, from their sources: planes before colour conversion (AVIF,
# HEIF), 32 bit samples of four components (JPEG 2000), the canvas that frames are laid on (GIF), a
# copy of the decoded bytes (QOI), two canvases and a copy of one (WebP).
_DECODER_BYTES = {
    "image/avif": 12,
    "image/gif": 4,
    "image/heic": 12,
    "image/heif": 12,
    "image/j2k": 20,
    "image/jp2": 20,
    "image/qoi": 4,
    "image/webp": 16,
}
# libjpeg keeps 16 bit coefficients of all components of a progressive file, at its full size.
_PROGRESSIVE_BYTES = 2
# The result, its array and the pieces the array is made of, where the full size is asked for.
_FULL_SIZE_BYTES = 10
# Conversion goes band by band; a band in a few modes at once.
_WORK_BYTES = 24 * 1024 * 1024
_ROWS_PER_STRIP, _ORIENTATION = 278, 274


class DecodeBudget:
    """Lets decodes run side by side as long as their memory fits, first come first served.

    Parameters
    ----------
    max_bytes : int
        How much the decodes running at one moment may need together.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._used_bytes = 0
        self._waiting: deque[object] = deque()
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def hold(self, size_bytes: int) -> Iterator[None]:
        """Wait until ``size_bytes`` are free, and hold them.

        Raises
        ------
        PictureTooLarge
            More than the whole budget is asked for.
        """
        if size_bytes > self.max_bytes:
            raise PictureTooLarge(
                f"decoding the picture needs about {size_bytes >> 20} MiB of memory,"
                f" allowed are {self.max_bytes >> 20} MiB"
            )
        ticket = object()
        with self._changed:
            self._waiting.append(ticket)
            try:
                # Only the first in line may go, else small pictures would starve a large one.
                self._changed.wait_for(
                    lambda: self._waiting[0] is ticket and self._used_bytes + size_bytes <= self.max_bytes
                )
                self._used_bytes += size_bytes
            finally:
                self._waiting.remove(ticket)
                self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._used_bytes -= size_bytes
                self._changed.notify_all()


def decode_bytes(
    image: PIL.Image.Image,
    media_type: str,
    decoded_size: tuple[int, int],
    full_size: tuple[int, int],
    is_full: bool,
) -> int:
    """Return an estimate of the memory that decoding needs at its peak.

    Parameters
    ----------
    image : PIL.Image.Image
        The opened picture, not decoded yet.
    media_type : str
        Its type.
    decoded_size, full_size : tuple of int
        Width and height in px, as the decoder will make them and without reduced decoding.
    is_full : bool
        Whether the pixels are wanted at full size.
    """
    pixels, full_pixels = decoded_size[0] * decoded_size[1], full_size[0] * full_size[1]
    stored = _STORED_BYTES.get(image.mode, 4)
    needed = (stored + _DECODER_BYTES.get(media_type, 0) + is_full * _FULL_SIZE_BYTES) * pixels
    if image.info.get("progressive"):
        needed += _PROGRESSIVE_BYTES * len(image.getbands()) * full_pixels
    if tags := getattr(image, "tag_v2", None):
        rows = tags.get(_ROWS_PER_STRIP, image.height)
        needed += 4 * image.width * (min(rows, image.height) if isinstance(rows, int) else image.height)
        # Pillow turns TIFF files upright itself, into a second picture.
        needed += stored * pixels * (tags.get(_ORIENTATION, 1) != 1)
    return needed + _WORK_BYTES


def webp_bytes(width_px: int, height_px: int) -> int:
    """Return an estimate like `decode_bytes`, for a file not opened yet."""
    return (4 + _DECODER_BYTES["image/webp"]) * width_px * height_px
