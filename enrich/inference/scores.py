"""What a model says of one rendition, label by label."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from enrich.errors import InferenceError
from enrich.inference.manifest import Activation

__all__ = ["LabelScores", "activate", "score"]


@dataclass(frozen=True, eq=False, slots=True)
class LabelScores:
    """What a model says of one rendition.

    Parameters
    ----------
    labels : tuple of str
        In the model's order, or in the caller's where the labels came with the call.
    probabilities : ndarray
        float32, (C,), 0..1, aligned with ``labels``.
    """

    labels: tuple[str, ...]
    probabilities: NDArray[np.float32]

    def top(self, count: int) -> list[tuple[str, float]]:
        """Return the ``count`` likeliest labels with their probability, best first."""
        best = np.argsort(-self.probabilities, kind="stable")[:count]
        return [(self.labels[index], float(self.probabilities[index])) for index in best]


def score(
    name: str, labels: tuple[str, ...], row: NDArray[np.floating], activation: Activation
) -> LabelScores:
    """Make probabilities of one rendition's scores.

    Parameters
    ----------
    name : str
        The model's, for the message.
    labels : tuple of str
        Aligned with ``row``.
    row : ndarray
        (C,), logits; probabilities where ``activation`` is ``none``.
    activation : {"softmax", "sigmoid", "none"}
        What makes probabilities of them.

    Raises
    ------
    InferenceError
        A score is not finite. Not retryable.
    """
    if not np.isfinite(row).all():
        raise InferenceError(f"{name}: the scores of a picture are not finite")
    # In float64: of a sigmoid near 0 or 1, float32 arithmetic would leave two or three digits.
    return LabelScores(labels, activate(row.astype(np.float64), activation).astype(np.float32))


def activate(scores: NDArray[np.float64], activation: Activation) -> NDArray[np.float64]:
    """Make probabilities of scores, (C,) or (A, C); softmax shares 1 among those of a row."""
    if activation == "softmax":
        powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=-1, keepdims=True))
    if activation == "sigmoid":
        # exp(-x) would overflow for a large negative score.
        power = np.exp(-np.abs(scores))
        return np.where(scores >= 0, 1.0, power) / (1.0 + power)
    return scores
