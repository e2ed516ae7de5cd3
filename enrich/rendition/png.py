"""The structure of PNG and APNG files.

Source: W3C, Portable Network Graphics (PNG) Specification, third edition.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from enrich.errors import BrokenPicture
from enrich.rendition.iptc import from_photoshop
from enrich.rendition.layout import MAX_BLOCK_BYTES, MAX_PAGES, Layout, Part
from enrich.rendition.source import Source

__all__ = ["raw_profile", "read_png", "without_texts"]

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# What decides how the picture looks; everything else may be edited without changing it.
_IMAGE = {
    b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"iCCP", b"sRGB", b"gAMA", b"cHRM", b"cICP", b"sBIT", b"acTL",
    b"fcTL", b"fdAT",
}  # fmt: skip
_TEXTS = {b"tEXt", b"zTXt", b"iTXt"}
_XMP_KEYWORD = "XML:com.adobe.xmp"

_MAX_CHUNKS = 1_000_000
_MAX_TEXTS = 64
# Of one text, decompressed: a compressed text may be a bomb.
_MAX_TEXT_BYTES = 16 * 1024
_BLOCKS = {_XMP_KEYWORD, *(f"Raw profile type {kind}" for kind in ("exif", "APP1", "xmp", "iptc", "8bim"))}


def read_png(source: Source) -> Layout:
    """Walk the chunks.

    Raises
    ------
    BrokenPicture
        No header, no image data, or the file ends within a chunk or before the end chunk.
    """
    header = source.read_at(8, 25)
    if header[4:8] != b"IHDR" or len(header) < 25:
        raise BrokenPicture("the PNG does not start with its header")
    layout = Layout(
        width_px=int.from_bytes(header[8:12], "big"), height_px=int.from_bytes(header[12:16], "big"), parts=[]
    )
    texts: dict[str, bytes] = {}
    seen = set()
    for name, start, stop in _chunks(source):
        seen.add(name)
        if name in _IMAGE:
            _note_image(layout, name, start, stop)
        if name == b"acTL":
            layout.pages = max(1, min(MAX_PAGES, int.from_bytes(source.read_at(start, 4), "big")))
        elif name == b"eXIf":
            layout.exif = source.read_at(start, min(stop - start, MAX_BLOCK_BYTES)).removeprefix(
                b"Exif\x00\x00"
            )
        elif name in _TEXTS and len(texts) < _MAX_TEXTS:
            keyword, text = _text(name, source.read_at(start, min(stop - start, MAX_BLOCK_BYTES)))
            texts.setdefault(keyword, text)
    if b"IDAT" not in seen:
        raise BrokenPicture("the PNG ends before its image data")
    if b"IEND" not in seen:
        raise BrokenPicture("the PNG is truncated")
    _note_texts(layout, texts)
    return layout


def without_texts(content: bytes) -> bytes:
    """Return the PNG without its texts and compressed profile, the chunks that may be bombs."""
    kept = [_SIGNATURE]
    position = 8
    while len(head := content[position : position + 8]) == 8:
        stop = position + 12 + int.from_bytes(head[:4], "big")
        if head[4:] not in _TEXTS and head[4:] != b"iCCP":
            kept.append(content[position:stop])
        position = stop
    return b"".join(kept)


def _chunks(source: Source) -> Iterator[tuple[bytes, int, int]]:
    """Yield the name of each whole chunk with where its data start and stop."""
    position = 8
    for _ in range(_MAX_CHUNKS):
        head = source.read_at(position, 8)
        start = position + 8
        stop = start + int.from_bytes(head[:4], "big")
        if len(head) < 8 or stop > source.size_bytes:
            return
        yield head[4:], start, stop
        if head[4:] == b"IEND":
            return
        position = stop + 4


def _note_image(layout: Layout, name: bytes, start: int, stop: int) -> None:
    assert layout.parts is not None
    # How an encoder cuts the image data into chunks is no property of the picture.
    if name == b"IDAT" and layout.parts and layout.parts[-1].label == name:
        layout.parts[-1].ranges.append((start, stop))
    else:
        layout.parts.append(Part(name, [(start, stop)]))


def _text(name: bytes, payload: bytes) -> tuple[str, bytes]:
    """Return the keyword and the text, decompressed, as UTF-8 or Latin-1 bytes."""
    name_bytes, _, rest = payload.partition(b"\x00")
    keyword = name_bytes.decode("latin-1")
    limit = MAX_BLOCK_BYTES if keyword in _BLOCKS else _MAX_TEXT_BYTES
    packed = name == b"zTXt"
    if packed:
        rest = rest[1:]
    elif name == b"iTXt":
        packed = rest[:1] == b"\x01"
        # The language and the translated keyword stand before the text.
        rest = rest[2:].partition(b"\x00")[2].partition(b"\x00")[2]
    if packed:
        try:
            rest = zlib.decompressobj().decompress(rest, limit)
        except zlib.error:
            rest = b""
    return keyword, rest[:limit]


def _note_texts(layout: Layout, texts: dict[str, bytes]) -> None:
    """Sort the texts into metadata blocks, as ImageMagick hides them too, and plain texts."""
    for keyword, text in texts.items():
        if keyword == _XMP_KEYWORD:
            layout.xmp = text
        elif keyword not in _BLOCKS:
            layout.texts[keyword] = _decode(text)
        elif profile := raw_profile(text):
            kind = keyword.rpartition(" ")[2]
            if kind in ("exif", "APP1") and profile.startswith(b"Exif\x00\x00"):
                layout.exif = layout.exif or profile[6:]
            elif kind == "xmp":
                layout.xmp = layout.xmp or profile
            elif kind in ("iptc", "8bim"):
                layout.iptc = layout.iptc or from_photoshop(profile)


def _decode(text: bytes) -> str:
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError:
        return text.decode("latin-1")


def raw_profile(text: bytes) -> bytes:
    """Decode ImageMagick's hexadecimal profile: a line with the kind, one with the length, digits."""
    digits = b"".join(text.split()[2:])
    try:
        return bytes.fromhex(digits.decode("ascii"))
    except ValueError:
        return b""
