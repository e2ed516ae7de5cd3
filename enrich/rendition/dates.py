"""When a picture was taken, out of the many ways in which metadata write it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

__all__ = ["taken"]

# EXIF's 2010:01:31 12:00:00, ISO 8601's 2010-01-31T12:00:00.5+02:00, IPTC's 20100131 120000+0200.
_DATE = re.compile(
    r"\s*(\d{4})[:/.-]?(\d\d)[:/.-]?(\d\d)"
    r"(?:[T ]\s*(\d\d):?(\d\d)(?::?(\d\d))?(?:[.,]\d+)?\s*(Z|[+-]\d\d:?\d\d)?)?\s*"
)
_OFFSET = re.compile(r"\s*([+-])(\d\d):?(\d\d)\s*")
# The first photograph is of 1826; cameras without a set clock write year 0 or 1.
_FIRST_YEAR = 1826
_MAX_OFFSET_MINUTES = 14 * 60


def taken(
    exif: Mapping[str, Any], iptc: Mapping[str, Any], xmp: Mapping[str, Any]
) -> tuple[datetime | None, int | None]:
    """Return the local time at which the picture was taken, naive, and its UTC offset in minutes.

    The shutter's time comes first (EXIF original, then digitised), then what editors wrote (XMP,
    IPTC). A date without a time is that day's midnight.
    """
    candidates = (
        (exif.get("DateTimeOriginal"), exif.get("OffsetTimeOriginal")),
        (exif.get("DateTimeDigitized"), exif.get("OffsetTimeDigitized")),
        (xmp.get("exif:DateTimeOriginal"), None),
        (xmp.get("photoshop:DateCreated"), None),
        (xmp.get("xmp:CreateDate"), None),
        (_joined(iptc.get("DateCreated"), iptc.get("TimeCreated")), None),
        (_joined(iptc.get("DigitalCreationDate"), iptc.get("DigitalCreationTime")), None),
    )
    for text, offset in candidates:
        if isinstance(text, str) and (found := _parse(text)):
            at, inline = found
            return at, _minutes(offset) if inline is None else inline
    return None, None


def _joined(date: object, time: object) -> str | None:
    return f"{date} {time}" if date and time else str(date) if date else None


def _parse(text: str) -> tuple[datetime, int | None] | None:
    match = _DATE.fullmatch(text)
    if match is None:
        return None
    year, month, day, hour, minute, second = (int(group or 0) for group in match.groups()[:6])
    if year < _FIRST_YEAR:
        return None
    try:
        # Some clocks write a leap second.
        at = datetime(year, month, day, hour, minute, min(second, 59))
    except ValueError:
        return None
    return at, 0 if match[7] == "Z" else _minutes(match[7])


def _minutes(offset: object) -> int | None:
    match = _OFFSET.fullmatch(offset) if isinstance(offset, str) else None
    if match is None:
        return None
    minutes = int(match[2]) * 60 + int(match[3])
    if minutes > _MAX_OFFSET_MINUTES or int(match[3]) > 59:
        return None
    return -minutes if match[1] == "-" else minutes
