"""Age groups: the likeliest label of an age classifier, as an interval of years.

An estimate of how old the main person looks, never a fact about anybody.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from typing import Annotated

import pydantic

import enrich

__all__ = ["Options", "enrich_age", "needs_model", "parse_years", "revision", "size_px"]

revision = "1"

#: About twice what classifiers take; more pixels would only be decoded to be thrown away.
size_px = 512
needs_model = True

_NO_ONE = {"background", "no face", "no faces", "no one", "no people", "no person", "nobody", "none"}

_RANGE = re.compile(r"(\d+)\s*(?:-|–|—|\bto\b)\s*(\d+)")
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


class Options(pydantic.BaseModel):
    """What a step may set."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    threshold: Annotated[float, pydantic.Field(ge=0, le=1)] = 0.0


@enrich.hookimpl
def enrich_age(
    renditions: Sequence[enrich.Rendition], context: enrich.Context
) -> list[list[enrich.AgeGroup] | None]:
    """Return the likeliest group; none where the model sees no one, None below the threshold."""
    assert context.model is not None  # needs_model
    options: Options = context.options
    return [_judge(*scores.top(1)[0], options.threshold) for scores in context.model.predict(renditions)]


def _judge(label: str, confidence: float, threshold: float) -> list[enrich.AgeGroup] | None:
    if confidence < threshold:
        return None
    if " ".join(re.split(r"[\s_-]+", label.casefold().strip())) in _NO_ONE:
        return []
    low, high = parse_years(label)
    return [enrich.AgeGroup(label, low, high, confidence)]


@functools.cache
def parse_years(label: str) -> tuple[int | None, int | None]:
    """Read the interval out of a label, both ends included; None where it is open or not said.

    ``"Teenager 13-20"`` is (13, 20), ``"65+"`` and ``"more than 65"`` are (65, None),
    ``"under 3"`` is (None, 2), ``"3 and under"`` (None, 3), ``"25"`` (25, 25), ``"adult"`` (None, None).
    """
    text = label.casefold()
    if match := _RANGE.search(text):
        return int(match[1]), int(match[2])
    if match := _FROM.search(text):
        return int(match[1] or match[2]), None
    if match := _UP_TO.search(text):
        return None, int(match[1] or match[2])
    if match := _BELOW.search(text):
        return None, int(match[1]) - 1
    if match := _SINGLE.search(text):
        return int(match[0]), int(match[0])
    return None, None
