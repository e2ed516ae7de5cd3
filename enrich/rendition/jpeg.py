"""The structure of JPEG files.

Source: ITU-T T.81 annex B (markers); Adobe Technical Note 5116 (APP14); ICC.1 annex B.4 (APP2);
XMP specification part 3, 1.1.3 (APP1, APP13).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from enrich.errors import BrokenPicture
from enrich.rendition.iptc import from_photoshop
from enrich.rendition.layout import Layout, Part
from enrich.rendition.source import Source

__all__ = ["read_jpeg"]

# What, after 0xFF, ends entropy coded data: not a stuffed zero, not a restart marker, not a fill byte.
_ENDS_SCAN = np.ones(256, bool)
_ENDS_SCAN[[0x00, *range(0xD0, 0xD8), 0xFF]] = False

# Looked through at once; fits into a core's cache.
_LOOK_BYTES = 1 << 17

_SOI, _EOI, _SOS, _COM = 0xD8, 0xD9, 0xDA, 0xFE
_APP1, _APP2, _APP13, _APP14 = 0xE1, 0xE2, 0xED, 0xEE
_ALONE = {0x01, *range(0xD0, 0xD9)}
_FRAMES = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# Frames, Huffman and arithmetic tables, scans, quantisation, lines, restart interval, hierarchy.
_IMAGE = {*range(0xC0, 0xD0), _SOS, *range(0xDB, 0xE0)}

# No sane file comes near it; a hostile one must not keep us for minutes.
_MAX_SEGMENTS = 100_000

_EXIF = b"Exif\x00\x00"
_XMP = b"http://ns.adobe.com/xap/1.0/\x00"
_ICC = b"ICC_PROFILE\x00"
_PHOTOSHOP = b"Photoshop 3.0\x00"


def read_jpeg(source: Source) -> Layout:
    """Walk the segments up to the first picture's end; what follows (previews, clips) is not its data.

    Raises
    ------
    BrokenPicture
        No frame header or no scan data.
    """
    layout = Layout()
    applications: dict[int, list[bytes]] = {_APP2: [], _APP13: []}
    ranges: list[tuple[int, int]] = []
    scanned = False
    for marker, start, stop, scan_bytes in _segments(source):
        scanned = scanned or scan_bytes > 0
        is_image = marker in _IMAGE
        if marker >= 0xE0:
            payload = source.read_at(start + 4, stop - start - 4)
            is_image = marker == _APP14 and payload.startswith(b"Adobe")
            _note_application(layout, applications, marker, payload)
        elif marker in _FRAMES and not layout.width_px:
            frame = source.read_at(start + 5, 4)
            layout.height_px, layout.width_px = (
                int.from_bytes(frame[:2], "big"),
                int.from_bytes(frame[2:], "big"),
            )
        if is_image:
            # Neighbours become one range.
            ranges.append((ranges.pop()[0], stop) if ranges and ranges[-1][1] == start else (start, stop))
    if not layout.width_px or not scanned:
        raise BrokenPicture("the JPEG ends before its image data")
    layout.parts = [Part(b"segments", ranges)]
    layout.profile = _profile(applications[_APP2])
    layout.iptc = from_photoshop(b"".join(applications[_APP13]))
    return layout


def _segments(source: Source) -> Iterator[tuple[int, int, int, int]]:
    """Yield each segment's marker, where it starts and stops, and how many bytes of that are scan data."""
    position = 2
    for _ in range(_MAX_SEGMENTS):
        head = source.read_at(position, 4)
        if len(head) < 4 or head[0] != 0xFF or head[1] in (0x00, 0xFF):
            # Fill bytes, or junk that some writers leave between segments.
            position = _next_marker(source, position)
            head = source.read_at(position, 4)
        if len(head) < 4 or head[1] == _EOI:
            return
        marker = head[1]
        if marker in _ALONE:
            position += 2
            continue
        stop = min(position + 2 + max(2, head[2] << 8 | head[3]), source.size_bytes)
        end = _next_marker(source, stop) if marker == _SOS else stop
        yield marker, position, end, end - stop
        position = end


def _next_marker(source: Source, start: int) -> int:
    """Return where the next marker begins at or after ``start``, or the file's size.

    Every byte of every JPEG passes here, several times faster than through a regular expression.
    """
    while len(chunk := source.read_at(start, _LOOK_BYTES)) > 1:
        data = np.frombuffer(chunk, np.uint8)
        followers = np.flatnonzero(data[:-1] == 0xFF) + 1
        found = followers[_ENDS_SCAN[data[followers]]]
        if found.size:
            return start + int(found[0]) - 1
        start += len(chunk) - 1  # the last byte is looked at again: a marker may straddle the chunks
    return source.size_bytes


def _note_application(
    layout: Layout, applications: dict[int, list[bytes]], marker: int, payload: bytes
) -> None:
    if marker == _APP1 and payload.startswith(_EXIF):
        layout.exif = layout.exif or payload[len(_EXIF) :]
    elif marker == _APP1 and payload.startswith(_XMP):
        layout.xmp = layout.xmp or payload[len(_XMP) :]
    elif marker == _APP2 and payload.startswith(_ICC):
        applications[_APP2].append(payload[len(_ICC) :])
    elif marker == _APP13 and payload.startswith(_PHOTOSHOP):
        applications[_APP13].append(payload[len(_PHOTOSHOP) :])
    elif marker == _COM:
        layout.texts.setdefault("Comment", payload.decode("utf-8", "replace"))


def _profile(chunks: list[bytes]) -> bytes:
    """Join the chunks of an ICC profile, which carry their number in the first byte."""
    return b"".join(chunk[2:] for chunk in sorted(chunks, key=lambda chunk: chunk[:1]))
