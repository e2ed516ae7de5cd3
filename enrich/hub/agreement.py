"""How far two forms of a model say the same of the same pictures."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from enrich.errors import UsageError
from enrich.inference.domain import flat_share
from enrich.types import Decoding, Detection, Region

if TYPE_CHECKING:
    from enrich.inference.handle import Model
    from enrich.inference.stored import StoredModel
    from enrich.types import Rendition

__all__ = ["PICTURES_MIN", "THRESHOLDS", "Agreement", "compare", "counted", "known_pictures", "observe"]

#: The figure that decides, by family, and how high it must be unless the user says otherwise.
THRESHOLDS: Mapping[str, tuple[str, float]] = {
    "classifier": ("top_1", 0.95),
    "detector": ("boxes", 0.9),
    "dual-encoder": ("cosine", 0.98),
    "encoder-decoder": ("words", 0.9),
    "florence": ("words", 0.9),
    "regressor": ("values", 0.95),
    "vision-language": ("words", 0.9),
}
#: What was measured on fewer says little; the command warns of it.
PICTURES_MIN = 20
_BATCH = 8
_QUESTION = "What is in the picture?"
_MAX_TOKENS = 32
#: Words that dual encoders rank, of what photographs often show.
_WORDS = (
    "person", "face", "dog", "cat", "bird", "horse", "car", "bus", "bicycle", "boat", "house", "street",
    "tree", "flower", "mountain", "beach", "sea", "sky", "snow", "food", "table", "chair", "book", "text",
)  # fmt: skip
_OVERLAP_MIN = 0.5
#: Numbers that are this far apart, of the range of all, count as equal.
_VALUES_APART = 0.02


@dataclass(frozen=True, slots=True)
class Agreement:
    """What was measured.

    Parameters
    ----------
    figures : mapping of str to float
        By what manifest.json calls them.
    figure : str
        The one that decides.
    pictures : int
        On how many pictures.
    """

    figures: Mapping[str, float]
    figure: str
    pictures: int

    @property
    def score(self) -> float:
        """The figure that decides: 1 where all is the same."""
        return self.figures[self.figure]


def counted(pictures: int) -> str:
    """Return a number of pictures for people."""
    return f"{pictures} picture{'' if pictures == 1 else 's'}"


def known_pictures(
    model: StoredModel, pictures: Sequence[Rendition], purpose: str, say: Callable[[str], None]
) -> list[Rendition]:
    """Return the pictures of a kind that a model knows; of others its steps ask nothing.

    Parameters
    ----------
    model : StoredModel
        Its manifest's ``domain`` tells them.
    pictures : sequence of Rendition
        What there is.
    purpose : str
        What they are for, in messages.
    say : callable
        Told how many were left out.

    Raises
    ------
    UsageError
        There is none. Not retryable.
    """
    domain = model.manifest.domain
    known = [one for one in pictures if domain is None or flat_share(one.pixels) >= domain.flat_share_min]
    if not pictures:
        raise UsageError(f"there is no picture {purpose}")
    refused = f"{counted(len(pictures) - len(known))} {purpose}, of a kind that {model.name} refuses"
    if not known:
        raise UsageError(
            f"there is nothing but {refused} (outside_domain): name a folder of what it knows"
            f"{': ' + model.manifest.knows if model.manifest.knows else ''}"
        )
    if len(known) < len(pictures):
        say(f"left out: {refused} (outside_domain)")
    return known


def observe(model: Model, renditions: Sequence[Rendition]) -> list[Any]:
    """Ask a model of each picture what its family can say; for ``compare``.

    Raises
    ------
    UsageError
        It can say nothing that could be compared. Not retryable.
    InferenceError
        The runtime refused a picture. Not retryable.
    """
    if model.family not in THRESHOLDS:
        raise UsageError(f"{model.name}: {model.family} models cannot be compared")
    parts = [renditions[start : start + _BATCH] for start in range(0, len(renditions), _BATCH)]
    if model.family == "dual-encoder":
        words = np.stack(list(model.embed(list(_WORDS))))
        return [(vector, words) for part in parts for vector in model.embed(part)]
    if model.family == "detector":
        return [found for part in parts for found in model.detect(part)]
    if model.family == "regressor":
        return [value for part in parts for value in model.measure(part)]
    if model.family == "classifier":
        return [scores.probabilities for part in parts for scores in model.predict(part)]
    return [text for part in parts for text in _texts(model, part)]


def compare(family: str, before: Sequence[Any], after: Sequence[Any]) -> Agreement:
    """Compare what two forms of a model said of the same pictures, in order."""
    measured = {
        "classifier": _scores,
        "detector": _boxes,
        "dual-encoder": _vectors,
        "regressor": _values,
    }.get(family, _writing)(before, after)
    return Agreement(measured, THRESHOLDS[family][0], len(before))


def _texts(model: Model, renditions: Sequence[Rendition]) -> list[str]:
    if "enrich_caption" in model.hooks:
        prompt = model.caption_prompt(None, None)
    else:
        prompt = model.answer_prompt(_QUESTION, None)
    decoding = Decoding(max_tokens=_MAX_TOKENS)
    return [one.text for one in model.generate(renditions, [prompt] * len(renditions), decoding)]


def _scores(before: Sequence[Any], after: Sequence[Any]) -> dict[str, float]:
    old, new = np.stack(before), np.stack(after)
    return {
        "top_1": float((old.argmax(1) == new.argmax(1)).mean()),
        "probability_apart": float(np.abs(old - new).max()),
    }


def _vectors(before: Sequence[Any], after: Sequence[Any]) -> dict[str, float]:
    old, new = (np.stack([vector for vector, _ in said]) for said in (before, after))
    old_words, new_words = before[0][1], after[0][1]
    nearest = (old @ old_words.T).argmax(1) == (new @ new_words.T).argmax(1)
    seen, read = float((old * new).sum(1).mean()), float((old_words * new_words).sum(1).mean())
    # One half that is well says nothing of the other.
    return {
        "cosine": min(seen, read),
        "picture_cosine": seen,
        "text_cosine": read,
        "top_1": float(nearest.mean()),
    }


def _values(before: Sequence[float], after: Sequence[float]) -> dict[str, float]:
    old, new = np.asarray(before, np.float64), np.asarray(after, np.float64)
    apart = np.abs(old - new)
    largest = max(float(np.abs(old).max()), 1e-9)
    return {"values": float((apart <= _VALUES_APART * largest).mean()), "value_apart": float(apart.max())}


def _writing(before: Sequence[str], after: Sequence[str]) -> dict[str, float]:
    pairs = [(old.split(), new.split()) for old, new in zip(before, after, strict=True)]
    alike = [difflib.SequenceMatcher(None, *pair, autojunk=False).ratio() for pair in pairs]
    return {
        "words": float(np.mean(alike)),
        "texts": float(np.mean([old == new for old, new in pairs])),
    }


def _boxes(before: Sequence[Sequence[Detection]], after: Sequence[Sequence[Detection]]) -> dict[str, float]:
    matched, apart, boxes = 0, 0.0, sum(map(len, before)) + sum(map(len, after))
    for old, new in zip(before, after, strict=True):
        left = list(new)
        for one in old:
            near = [other for other in left if other.name == one.name]
            best = max(near, key=lambda other: _overlap(one.region, other.region), default=None)
            if best is not None and _overlap(one.region, best.region) >= _OVERLAP_MIN:
                left.remove(best)
                matched += 1
                apart = max(apart, abs(one.confidence - best.confidence))
    return {"boxes": 2 * matched / boxes if boxes else 1.0, "confidence_apart": apart}


def _overlap(one: Region, other: Region) -> float:
    """Return the share of their union that two boxes have in common."""
    width = min(one.x + one.width, other.x + other.width) - max(one.x, other.x)
    height = min(one.y + one.height, other.y + other.height) - max(one.y, other.y)
    common = max(width, 0.0) * max(height, 0.0)
    whole = one.width * one.height + other.width * other.height - common
    return common / whole if whole else 0.0
