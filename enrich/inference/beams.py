"""Beam search of one request, as a state machine: log-probabilities in, next tokens out.

Source of the arithmetic: the beam search of Hugging Face transformers 4.57 (``_beam_search`` in
``generation/utils.py``), in float32 as there. More than it, each sequence carries the sum of the
logarithmic probabilities that its tokens had before any of them was made less likely.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["Advance", "Beam", "BeamSearch"]

# Worse than any sequence, as in transformers.
_WORST = np.float32(-1e9)


@dataclass(frozen=True, slots=True)
class Advance:
    """What the decoder reads next.

    Parameters
    ----------
    tokens : tuple of int
        One for each row of the next run.
    parents : tuple of int
        Aligned: the row of this run that each one continues.
    """

    tokens: tuple[int, ...]
    parents: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Beam:
    """A sequence that came to its end.

    Parameters
    ----------
    tokens : tuple of int
        What was made, with the end token where there is one.
    is_ended : bool
        Whether the last token is an end token; else the budget ran out.
    log_probability : float
        The sum over its tokens, the end token left out.
    score : float
        By which the best is chosen: summed, and divided by the length.
    """

    tokens: tuple[int, ...]
    is_ended: bool
    log_probability: float
    score: float


class BeamSearch:
    """The beams of one request.

    Parameters
    ----------
    prompt : sequence of int
        The tokens that the decoder reads first.
    beams : int
        How many sequences are kept.
    ends : collection of int
        Tokens that end a sequence.
    max_tokens : int
        At most so many are made.
    length_penalty : float
        A finished sequence's sum is divided by its length to this power.
    early_stopping : bool or "never"
        True: stop as soon as enough sequences are finished; False: when the best running one, at its
        present length, is no longer better than the worst finished one; "never": at its best length.
    rng : numpy.random.Generator or None
        Candidates are drawn with it instead of being the best.
    """

    def __init__(
        self,
        prompt: Sequence[int],
        beams: int,
        *,
        ends: Collection[int],
        max_tokens: int,
        length_penalty: float = 1.0,
        early_stopping: bool | Literal["never"] = False,
        rng: np.random.Generator | None = None,
    ) -> None:
        self._beams = beams
        self._ends = np.asarray(sorted(ends), np.int64)
        self._max_tokens = max_tokens
        self._length_penalty = length_penalty
        self._early_stopping = early_stopping
        self._rng = rng
        self._sequences = np.repeat(np.asarray([prompt], np.int64), beams, axis=0)
        self._prompt_length = len(prompt)
        # The rows are all alike at first: only one of them counts.
        self._scores = np.full(beams, _WORST, np.float32)
        self._scores[0] = 0
        self._sums = np.zeros(beams)
        self._finished: list[Beam] = []

    @property
    def sequences(self) -> NDArray[np.int64]:
        """The tokens of the running sequences, the prompt included: int64, (beams, S)."""
        return self._sequences

    @property
    def best(self) -> Beam:
        """The best finished sequence; there is one when ``advance`` has returned None."""
        return self._finished[0]

    def advance(self, shaped: NDArray[np.float32], plain: NDArray[np.float32]) -> Advance | None:
        """Choose the next tokens; None when the search is over.

        Parameters
        ----------
        shaped : ndarray
            float32, (beams, V): the logarithmic probabilities to choose by.
        plain : ndarray
            Aligned: as the model gave them.
        """
        scores, parents, tokens = self._candidates(shaped)
        made = self._sequences.shape[1] - self._prompt_length + 1
        is_end = np.isin(tokens, self._ends)
        is_over = is_end | (made >= self._max_tokens)
        sums = self._sums[parents] + np.where(is_end, 0, plain[parents, tokens])
        self._finish(scores, parents, tokens, sums, is_end, is_over, made)

        running = scores + is_over.astype(np.float32) * _WORST
        chosen = _greatest(running, self._beams)
        parents, tokens = parents[chosen], tokens[chosen]
        self._sequences = np.concatenate([self._sequences[parents], tokens[:, None]], axis=1)
        self._scores, self._sums = running[chosen], sums[chosen]
        if is_over.all() or not self._can_improve(made):
            return None
        return Advance(tuple(tokens.tolist()), tuple(parents.tolist()))

    def _candidates(
        self, shaped: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.intp], NDArray[np.int64]]:
        """Return the scores, rows and tokens of enough candidates that some are left if all others end."""
        words = shaped.shape[1]
        totals = (shaped + self._scores[:, None]).reshape(-1)
        count = min(max(2, 1 + len(self._ends)) * self._beams, len(totals))
        if self._rng is None:
            places = _greatest(totals, count)
        else:
            # The greatest after adding Gumbel noise are a draw without replacement, in its order.
            # Source: Kool et al., Stochastic Beams and Where to Find Them, 2019, section 2.
            places = _greatest(totals.astype(np.float64) + self._rng.gumbel(size=len(totals)), count)
        return totals[places], places // words, (places % words).astype(np.int64)

    def _finish(
        self,
        scores: NDArray[np.float32],
        parents: NDArray[np.intp],
        tokens: NDArray[np.int64],
        sums: NDArray[np.float64],
        is_end: NDArray[np.bool_],
        is_over: NDArray[np.bool_],
        made: int,
    ) -> None:
        averages = scores / np.float32(made**self._length_penalty)
        # The others are there only to continue with.
        for index in np.flatnonzero(is_over[: self._beams]):
            before = self._sequences[parents[index], self._prompt_length :].tolist()
            self._finished.append(
                Beam(
                    (*before, int(tokens[index])),
                    bool(is_end[index]),
                    float(sums[index]),
                    float(averages[index]),
                )
            )
        # Stable: of equals, the older stays.
        self._finished = sorted(self._finished, key=lambda beam: -beam.score)[: self._beams]

    def _can_improve(self, made: int) -> bool:
        if len(self._finished) < self._beams:
            # As long as anything likely is running.
            return bool(self._scores[0] > _WORST)
        if self._early_stopping is True:
            return False
        longest = self._early_stopping == "never" and self._length_penalty > 0
        length = self._max_tokens if longest else made
        return bool(self._scores[0] / np.float32(length**self._length_penalty) > self._finished[-1].score)


def _greatest(values: NDArray[np.floating], count: int) -> NDArray[np.intp]:
    """Return the places of the greatest values, greatest first; of equals, the first."""
    if count < len(values):
        places = np.sort(np.argpartition(-values, count - 1)[:count])
    else:
        places = np.arange(len(values))
    return places[np.argsort(-values[places], kind="stable")]
