"""TIFF directories, in files and in EXIF blocks, and the structure of TIFF files.

Source: Adobe, TIFF Revision 6.0; Aware Systems, The BigTIFF File Format.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator
from typing import TypeAlias

from enrich.errors import BrokenPicture
from enrich.rendition.boundary import check_pixels
from enrich.rendition.layout import MAX_PAGES, Layout
from enrich.rendition.source import Source

__all__ = ["Directories", "Entry", "Value", "read_tiff"]

# Text and blobs come as bytes, numbers as a tuple; a rational with denominator zero is NaN.
Value: TypeAlias = bytes | tuple[int, ...] | tuple[float, ...]

# One field of a directory: its type, its count, and either the value itself or where it stands.
Entry: TypeAlias = tuple[int, int, bytes]

_BYTES_TYPES = {1, 2, 6, 7}
_NUMBER_TYPES = {3: "H", 4: "I", 8: "h", 9: "i", 11: "f", 12: "d", 13: "I", 16: "Q", 17: "q", 18: "Q"}
_RATIONAL_TYPES = {5: "I", 10: "i"}
_SIZES = {
    1: 1,
    2: 1,
    3: 2,
    4: 4,
    5: 8,
    6: 1,
    7: 1,
    8: 2,
    9: 4,
    10: 8,
    11: 4,
    12: 8,
    13: 4,
    16: 8,
    17: 8,
    18: 8,
}
_MAX_ENTRIES = 4096
_MAX_VALUE_BYTES = 1024 * 1024

_WIDTH, _HEIGHT, _TILE_WIDTH, _TILE_HEIGHT = 256, 257, 322, 323
_XMP, _IPTC = 700, 33723


class Directories:
    """Reads image file directories.

    Parameters
    ----------
    read : callable
        ``read(offset, size)`` returns the bytes there, fewer at the end.

    Raises
    ------
    ValueError
        The bytes do not start with a TIFF header.
    """

    def __init__(self, read: Callable[[int, int], bytes]) -> None:
        self._read = read
        header = read(0, 16)
        if header[:2] not in (b"II", b"MM") or len(header) < 8:
            raise ValueError("no TIFF header")
        self._order = "<" if header[:2] == b"II" else ">"
        self._is_big = self._number("H", header[2:4]) == 43
        # BigTIFF: entry count, entry and offset are wider.
        self._count, self._entry, self._offset = ("Q", "HHQ8s", "Q") if self._is_big else ("H", "HHI4s", "I")
        self._first = self._number("Q", header[8:16]) if self._is_big else self._number("I", header[4:8])

    def chain(self, limit: int) -> Iterator[dict[int, Entry]]:
        """Yield the main directories in order, at most ``limit``, each once even where they form a loop."""
        seen: set[int] = set()
        offset = self._first
        while offset and offset not in seen and len(seen) < limit:
            seen.add(offset)
            entries, offset = self._directory(offset)
            if entries:
                yield entries

    def at(self, offset: int) -> dict[int, Entry]:
        """Return the directory at ``offset``, empty if there is none."""
        return self._directory(offset)[0]

    def raw(self, entry: Entry | None) -> bytes | None:
        """Return a field's value as stored, or None if its type is unknown or it is cut off."""
        if entry is None:
            return None
        kind, count, data = entry
        size = _SIZES.get(kind, 0) * count
        if not 0 < size <= _MAX_VALUE_BYTES:
            return None
        if size > len(data):
            data = self._read(self._number(self._offset, data), size)
        return data[:size] if len(data) >= size else None

    def value(self, entry: Entry) -> Value | None:
        """Return a field's value, or None if its type is unknown or it is cut off."""
        data = self.raw(entry)
        kind, count, _ = entry
        if data is None or kind in _BYTES_TYPES:
            return data
        if number := _NUMBER_TYPES.get(kind):
            return struct.unpack(f"{self._order}{count}{number}", data)
        parts = struct.unpack(f"{self._order}{2 * count}{_RATIONAL_TYPES[kind]}", data)
        return tuple(n / d if d else math.nan for n, d in zip(parts[::2], parts[1::2], strict=True))

    def integer(self, entry: Entry | None) -> int | None:
        """Return a field's first number if it is a whole one, else None."""
        value = self.value(entry) if entry else None
        if isinstance(value, bytes) or not value or not isinstance(value[0], int):
            return None
        return value[0]

    def _directory(self, offset: int) -> tuple[dict[int, Entry], int]:
        """Return the directory at ``offset`` and the offset of the next; what is cut off is left out."""
        head_bytes, entry_bytes = struct.calcsize(self._count), struct.calcsize("=" + self._entry)
        head = self._read(offset, head_bytes)
        if len(head) < head_bytes:
            return {}, 0
        count = self._number(self._count, head)
        body = self._read(offset + head_bytes, min(count, _MAX_ENTRIES) * entry_bytes)
        body = body[: len(body) // entry_bytes * entry_bytes]
        entries = {
            tag: (kind, number, field)
            for tag, kind, number, field in struct.iter_unpack(self._order + self._entry, body)
        }
        offset_bytes = struct.calcsize(self._offset)
        tail = self._read(offset + head_bytes + count * entry_bytes, offset_bytes)
        return entries, self._number(self._offset, tail) if len(tail) == offset_bytes else 0

    def _number(self, kind: str, data: bytes) -> int:
        number: int = struct.unpack(self._order + kind, data)[0]
        return number


def read_tiff(source: Source, max_pixels: int) -> Layout:
    """Walk the directories.

    Raises
    ------
    BrokenPicture
        There is no directory.
    PictureTooLarge
        One tile alone has more than ``max_pixels``.
    """
    directories = Directories(source.read_at)
    pages = list(directories.chain(MAX_PAGES))
    if not pages:
        raise BrokenPicture("the TIFF has no directory")
    for page in pages:
        tile = [directories.integer(page.get(tag)) for tag in (_TILE_WIDTH, _TILE_HEIGHT)]
        if tile[0] and tile[1]:
            check_pixels(tile[0], tile[1], max_pixels)
    return Layout(
        width_px=directories.integer(pages[0].get(_WIDTH)) or 0,
        height_px=directories.integer(pages[0].get(_HEIGHT)) or 0,
        pages=len(pages),
        xmp=directories.raw(pages[0].get(_XMP)),
        iptc=directories.raw(pages[0].get(_IPTC)),
    )
