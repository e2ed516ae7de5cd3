"""Files as pictures: sniffed, hashed and decoded, with nothing believed that a client says of them."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from enrich.api.errors import InvalidImage, TooLarge
from enrich.api.requests import Picture
from enrich.errors import FileError, FileUnreadable, PictureTooLarge
from enrich.rendition import DecodeBudget, open_picture, probe, sniff
from enrich.rendition.formats import HEAD_BYTES
from enrich.types import Rendition

if TYPE_CHECKING:
    from enrich.rendition import Opener

__all__ = ["MEDIA_TYPES", "RENDITION_PX", "Examiner", "render"]

#: The longest edge of a picture's rendition; what few steps want larger is decoded again for them.
RENDITION_PX = 768
#: What is taken unless a dialect takes less. Other formats have decoders that need not face the world.
MEDIA_TYPES = frozenset(
    f"image/{name}" for name in ("avif", "bmp", "gif", "heic", "heif", "jpeg", "png", "tiff", "webp")
)
#: What all decoders of requests may need at one moment.
_DECODE_BYTES = 750_000_000


class Examiner:
    """Looks at files, from any thread.

    Parameters
    ----------
    max_pixels : int
        Larger pictures are refused.
    opener : Opener or None
        Plugins' decoders.
    """

    def __init__(self, max_pixels: int, *, opener: Opener | None = None) -> None:
        self._max_pixels = max_pixels
        self._opener = opener
        self._budget = DecodeBudget(_DECODE_BYTES)

    def examine(
        self, path: Path, file_name: str, media_types: Collection[str], asset_id: int | None = None
    ) -> Picture:
        """Return the picture that lies at ``path``.

        Raises
        ------
        InvalidImage, TooLarge
            It is none, or none that is taken. Not retryable.
        """
        # Before any decoder sees it, ours or a plugin's.
        _check_type(path, media_types)
        with _as_ours():
            found = probe(path, max_pixels=self._max_pixels, opener=self._opener)
            assert found.picture is not None and found.media_type is not None  # _check_type
            rendition = self._decode(path, found.media_type, RENDITION_PX)
        assert found.sha256 is not None and found.sha1 is not None  # of every picture
        return Picture(
            rendition,
            found.sha256,
            found.sha1,
            found.picture.image_hash,
            found.media_type,
            file_name,
            found.size_bytes,
            path,
            asset_id,
        )

    def at(self, picture: Picture, size_px: int) -> Rendition:
        """Return a picture's rendition with a longest edge of at most ``size_px``.

        Raises
        ------
        InvalidImage, TooLarge
            It cannot be decoded so large. Not retryable.
        """
        have = picture.rendition
        edge = max(have.width_px, have.height_px)
        is_whole = edge >= max(have.original_width_px, have.original_height_px)
        if size_px >= edge and (is_whole or size_px <= RENDITION_PX):
            return have
        if size_px < edge:
            return _smaller(have, size_px)
        with _as_ours():
            return self._decode(picture.path, picture.media_type, size_px)

    def _decode(self, path: Path, media_type: str, size_px: int) -> Rendition:
        return render(
            path,
            media_type,
            size_px,
            max_pixels=self._max_pixels,
            opener=self._opener,
            budget=self._budget,
        )


def render(
    path: Path,
    media_type: str,
    size_px: int,
    *,
    max_pixels: int,
    opener: Opener | None = None,
    budget: DecodeBudget | None = None,
) -> Rendition:
    """Return a file's first page; see ``enrich.rendition.open_picture`` for what it raises."""
    with open_picture(path, media_type, max_pixels=max_pixels, opener=opener, budget=budget) as picture:
        frame = picture.render(0, size_px)
    return Rendition(
        None,
        None,
        0,
        frame.pixels,
        frame.width_px,
        frame.height_px,
        frame.original_width_px,
        frame.original_height_px,
    )


def _smaller(rendition: Rendition, size_px: int) -> Rendition:
    image = rendition.image.copy()
    image.thumbnail((size_px, size_px), reducing_gap=2.0)
    pixels = np.asarray(image)
    pixels.flags.writeable = False
    return dataclasses.replace(
        rendition, pixels=pixels, width_px=image.width, height_px=image.height, tensors={}
    )


def _check_type(path: Path, media_types: Collection[str]) -> None:
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if not head:
        raise InvalidImage("the picture is empty")
    content = sniff(head, "")
    if content not in media_types:
        kinds = ", ".join(sorted(name.removeprefix("image/") for name in media_types))
        raise InvalidImage(f"the content is {content or 'of no known type'}; what is taken: {kinds}")


@contextlib.contextmanager
def _as_ours() -> Iterator[None]:
    """Say of a file what a client may know: never where it lies."""
    try:
        yield
    except PictureTooLarge as error:
        raise TooLarge(str(error)) from error
    except FileUnreadable:
        raise  # our disk, and not the client's picture
    except FileError as error:
        raise InvalidImage(f"the picture cannot be read: {error}") from error
