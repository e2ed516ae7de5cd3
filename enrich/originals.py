"""The decoder pool: claimed assets become renditions, several at once, each opened as rarely as can be."""

from __future__ import annotations

import concurrent.futures
import contextlib
import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from enrich.catalog.clean import clean_integer
from enrich.errors import FileError, FileVanished
from enrich.rendition import Frame, open_picture
from enrich.types import Rendition

if TYPE_CHECKING:
    from enrich.catalog.queue import ClaimedAsset
    from enrich.rendition import DecodeBudget, Opener, Picture

__all__ = ["DecoderPool"]


class DecoderPool:
    """Decodes originals in threads.

    Parameters
    ----------
    threads : int
        How many are decoded at once.
    max_pixels : int
        Larger pictures are refused.
    budget : DecodeBudget
        Bounds the memory of what is decoded at once.
    opener : Opener or None
        Plugins' decoders.
    """

    def __init__(
        self, *, threads: int, max_pixels: int, budget: DecodeBudget, opener: Opener | None = None
    ) -> None:
        self._pool = concurrent.futures.ThreadPoolExecutor(threads, "decoder")
        self._max_pixels = max_pixels
        self._budget = budget
        self._opener = opener

    def close(self) -> None:
        """Stop the threads; nothing may be asked for afterwards."""
        self._pool.shutdown(cancel_futures=True)

    def first_pages(
        self, wanted: Sequence[tuple[ClaimedAsset, int]]
    ) -> list[tuple[Rendition, int] | FileError]:
        """Return, per (asset, longest edge in pixels), its first page and how many it has."""
        return list(self._pool.map(self._first_page, wanted))

    def more_pages(self, asset: ClaimedAsset, pages: Sequence[int], size_px: int) -> list[Rendition]:
        """Return some pages of an asset.

        Raises
        ------
        FileError
            One of them cannot be decoded.
        """
        with self._open(asset) as picture:
            return [_rendition(asset, page, picture.render(page, size_px)) for page in pages]

    def _first_page(self, wanted: tuple[ClaimedAsset, int]) -> tuple[Rendition, int] | FileError:
        asset, size_px = wanted
        try:
            with self._open(asset) as picture:
                return _rendition(asset, 0, picture.render(0, size_px)), picture.pages
        except FileError as error:
            return error

    @contextlib.contextmanager
    def _open(self, asset: ClaimedAsset) -> Iterator[Picture]:
        """Open an asset's file, which must be as it was catalogued, before and afterwards.

        Otherwise another picture would be described in this one's name; and what looks broken may be
        half written.
        """
        _check_unchanged(asset)
        try:
            with open_picture(
                asset.path,
                asset.media_type,
                max_pixels=self._max_pixels,
                opener=self._opener,
                budget=self._budget,
            ) as picture:
                yield picture
        finally:
            _check_unchanged(asset)


def _check_unchanged(asset: ClaimedAsset) -> None:
    try:
        status = os.stat(asset.path)
    except OSError as error:
        if isinstance(error, PermissionError):
            return  # opening it says so
        raise FileVanished("the file is no longer where it was catalogued") from error
    looks = (status.st_size, clean_integer(status.st_mtime_ns), clean_integer(status.st_ctime_ns))
    if looks != (asset.size_bytes, asset.modified_ns, asset.changed_ns):
        raise FileVanished("the file is not the one that was catalogued")


def _rendition(asset: ClaimedAsset, page: int, frame: Frame) -> Rendition:
    return Rendition(
        asset.id,
        asset.path,
        page,
        frame.pixels,
        frame.width_px,
        frame.height_px,
        frame.original_width_px,
        frame.original_height_px,
        asset.embedded,
    )
