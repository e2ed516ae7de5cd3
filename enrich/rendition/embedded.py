"""Embedded metadata: EXIF, IPTC, XMP and text fields as one clean, compact, JSON-able dict."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from enrich.rendition.boundary import one_line
from enrich.rendition.dates import taken
from enrich.rendition.exif import Exif, read_exif
from enrich.rendition.iptc import read_iptc
from enrich.rendition.layout import Layout
from enrich.rendition.xmp import read_xmp

__all__ = ["Embedded", "read_embedded"]

_MAX_TEXT = 4096
_MAX_DEPTH = 6
_MAX_ITEMS = 500
# All text of one file together. Beyond it fields are left out.
_MAX_TOTAL = 64 * 1024

# What SQL and JSON cannot hold (NUL, lone surrogates), and control characters but tab and newlines.
_UNFIT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")
_XMP_DEGREES = re.compile(r"(\d{1,3}(?:\.\d+)?)(?:,(\d{1,2}(?:\.\d+)?))?(?:,(\d{1,2}(?:\.\d+)?))?([NSEW])")

_Result = TypeVar("_Result")

# The normalised fields, each with where it is looked for, best first.
_SOURCES: dict[str, tuple[tuple[str, str], ...]] = {
    "title": (("xmp", "dc:title"), ("iptc", "ObjectName"), ("exif", "XPTitle"), ("texts", "Title")),
    "headline": (("xmp", "photoshop:Headline"), ("iptc", "Headline")),
    "description": (
        ("xmp", "dc:description"),
        ("iptc", "Caption-Abstract"),
        ("exif", "ImageDescription"),
        ("texts", "Description"),
    ),
    "alt_text": (("xmp", "Iptc4xmpCore:AltTextAccessibility"),),
    "creator": (
        ("xmp", "dc:creator"),
        ("iptc", "By-line"),
        ("exif", "Artist"),
        ("exif", "XPAuthor"),
        ("texts", "Author"),
    ),
    "credit": (("xmp", "photoshop:Credit"), ("iptc", "Credit")),
    "copyright": (
        ("xmp", "dc:rights"),
        ("iptc", "CopyrightNotice"),
        ("exif", "Copyright"),
        ("texts", "Copyright"),
    ),
    "city": (("xmp", "photoshop:City"), ("iptc", "City")),
    "country": (("xmp", "photoshop:Country"), ("iptc", "Country-PrimaryLocationName")),
}


@dataclass(slots=True)
class Embedded:
    """What the metadata say.

    ``data`` is clean JSON: no NaN, no NUL, no lone surrogates, bounded in length. Its keys are the
    groups ``exif``, ``iptc``, ``xmp`` and ``texts`` with the fields by their standard names, the
    normalised ``title``, ``headline``, ``description``, ``alt_text``, ``keywords`` (list),
    ``creator``, ``credit``, ``copyright``, ``city``, ``country`` and ``rating`` (number), and
    ``warnings`` (list): what was damaged and left out. Only keys with values are there.
    """

    data: dict[str, Any] = field(default_factory=dict)
    orientation: int | None = None
    taken_at: datetime | None = None
    taken_offset_minutes: int | None = None
    camera: str | None = None
    latitude: float | None = None
    longitude: float | None = None


def read_embedded(layout: Layout, read_directories: Callable[[int, int], bytes] | None) -> Embedded:
    """Read all metadata blocks; a damaged one never fails, it is left out with a warning.

    Parameters
    ----------
    layout : Layout
        Where the blocks come from.
    read_directories : callable or None
        ``read(offset, size)`` of a file that is itself a TIFF, whose own directories are its EXIF.
    """
    warnings: list[str] = []
    if block := layout.exif:
        read_directories = _reader(block)
    read, packet = read_directories, layout.xmp
    exif = _attempt("EXIF", lambda: read_exif(read) if read else Exif(), Exif, warnings)
    iptc = _attempt("IPTC", lambda: read_iptc(layout.iptc or b""), dict, warnings)
    xmp = _attempt("XMP", lambda: read_xmp(packet) if packet else {}, dict, warnings)
    cleaner = _Cleaner()
    found = {
        "exif": cleaner.clean(exif.tags) or {},
        "iptc": cleaner.clean(iptc) or {},
        "xmp": cleaner.clean(xmp) or {},
        "texts": cleaner.clean(layout.texts) or {},
    }
    data: dict[str, Any] = {name: group for name, group in found.items() if group}
    data.update(_normalised(found))
    if warnings:
        data["warnings"] = warnings
    taken_at, offset_minutes = taken(found["exif"], found["iptc"], found["xmp"])
    latitude, longitude = exif.latitude, exif.longitude
    if latitude is None:
        latitude, longitude = _xmp_position(found["xmp"])
    return Embedded(
        data=data,
        orientation=exif.orientation,
        taken_at=taken_at,
        taken_offset_minutes=offset_minutes,
        camera=_camera(found["exif"], found["xmp"]),
        latitude=latitude,
        longitude=longitude,
    )


def _reader(block: bytes) -> Callable[[int, int], bytes]:
    return lambda offset, size: block[offset : offset + size]


def _attempt(
    name: str, read: Callable[[], _Result], nothing: Callable[[], _Result], warnings: list[str]
) -> _Result:
    try:
        return read()
    # Damaged and hostile blocks fail in every way a parser can; none is worth losing the picture.
    except Exception as error:  # noqa: BLE001
        warnings.append(f"{name} is damaged and was left out: {one_line(error)}")
        return nothing()


class _Cleaner:
    """Makes values JSON-able and bounded; what is over the total is left out."""

    def __init__(self) -> None:
        self._left = _MAX_TOTAL

    def clean(self, value: Any, depth: int = 0) -> Any:
        """Return the value as clean JSON, or None for nothing."""
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, float):
            return round(value, 6) if math.isfinite(value) else None
        if isinstance(value, int):
            return value if abs(value) < 2**63 else None
        self._left -= 8
        if depth > _MAX_DEPTH or self._left < 0:
            return None
        if isinstance(value, dict):
            pairs = ((self._text(str(name)), self.clean(item, depth + 1)) for name, item in value.items())
            return {name: item for name, item in pairs if name and item is not None} or None
        if isinstance(value, list | tuple):
            items = [self.clean(item, depth + 1) for item in value[:_MAX_ITEMS]]
            # Numbers keep their places: a position with a hole is none.
            if any(item is None for item in items) and not any(
                isinstance(item, str | dict) for item in items
            ):
                return None
            return [item for item in items if item is not None] or None
        return None

    def _text(self, text: str) -> str | None:
        text = _UNFIT.sub("", text[:_MAX_TEXT]).strip()
        self._left -= len(text)
        return text if text and self._left >= 0 else None


def _normalised(found: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    if not any(found.values()):
        return fields
    for name, places in _SOURCES.items():
        for group, key in places:
            if text := _as_text(found[group].get(key)):
                fields[name] = text
                break
    if keywords := _keywords(found):
        fields["keywords"] = keywords
    for value in (found["xmp"].get("xmp:Rating"), found["exif"].get("Rating")):
        try:
            rating = float(str(value))
        except ValueError:
            continue
        # -1 is "rejected"; stars go to 5.
        if -1 <= rating <= 5:
            fields["rating"] = int(rating) if rating == int(rating) else rating
            break
    return fields


def _keywords(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the keywords of all groups, each once, in the order found."""
    listed: list[Any] = []
    for value in (found["xmp"].get("dc:subject"), found["iptc"].get("Keywords")):
        listed.extend(value if isinstance(value, list) else [value])
    listed.extend(str(found["exif"].get("XPKeywords", "")).split(";"))
    unique: dict[str, str] = {}
    for word in listed:
        if isinstance(word, str) and word.strip():
            unique.setdefault(word.strip().casefold(), word.strip())
    return list(unique.values())


def _as_text(value: Any) -> str | None:
    if isinstance(value, list):
        return ", ".join(item for item in value if isinstance(item, str)) or None
    return value if isinstance(value, str) else None


def _camera(exif: Mapping[str, Any], xmp: Mapping[str, Any]) -> str | None:
    """Return maker and model, the maker not said twice (Canon, Canon EOS D60)."""
    make = _as_text(exif.get("Make") or xmp.get("tiff:Make")) or ""
    model = _as_text(exif.get("Model") or xmp.get("tiff:Model")) or ""
    if make and model.casefold().startswith(make.split()[0].casefold()):
        return model
    return f"{make} {model}".strip() or None


def _xmp_position(xmp: Mapping[str, Any]) -> tuple[float | None, float | None]:
    latitude = _xmp_degrees(xmp.get("exif:GPSLatitude"), "NS", 90)
    longitude = _xmp_degrees(xmp.get("exif:GPSLongitude"), "EW", 180)
    return (None, None) if latitude is None or longitude is None else (latitude, longitude)


def _xmp_degrees(text: Any, halves: str, limit: int) -> float | None:
    """Read XMP's ``51,30,15N`` or ``51,30.25N``."""
    match = _XMP_DEGREES.fullmatch(text) if isinstance(text, str) else None
    if match is None or match[4] not in halves:
        return None
    degrees = float(match[1]) + float(match[2] or 0) / 60 + float(match[3] or 0) / 3600
    return None if degrees > limit else round(-degrees if match[4] == halves[1] else degrees, 8)
