"""The structure of GIF files.

Source: CompuServe, Graphics Interchange Format, version 89a.
"""

from __future__ import annotations

from enrich.errors import BrokenPicture
from enrich.rendition.layout import MAX_PAGES, Layout
from enrich.rendition.source import Source

__all__ = ["read_gif"]

_EXTENSION, _IMAGE = 0x21, 0x2C
# A quarter of a gigabyte of data; what comes after is not counted.
_MAX_BLOCKS = 1_000_000


def read_gif(source: Source) -> Layout:
    """Walk the blocks and count the frames, without decompressing any.

    Raises
    ------
    BrokenPicture
        No frame.
    """
    screen = source.read_at(6, 7)
    layout = Layout(
        width_px=int.from_bytes(screen[:2], "little"),
        height_px=int.from_bytes(screen[2:4], "little"),
        pages=0,
    )
    position = 13 + _table_bytes(screen[4:5])
    blocks_left = _MAX_BLOCKS
    while blocks_left > 0 and layout.pages < MAX_PAGES:
        head = source.read_at(position, 10)
        if head[:1] == bytes([_EXTENSION]):
            position += 2
        elif head[:1] == bytes([_IMAGE]) and len(head) == 10:
            layout.pages += 1
            position += 11 + _table_bytes(head[9:10])
        else:
            break
        while (size := source.read_at(position, 1)) > b"\x00" and blocks_left > 0:
            position += 1 + size[0]
            blocks_left -= 1
        position += 1
        blocks_left -= 1
    if not layout.pages:
        raise BrokenPicture("the GIF ends before its image data")
    return layout


def _table_bytes(flags: bytes) -> int:
    """Return the size of the colour table that the packed flags announce."""
    return 3 << ((flags[0] & 7) + 1) if flags and flags[0] & 0x80 else 0
