"""EXIF: the fields by name, and the few of them that become columns.

Source: CIPA DC-008-2023, Exchangeable image file format (Exif 3.0).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from PIL import ExifTags

from enrich.rendition.tiff import Directories, Entry, Value

__all__ = ["Exif", "decode_text", "read_exif", "read_orientation"]

_ORIENTATION, _EXIF_IFD, _GPS_IFD = 0x0112, 0x8769, 0x8825
_USER_COMMENT = 0x9286
# Windows writes these as UTF-16LE in byte fields.
_XP_TAGS = {0x9C9B, 0x9C9C, 0x9C9D, 0x9C9E, 0x9C9F}
_ASCII, _UNDEFINED, _BYTE = 2, 7, 1
# Undefined fields that hold four characters.
_VERSIONS = {0x9000, 0xA000}

# How the file is laid out, not what it shows: strips, tiles, tables, pointers, thumbnails; other
# metadata blocks, which are read by themselves; and blobs that only their maker can read.
_DROPPED = {
    *range(254, 260), 262, 266, 273, *range(277, 280), 284, 292, 293, *range(317, 321), *range(322, 326),
    330, *range(338, 342), 347, 513, 514, *range(529, 533), 700, 33723, 34377, 34675, 37121, 37500, 37724,
    40965, 50341, 59932, _EXIF_IFD, _GPS_IFD,
}  # fmt: skip
_MAX_NUMBERS = 16


@dataclass(slots=True)
class Exif:
    """What the EXIF block says.

    ``tags`` holds every field worth keeping by its standard name; values are text, numbers or lists
    of numbers, not yet cleaned (see `enrich.rendition.embedded`). Latitude and longitude are in
    degrees, None unless both are there and in range.
    """

    tags: dict[str, Any] = field(default_factory=dict)
    orientation: int | None = None
    latitude: float | None = None
    longitude: float | None = None


def read_exif(read: Callable[[int, int], bytes]) -> Exif:
    """Read the main, EXIF and GPS directories; single damaged fields are left out.

    Parameters
    ----------
    read : callable
        ``read(offset, size)`` returns bytes counted from the TIFF header.

    Raises
    ------
    ValueError
        There is no TIFF header.
    """
    directories = Directories(read)
    main = next(directories.chain(1), {})
    exif = Exif(orientation=_orientation(directories, main))
    _collect(directories, main, ExifTags.TAGS, exif.tags)
    if pointer := directories.integer(main.get(_EXIF_IFD)):
        _collect(directories, directories.at(pointer), ExifTags.TAGS, exif.tags)
    if pointer := directories.integer(main.get(_GPS_IFD)):
        gps: dict[str, Any] = {}
        _collect(directories, directories.at(pointer), ExifTags.GPSTAGS, gps)
        exif.latitude, exif.longitude = _position(gps)
        exif.tags.update(gps)
    return exif


def read_orientation(block: bytes) -> int | None:
    """Return the orientation that an EXIF block holds, 1 to 8, or None."""
    block = block.removeprefix(b"Exif\x00\x00")
    try:
        directories = Directories(lambda offset, size: block[offset : offset + size])
    except ValueError:
        return None
    return _orientation(directories, next(directories.chain(1), {}))


def _orientation(directories: Directories, main: Mapping[int, Entry]) -> int | None:
    value = directories.integer(main.get(_ORIENTATION))
    return value if value is not None and 1 <= value <= 8 else None


def _collect(
    directories: Directories, entries: Mapping[int, Entry], names: Mapping[int, str], into: dict[str, Any]
) -> None:
    for tag, entry in entries.items():
        name = names.get(tag)
        if name is None or (names is ExifTags.TAGS and tag in _DROPPED):
            continue
        # Tables are not for people, and huge ones not for us.
        if entry[1] > _MAX_NUMBERS and entry[0] not in (_BYTE, _ASCII, _UNDEFINED):
            continue
        value = directories.value(entry)
        if value is not None and (plain := _plain(tag, entry[0], value)) not in (None, "", []):
            into.setdefault(name, plain)


def _plain(tag: int, kind: int, value: Value) -> Any:
    """Return text, a number or a list of numbers; None for what is not worth keeping."""
    if not isinstance(value, bytes):
        return value[0] if len(value) == 1 else list(value)
    if tag == _USER_COMMENT:
        return _comment(value)
    if tag in _XP_TAGS:
        return value.decode("utf-16-le", "replace")
    if kind == _ASCII or tag in _VERSIONS:
        return decode_text(value)
    if kind == _BYTE and len(value) <= 4:
        return value[0] if len(value) == 1 else list(value)
    return value[0] if kind == _UNDEFINED and len(value) == 1 else None


def decode_text(value: bytes) -> str:
    """Decode text of unstated encoding: UTF-8, else what Windows wrote. It ends at the first NUL."""
    value = value.split(b"\x00", 1)[0]
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("cp1252", "replace")


def _comment(value: bytes) -> str | None:
    """Decode a UserComment, whose first 8 bytes name its encoding."""
    code, text = value[:8], value[8:]
    if code.startswith(b"UNICODE"):
        # The standard leaves the byte order open: the one that gives zero high bytes is right.
        is_big = text[::2].count(0) > text[1::2].count(0)
        return text.decode("utf-16-be" if is_big else "utf-16-le", "replace")
    if code.startswith((b"ASCII", bytes(8))):
        return decode_text(text)
    return None


def _position(gps: Mapping[str, Any]) -> tuple[float | None, float | None]:
    latitude = _degrees(gps.get("GPSLatitude"), gps.get("GPSLatitudeRef"), "N", "S", 90)
    longitude = _degrees(gps.get("GPSLongitude"), gps.get("GPSLongitudeRef"), "E", "W", 180)
    return (None, None) if latitude is None or longitude is None else (latitude, longitude)


def _degrees(parts: Any, reference: Any, positive: str, negative: str, limit: int) -> float | None:
    """Return degrees from degrees, minutes and seconds and the half of the globe."""
    half = str(reference).strip().upper()[:1]
    if half not in (positive, negative):
        return None
    numbers = parts if isinstance(parts, list) else [parts]
    # Some cameras write 0/0 for minutes or seconds they did not measure.
    numbers = [0.0 if i and isinstance(n, float) and math.isnan(n) else n for i, n in enumerate(numbers[:3])]
    if not all(isinstance(n, int | float) and math.isfinite(n) and n >= 0 for n in numbers):
        return None
    degrees: float = sum(n / 60**i for i, n in enumerate(numbers))
    if degrees > limit or any(n > 60 for n in numbers[1:]):
        return None
    return round(-degrees if half == negative else degrees, 8)
