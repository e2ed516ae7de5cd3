"""The structure of WebP files.

Source: RFC 9649 (container, VP8L); RFC 6386, 9.1 (VP8 frame header).
"""

from __future__ import annotations

from enrich.errors import BrokenPicture
from enrich.rendition.layout import MAX_BLOCK_BYTES, MAX_PAGES, Layout, Part
from enrich.rendition.source import Source

__all__ = ["read_webp"]

# VP8X is not among them: its flags say whether there is EXIF, and its size is that of the frames.
_IMAGE = {b"ICCP", b"ALPH", b"VP8 ", b"VP8L", b"ANIM", b"ANMF"}
_FRAMES = {b"VP8 ", b"VP8L", b"ANMF"}
_MAX_CHUNKS = 100_000


def read_webp(source: Source) -> Layout:
    """Walk the chunks.

    Raises
    ------
    BrokenPicture
        No frame, or the file ends within a chunk.
    """
    layout = Layout(pages=0, parts=[])
    assert layout.parts is not None
    riff_stop = 8 + int.from_bytes(source.read_at(4, 4), "little")
    if riff_stop > source.size_bytes:
        raise BrokenPicture("the WebP is truncated")
    position = 12
    for _ in range(_MAX_CHUNKS):
        head = source.read_at(position, 8)
        name = head[:4]
        start = position + 8
        stop = start + int.from_bytes(head[4:], "little")
        if len(head) < 8 or stop > riff_stop:
            break
        if name in _IMAGE:
            layout.parts.append(Part(name, [(start, stop)]))
        if not layout.width_px:
            layout.width_px, layout.height_px = _size(name, source.read_at(start, 10))
        layout.pages += name in _FRAMES
        if name == b"EXIF":
            layout.exif = source.read_at(start, min(stop - start, MAX_BLOCK_BYTES)).removeprefix(
                b"Exif\x00\x00"
            )
        elif name == b"XMP ":
            layout.xmp = source.read_at(start, min(stop - start, MAX_BLOCK_BYTES))
        position = stop + (stop & 1)
    if not layout.pages or not layout.width_px:
        raise BrokenPicture("the WebP ends before its image data")
    layout.pages = min(layout.pages, MAX_PAGES)
    return layout


def _size(name: bytes, data: bytes) -> tuple[int, int]:
    """Return width and height from the first bytes of a chunk that has them, else zeros."""
    if len(data) < 10:
        return 0, 0
    if name == b"VP8X":
        return 1 + int.from_bytes(data[4:7], "little"), 1 + int.from_bytes(data[7:10], "little")
    if name == b"VP8L":
        bits = int.from_bytes(data[1:5], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if name == b"VP8 ":
        return int.from_bytes(data[6:8], "little") & 0x3FFF, int.from_bytes(data[8:10], "little") & 0x3FFF
    return 0, 0
