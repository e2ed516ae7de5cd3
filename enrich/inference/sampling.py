"""How the next token is chosen from a decoder's logits.

Source of the arithmetic and its order: ``generation/logits_process.py`` of Hugging Face transformers
4.57 (repetition penalty, temperature, top-k, top-p), in float32 as there.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from enrich.errors import UsageError
from enrich.types import Decoding

__all__ = [
    "check_decoding",
    "draw",
    "keep_top_k",
    "keep_top_p",
    "log_probabilities",
    "penalise",
    "shape",
]

Scores = NDArray[np.float32]

#: Below it logits would leave float32's range; the likeliest token is drawn in any case.
_TEMPERATURE_MIN = 1e-6


def check_decoding(decoding: Decoding, *, beams_max: int) -> None:
    """Check that every field is in its range.

    Raises
    ------
    UsageError
        It names the field. Not retryable.
    """
    checks = {
        "max_tokens": (decoding.max_tokens is None or decoding.max_tokens >= 1, "1 or more"),
        "beams": (decoding.beams is None or 1 <= decoding.beams <= beams_max, f"1 to {beams_max}"),
        "temperature": (0 <= decoding.temperature < math.inf, "0 or more"),
        "top_k": (decoding.top_k >= 0, "0 (all) or more"),
        "top_p": (0 < decoding.top_p <= 1, "over 0 and at most 1"),
        "repetition_penalty": (0 < decoding.repetition_penalty < math.inf, "over 0"),
        "seed": (decoding.seed is None or decoding.seed >= 0, "0 or more"),
        # A single text is a sequence of texts, too: of its letters.
        "stop": (
            not isinstance(decoding.stop, str) and all(decoding.stop),
            "a tuple of texts that are not empty",
        ),
        "choices": (
            not isinstance(decoding.choices, str)
            and all(one.strip() for one in decoding.choices)
            and len(set(decoding.choices)) == len(decoding.choices),
            "a tuple of texts that are not empty, none of them twice",
        ),
    }
    for name, (is_right, wanted) in checks.items():
        if not is_right:
            raise UsageError(f"{name}: must be {wanted}, not {getattr(decoding, name)!r}")


def log_probabilities(logits: Scores) -> Scores:
    """Return the logarithmic probabilities of rows of logits: float32, (B, V).

    Where a row's logits are not finite, some or all of its own are no numbers.
    """
    # What is not finite shows in the result, and is the caller's to refuse.
    with np.errstate(invalid="ignore", over="ignore"):
        shifted = logits - logits.max(axis=1, keepdims=True)
        return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))


def shape(scores: Scores, said: NDArray[np.int64], decoding: Decoding, *, keep_min: int = 1) -> Scores:
    """Apply what ``decoding`` asks for to rows of scores, in transformers' order.

    Parameters
    ----------
    scores : ndarray
        float32, (B, V): logits; in beam search, logarithmic probabilities.
    said : ndarray
        int64, (B, S): the tokens read and made so far.
    decoding : Decoding
        With a temperature of 0 nothing is drawn, and only the repetition penalty counts.
    keep_min : int
        So many tokens a row are left to be drawn in any case.

    Returns
    -------
    ndarray
        float32, (B, V); -inf for what must not be drawn.
    """
    if decoding.repetition_penalty != 1:
        scores = penalise(scores, said, decoding.repetition_penalty)
    if decoding.temperature == 0:
        return scores
    if decoding.temperature != 1:
        scores = scores / np.float32(max(decoding.temperature, _TEMPERATURE_MIN))
    if decoding.top_k:
        scores = keep_top_k(scores, max(decoding.top_k, keep_min))
    if decoding.top_p < 1:
        scores = keep_top_p(scores, decoding.top_p, keep_min=keep_min)
    return scores


def penalise(scores: Scores, said: NDArray[np.int64], penalty: float) -> Scores:
    """Make tokens that were said less likely: divided by ``penalty``, negative ones multiplied."""
    chosen = np.take_along_axis(scores, said, axis=1)
    lowered = np.where(chosen < 0, chosen * np.float32(penalty), chosen / np.float32(penalty))
    scores = scores.copy()
    # A token that was said twice gets the same value twice.
    np.put_along_axis(scores, said, lowered, axis=1)
    return scores


def keep_top_k(scores: Scores, count: int) -> Scores:
    """Leave the ``count`` greatest of each row, and what equals the least of them."""
    count = min(count, scores.shape[1])
    least = np.partition(scores, -count, axis=1)[:, -count, None]
    return np.where(scores < least, np.float32(-np.inf), scores)


def keep_top_p(scores: Scores, share: float, *, keep_min: int = 1) -> Scores:
    """Leave the fewest of each row whose probabilities add up to ``share``."""
    order = np.argsort(scores, axis=1, kind="stable")
    ascending = np.take_along_axis(scores, order, axis=1)
    sums = np.cumsum(np.exp(log_probabilities(ascending)), axis=1, dtype=np.float64)
    removed = sums.astype(np.float32) <= np.float32(1 - share)
    removed[:, -keep_min:] = False
    mask = np.empty_like(removed)
    np.put_along_axis(mask, order, removed, axis=1)
    return np.where(mask, np.float32(-np.inf), scores)


def draw(scores: Scores, rng: np.random.Generator) -> int:
    """Draw one token of a row, (V,), by its probability; takes one number from ``rng``."""
    powers = np.exp(scores.astype(np.float64) - scores.max())
    sums = np.cumsum(powers)
    place = int(np.searchsorted(sums, rng.random() * sums[-1], side="right"))
    # Rounding may lead one past the last; and what has no probability is never meant.
    return place if place < len(powers) and powers[place] > 0 else int(scores.argmax())
