"""Dates in replies, in the forms that are usual in seven languages, as ISO 8601."""

from __future__ import annotations

import datetime as dt
import functools
import re
from collections.abc import Mapping

from enrich.replies.words import plain

__all__ = ["read_date"]

#: These write the day before the month; elsewhere 3/4/2024 may be either.
_DAY_FIRST = {"de", "es", "fr"}

_MONTHS = (
    "january jan janvier januar janner enero",
    "february feb fevrier fev februar febrero",
    "march mar mars marz maerz marzo",
    "april apr avril avr abril abr",
    "may mai mayo",
    "june jun juin juni junio",
    "july jul juillet juil juli julio",
    "august aug aout agosto ago",
    "september sept sep septembre septiembre setiembre",
    "october oct octobre oktober okt octubre",
    "november nov novembre noviembre",
    "december dec decembre dezember dez diciembre dic",
)
_BY_NAME: Mapping[str, int] = {
    name: number for number, names in enumerate(_MONTHS, 1) for name in names.split()
}

_EAST = re.compile(
    r"(?<!\d)(\d{4})\s*[年년](?![代대])(?:\s*(\d{1,2})\s*[月월](?:\s*(\d{1,2})\s*[日日일号號])?)?"
)
_ISO = re.compile(
    r"(?<![\d/.-])(\d{4})(?:([-/.])(\d{1,2})(?:\2(\d{1,2}))?|\.\s(\d{1,2})\.\s(\d{1,2}))(?![\d/-]|\.\d)"
)
_NUMBERS = re.compile(r"(?<![\d/.-])(\d{1,2})([-/.])\s?(\d{1,2})\2\s?(\d{4})(?![\d/-]|\.\d)")
# A decade is no year.
_YEAR = re.compile(r"(?<![\d/.,-])([12]\d{3})(?![\d/,-]|\.\d|'?s\b|’s\b|er\b|年代|년대)")


def read_date(reply: str, language: str | None) -> str | None:
    """Return the only date in a reply as ISO 8601, as exact as it was said; None where there is none.

    ``language`` tells whether the day or the month comes first in ``3/4/2024``; without it such a
    date is not read.
    """
    text = plain(reply)
    day_first = language is not None and language.split("-")[0].lower() in _DAY_FIRST
    found: set[str | None] = set()
    for pattern, read in (
        (_EAST, _from_east),
        (_ISO, lambda match: _iso(match[1], match[3] or match[5], match[4] or match[6])),
        (_NUMBERS, functools.partial(_from_numbers, day_first=day_first)),
        (_day_month(), lambda match: _iso(match[3], str(_BY_NAME[match[2]]), match[1])),
        (_month_day(), lambda match: _iso(match[3], str(_BY_NAME[match[1]]), match[2])),
        (_YEAR, lambda match: _iso(match[1], None, None)),
    ):
        found |= {read(match) for match in pattern.finditer(text)}
        # What was read is gone: a year is found again in no date.
        text = pattern.sub(" ", text)
    return found.pop() if len(found) == 1 else None


def _from_east(match: re.Match[str]) -> str | None:
    return _iso(match[1], match[2], match[3])


def _from_numbers(match: re.Match[str], *, day_first: bool) -> str | None:
    first, second = int(match[1]), int(match[3])
    if second > 12:
        return _iso(match[4], match[1], match[3])
    # Points stand between day and month only; of 3/4 either may be the day.
    if match[2] == "." or day_first or first > 12 or first == second:
        return _iso(match[4], match[3], match[1])
    return None


@functools.cache
def _day_month() -> re.Pattern[str]:
    """``31 May 2024``, ``1er mai 2024``, ``31. Mai 2024``, ``31 de mayo de 2024``."""
    return re.compile(
        rf"(?<!\d)(\d{{1,2}})(?:st|nd|rd|th|er|\.|º)?\s+(?:of\s+|de\s+)?({_names()})\.?,?\s+(?:de[l]?\s+)?(\d{{4}})\b"
    )


@functools.cache
def _month_day() -> re.Pattern[str]:
    """``May 31, 2024``, and ``May 2024``."""
    return re.compile(
        rf"\b({_names()})\.?(?:\s+(\d{{1,2}})(?:st|nd|rd|th)?)?,?\s+(?:of\s+|de[l]?\s+)?(\d{{4}})\b"
    )


def _names() -> str:
    return "|".join(sorted(_BY_NAME, key=len, reverse=True))


def _iso(year: str, month: str | None, day: str | None) -> str | None:
    try:
        date = dt.date(int(year), int(month or 1), int(day or 1))
    except ValueError:
        return None
    text = date.isoformat()
    return text if day else text[:7] if month else text[:4]
