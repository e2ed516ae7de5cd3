"""Ages in words: the years of a label, and which part of a model's labels may be kept at all.

Only what speaks of age is ever kept. Words that may stand in a label are listed, all others are taken out:
what a model says of gender, race or anything else about a person cannot slip through unnamed.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["AgeScale", "Years", "parse_years", "read_scale", "years_of"]

_NO_ONE = {"background", "no face", "no faces", "no one", "no people", "no person", "nobody", "none"}

_DECADE = re.compile(r"\b(\d+0)\s*'?s\b")
_RANGE = re.compile(r"(\d+)\s*(?:-|–|—|_|\bto\b)\s*(\d+)")
# "More than 70" follows "60-69" in the data sets that say so: the number itself belongs to the group.
_FROM = re.compile(
    r"(\d+)\s*(?:\+|(?:years )?(?:and|or) (?:over|older|above|more|up)\b)"
    r"|(?:>=?|≥|\b(?:over|above|from|more than|older than|at least))\s*(\d+)"
)
_UP_TO = re.compile(
    r"(\d+)\s*(?:years )?(?:and|or) (?:under|younger|below|less)\b|(?:<=|≤|\b(?:up to|at most))\s*(\d+)"
)
_BELOW = re.compile(r"(?:<|\b(?:under|below|less than|younger than))\s*(\d+)")
_SINGLE = re.compile(r"\d+")

_WORD = re.compile(r"[^\W\d_]+")
_STAGES = frozenset(
    {
        "adolescent",
        "adolescents",
        "adult",
        "adults",
        "aged",
        "babies",
        "baby",
        "child",
        "childhood",
        "children",
        "elder",
        "elderly",
        "elders",
        "infant",
        "infants",
        "kid",
        "kids",
        "newborn",
        "old",
        "senior",
        "seniors",
        "teen",
        "teenage",
        "teenager",
        "teenagers",
        "teens",
        "toddler",
        "toddlers",
        "young",
        "youth",
    }
)
_GLUE = frozenset(
    {
        "about",
        "above",
        "age",
        "ages",
        "and",
        "at",
        "below",
        "between",
        "early",
        "from",
        "group",
        "late",
        "least",
        "less",
        "mid",
        "middle",
        "more",
        "most",
        "older",
        "or",
        "over",
        "plus",
        "s",
        "than",
        "to",
        "under",
        "up",
        "y",
        "year",
        "years",
        "yo",
        "younger",
        "yr",
        "yrs",
    }
)


@dataclass(frozen=True, slots=True)
class Years:
    """An age group.

    Parameters
    ----------
    label : str
        As it is stored and shown.
    low, high : int or None
        The first and the last year of it; None where it is open, or the label says no years.
    """

    label: str
    low: int | None
    high: int | None


@dataclass(frozen=True, eq=False, slots=True)
class AgeScale:
    """What the labels of a classifier come to: groups of years, and that there is no one.

    Parameters
    ----------
    groups : tuple of Years or None
        Each once, in the labels' order; None: there is no one.
    places : ndarray
        int64, (C,): to which of ``groups`` each label belongs; -1: to none, it says no age.
    """

    groups: tuple[Years | None, ...]
    places: NDArray[np.int64]

    @property
    def knows_ages(self) -> bool:
        """Whether any label says an age."""
        return any(group is not None for group in self.groups)

    def judge(self, probabilities: NDArray[np.floating]) -> tuple[Years | None, float]:
        """Return the likeliest group and its confidence, 0..1; None: there is no one.

        Labels of the same years are added up, whatever else they said. Where some labels are of no age,
        the others share the whole among themselves.
        """
        is_kept = self.places >= 0
        kept = probabilities[is_kept].astype(np.float64)
        sums = np.bincount(self.places[is_kept], kept, len(self.groups))
        if not is_kept.all() and sums.sum() > 0:
            sums = sums / sums.sum()
        best = int(sums.argmax())
        return self.groups[best], min(float(sums[best]), 1.0)


def read_scale(labels: Sequence[str]) -> AgeScale:
    """Return what a classifier's labels come to; computed once for each set of labels."""
    return _read_scale(tuple(labels))


@functools.lru_cache(maxsize=64)
def _read_scale(labels: tuple[str, ...]) -> AgeScale:
    groups: dict[str, Years | None] = {}
    places: list[int] = []
    for label in labels:
        group = years_of(label)
        if group is None and not _is_no_one(label):
            places.append(-1)
            continue
        key = "" if group is None else group.label
        groups.setdefault(key, group)
        places.append(list(groups).index(key))
    return AgeScale(tuple(groups.values()), np.array(places, np.int64))


def years_of(label: str) -> Years | None:
    """Return the age group that a label names, without anything else that it says; None: it names none.

    ``"Teenager 13-20"`` stays as it is; ``"male_20-29"`` is ``"20-29"``; ``"female"`` is none.
    """
    if _is_no_one(label):
        return None
    low, high = parse_years(label)
    words = set(_WORD.findall(label.casefold()))
    has_years = low is not None or high is not None
    if words <= _STAGES | _GLUE and (has_years or words & _STAGES):
        return Years(label.strip(), low, high)
    return Years(_shown(low, high), low, high) if has_years else None


def _shown(low: int | None, high: int | None) -> str:
    if high is None:
        return f"{low}+"
    return f"{low}" if low == high else f"{low or 0}-{high}"


def _is_no_one(label: str) -> bool:
    return " ".join(re.split(r"[\s_-]+", label.casefold().strip())) in _NO_ONE


@functools.lru_cache(maxsize=1024)
def parse_years(label: str) -> tuple[int | None, int | None]:
    """Read the interval out of a label, both ends included; None where it is open or not said.

    ``"Teenager 13-20"`` is (13, 20), ``"20s"`` (20, 29), ``"65+"`` and ``"more than 65"`` are (65, None),
    ``"under 3"`` is (None, 2), ``"3 and under"`` (None, 3), ``"25"`` (25, 25), ``"adult"`` (None, None).
    """
    text = label.casefold()
    if match := _RANGE.search(text):
        return int(match[1]), int(match[2])
    if match := _DECADE.search(text):
        return int(match[1]), int(match[1]) + 9
    if match := _FROM.search(text):
        return int(match[1] or match[2]), None
    if match := _UP_TO.search(text):
        return None, int(match[1] or match[2])
    if match := _BELOW.search(text):
        return None, int(match[1]) - 1
    if match := _SINGLE.search(text):
        return int(match[0]), int(match[0])
    return None, None
