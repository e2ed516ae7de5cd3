"""What plugins say of a rendition, and what earlier steps have said."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["AgeGroup", "Answer", "Caption", "Embedding", "Region", "Skip", "Statement", "Tag", "TextLine"]


@dataclass(frozen=True, slots=True)
class Region:
    """A box in the oriented frame.

    Parameters
    ----------
    x, y : float
        The upper left corner, 0..1 of the frame's width and height.
    width, height : float
        Its extent, 0..1 of the frame's width and height.
    """

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Caption:
    """A sentence about the whole picture, with its BCP 47 language if known."""

    text: str
    language: str | None = None
    confidence: float | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """The reply to one question: the words, and the typed value where the question has a type."""

    text: str
    value: str | bool | int | float | None = None
    confidence: float | None = None


@dataclass(frozen=True, slots=True)
class AgeGroup:
    """An apparent age: an estimate from appearance, never a fact about a person.

    Parameters
    ----------
    label : str
        The group as the model names it (``"21-44"``), without what else it says of the person.
    low_years, high_years : int or None
        The group as an interval, both ends included; None where it is open.
    confidence : float or None
        0..1 as the model gives it.
    region : Region or None
        Where the person is; None for a judgement of the whole picture.
    """

    label: str
    low_years: int | None = None
    high_years: int | None = None
    confidence: float | None = None
    region: Region | None = None


@dataclass(frozen=True, slots=True)
class Tag:
    """A machine label with the confidence (0..1) the model gives it."""

    name: str
    confidence: float | None = None


@dataclass(frozen=True, slots=True)
class TextLine:
    """One line of text read in the picture."""

    text: str
    confidence: float | None = None
    region: Region | None = None


@dataclass(frozen=True, slots=True)
class Embedding:
    """A picture's place in a model's space: float32, (D,), unit length."""

    vector: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Skip:
    """What any work hook may return for a rendition it does not want to judge.

    The job ends as ``skipped`` with this reason; nothing is written about the asset.
    """

    reason: str


@dataclass(frozen=True, slots=True)
class Statement:
    """What an earlier step said of the same rendition: one current annotation.

    ``text`` is its free text and ``data`` its structured data, as the catalog stores them.
    """

    step: str
    item: str
    kind: str
    text: str | None
    data: Any = None
    confidence: float | None = None
