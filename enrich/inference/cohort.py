"""Texts that run together: rows of a decoder, each of which reads one token in a run."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from enrich.inference.sampling import log_probabilities
from enrich.inference.writing import Request, Writing
from enrich.types import Generated

__all__ = ["Cohort", "Held", "Place", "Reader"]


class Held(Protocol):
    """What a reader has read, row by row; each reader has a class of its own for it."""

    @property
    def length(self) -> int:
        """Tokens read: of the longest row, where they differ."""
        ...

    @property
    def kind(self) -> Hashable:
        """What those that can be joined have in common."""
        ...


class Reader(Protocol):
    """What a cohort needs of a decoder; see ``Decoder`` and ``JointDecoder``.

    Its caches are ``Held``, and go to no other reader than the one that made them.
    """

    def prefill(self, ids: NDArray[np.int64], states: Sequence[Any]) -> tuple[NDArray[np.float32], Any]: ...

    def step(self, tokens: Sequence[int], cache: Any) -> tuple[NDArray[np.float32], Any]: ...

    def take(self, cache: Any, rows: Sequence[int]) -> Any: ...

    def join(self, caches: Sequence[Any]) -> Any: ...


@dataclass(eq=False, slots=True)
class Place:
    """A request in the queue or in a run, and where its result goes."""

    request: Request
    writing: Writing
    future: Future[Generated] = field(default_factory=Future)
    is_cancelled: bool = False

    @property
    def kind(self) -> tuple[int, tuple[int, ...]]:
        """What requests that are read in together have in common: the length, and the states' shape."""
        return len(self.request.ids), self.request.states.shape


#: Takes a place and the error that ended it.
Fail = Callable[[Place, Exception], None]


class Cohort:
    """Places whose rows are read in one run.

    Parameters
    ----------
    places : sequence of Place
        Each takes as many rows as its writing says, in this order.
    tokens : sequence of int
        What each row reads next.
    cache : Held
        What each row has read.
    """

    def __init__(self, places: Sequence[Place], tokens: Sequence[int], cache: Held) -> None:
        self.places = list(places)
        self._tokens = list(tokens)
        self._cache = cache
        #: Runs of others since it had its turn.
        self.passed_over = 0

    @property
    def rows(self) -> int:
        return len(self._tokens)

    @property
    def length(self) -> int:
        """Tokens read."""
        return self._cache.length

    @property
    def kind(self) -> Hashable:
        """What cohorts that can be joined have in common."""
        return self._cache.kind

    @property
    def is_interactive(self) -> bool:
        return any(place.request.interactive for place in self.places)

    @classmethod
    def read_in(cls, places: Sequence[Place], reader: Reader, fail: Fail) -> Cohort | None:
        """Read the requests' first tokens; None where no text goes on after them.

        Raises
        ------
        Exception
            Whatever the reader raises; no place is touched then.
        """
        ids = np.asarray([place.request.ids for place in places], np.int64)
        logits, cache = reader.prefill(ids, [place.request.states for place in places])
        return _after(places, [1] * len(places), logits, cache, reader, fail)

    def step(self, reader: Reader, fail: Fail) -> Cohort | None:
        """Read each row's next token; returns what goes on, or None.

        Raises
        ------
        Exception
            Whatever the reader raises; the cohort is as it was then, and may be tried again.
        """
        logits, cache = reader.step(self._tokens, self._cache)
        widths = [place.writing.rows for place in self.places]
        return _after(self.places, widths, logits, cache, reader, fail)

    def only(self, wanted: Sequence[Place], reader: Reader) -> Cohort | None:
        """Return the cohort without the places that are not wanted; None where none is."""
        kept: list[Place] = []
        rows: list[int] = []
        start = 0
        for place in self.places:
            if place in wanted:
                kept.append(place)
                rows += range(start, start + place.writing.rows)
            start += place.writing.rows
        if len(kept) == len(self.places):
            return self
        if not kept:
            return None
        return Cohort(kept, [self._tokens[row] for row in rows], reader.take(self._cache, rows))

    @classmethod
    def joined(cls, cohorts: Sequence[Cohort], reader: Reader) -> Cohort:
        """Return several cohorts of one kind as one."""
        places = [place for cohort in cohorts for place in cohort.places]
        tokens = [token for cohort in cohorts for token in cohort._tokens]
        return cls(places, tokens, reader.join([cohort._cache for cohort in cohorts]))


def _after(
    places: Sequence[Place],
    widths: Sequence[int],
    logits: NDArray[np.float32],
    cache: Held,
    reader: Reader,
    fail: Fail,
) -> Cohort | None:
    """Let each place choose its next tokens, hand out what is finished, and keep the rest."""
    kept: list[Place] = []
    tokens: list[int] = []
    rows: list[int] = []
    start = 0
    logs = log_probabilities(logits)
    for place, width in zip(places, widths, strict=True):
        own = slice(start, start + width)
        try:
            advance = place.writing.advance(logits[own], logs[own])
            if advance is None:
                place.future.set_result(place.writing.finish())
            else:
                kept.append(place)
                tokens += advance.tokens
                rows += (start + parent for parent in advance.parents)
        # Of this place alone: its logits are not finite, or the one who reads along raised.
        except Exception as error:  # noqa: BLE001
            fail(place, error)
        start += width
    if not kept:
        return None
    try:
        return Cohort(kept, tokens, reader.take(cache, rows))
    # They have chosen already and cannot be tried again; whatever it was, it ends them alone.
    except Exception as error:  # noqa: BLE001
        for place in kept:
            fail(place, error)
        return None
