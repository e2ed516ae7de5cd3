"""IPTC-IIM, the older captions of press photographs.

Source: IPTC, Information Interchange Model 4.2; Adobe, Photoshop File Formats (image resources).
"""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["from_photoshop", "read_iptc"]

# Datasets of record 2 by number; those that repeat hold a list.
_NAMES = {
    5: "ObjectName",
    10: "Urgency",
    15: "Category",
    20: "SupplementalCategories",
    25: "Keywords",
    40: "SpecialInstructions",
    55: "DateCreated",
    60: "TimeCreated",
    62: "DigitalCreationDate",
    63: "DigitalCreationTime",
    65: "OriginatingProgram",
    80: "By-line",
    85: "By-lineTitle",
    90: "City",
    92: "Sub-location",
    95: "Province-State",
    100: "Country-PrimaryLocationCode",
    101: "Country-PrimaryLocationName",
    103: "OriginalTransmissionReference",
    105: "Headline",
    110: "Credit",
    115: "Source",
    116: "CopyrightNotice",
    118: "Contact",
    120: "Caption-Abstract",
    122: "Writer-Editor",
}
_LISTS = {20, 25, 80, 85, 118, 122}
_IPTC_RESOURCE = 0x0404
_UTF8 = b"\x1b%G"
_MAX_DATASETS = 2000


def from_photoshop(resources: bytes) -> bytes | None:
    """Return the IPTC block within Photoshop image resources, or None."""
    position = 0
    while resources[position : position + 4] == b"8BIM":
        number = int.from_bytes(resources[position + 4 : position + 6], "big")
        # A Pascal string, padded to an even length.
        start = position + 6 + (resources[position + 6 : position + 7] or b"\x00")[0] // 2 * 2 + 2
        size = int.from_bytes(resources[start : start + 4], "big")
        if number == _IPTC_RESOURCE:
            return resources[start + 4 : start + 4 + size]
        position = start + 4 + size + (size & 1)
    return None


def read_iptc(block: bytes) -> dict[str, str | list[str]]:
    """Return the fields by name, with text as it stands there; what is cut off is left out."""
    found: dict[str, str | list[str]] = {}
    is_utf8 = False
    for record, number, value in _datasets(block):
        if (record, number) == (1, 90):
            is_utf8 = value == _UTF8
        if record != 2 or number not in _NAMES:
            continue
        text = _decode(value, is_utf8).strip("\x00 ")
        if not text:
            continue
        if number in _LISTS:
            listed = found.setdefault(_NAMES[number], [])
            assert isinstance(listed, list)
            listed.append(text)
        else:
            found.setdefault(_NAMES[number], text)
    return found


def _datasets(block: bytes) -> Iterator[tuple[int, int, bytes]]:
    position = 0
    for _ in range(_MAX_DATASETS):
        head = block[position : position + 5]
        if len(head) < 5 or head[0] != 0x1C:
            return
        size = int.from_bytes(head[3:], "big")
        start = position + 5
        if size & 0x8000:
            # An extended dataset: the low bits say how many bytes hold the length.
            width = size & 0x7FFF
            if width > 4:
                return
            size = int.from_bytes(block[start : start + width], "big")
            start += width
        if start + size > len(block):
            return
        yield head[1], head[2], block[start : start + size]
        position = start + size


def _decode(value: bytes, is_utf8: bool) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("utf-8" if is_utf8 else "cp1252", "replace")
