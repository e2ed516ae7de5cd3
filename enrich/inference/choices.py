"""One of several texts, chosen token by token: a search through the tree of their spellings.

At each place only what some choice goes on with is looked at, and what is looked at sums up to 1; so all
choices together do, whatever their length. Where a choice ends and another one goes on, its share is that
of everything else the model would say there. A choice is known as soon as no other is left below a place,
so that those which differ in their first token take no run of the decoder but the first one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from enrich.errors import UsageError
from enrich.inference.beams import Advance
from enrich.inference.text import Tokenizer

__all__ = ["ChoiceSearch"]

#: Places that are followed side by side, the likeliest; the others weigh nothing then.
_PLACES_MAX = 8
#: A place with a smaller share is left.
_SHARE_MIN = 1e-6


@dataclass(slots=True)
class _Place:
    """A place in the tree: what may come next, who may still be meant, and who ends here."""

    following: dict[int, _Place] = field(default_factory=dict)
    below: set[int] = field(default_factory=set)
    ended: int | None = None


class ChoiceSearch:
    """Weighs the choices of one request.

    Parameters
    ----------
    choices : sequence of str
        What may be said.
    tokenizer : Tokenizer
        The model's.
    first : int or None
        A token that every text of the model starts with.

    Raises
    ------
    UsageError
        The model has no tokens for a choice, or the same for two of them. Not retryable.
    """

    def __init__(self, choices: Sequence[str], tokenizer: Tokenizer, *, first: int | None = None) -> None:
        self._shares = np.zeros(len(choices))
        root = _Place()
        start = () if first is None else (first,)
        for ids, choice in _spellings(choices, tokenizer).items():
            _add(root, (*start, *ids), choice)
        #: The most rows that it ever takes: places of one level that more than one choice goes through.
        self.rows_max = max(1, min(_PLACES_MAX, _widest(root)))
        #: Places that are followed, with their share.
        self._places = [(root, 1.0)]
        self._settle()

    @property
    def rows(self) -> int:
        """How many rows the next logits have."""
        return len(self._places)

    @property
    def is_over(self) -> bool:
        """Whether all is weighed."""
        return not self._places

    @property
    def best(self) -> tuple[int, float]:
        """The likeliest choice, of equals the first, and its share among all, 0..1."""
        index = int(self._shares.argmax())
        return index, float(self._shares[index] / self._shares.sum())

    def advance(self, logs: NDArray[np.float32]) -> Advance | None:
        """Weigh what comes next; None when all is weighed.

        Parameters
        ----------
        logs : ndarray
            float32, (rows, V): logarithmic probabilities, a row for each place.
        """
        found: list[tuple[float, int, int, _Place]] = []
        for row, (place, share) in enumerate(self._places):
            tokens = list(place.following)
            parts = _parts(logs[row, tokens], has_end=place.ended is not None)
            if place.ended is not None:
                self._shares[place.ended] += share * parts[-1]
            found += (
                (share * float(part), row, token, place.following[token])
                for token, part in zip(tokens, parts, strict=False)
            )
        found = [one for one in found if not self._is_known(one[3], one[0])]
        # Stable, so that equal shares stay in their order.
        found.sort(key=lambda one: -one[0])
        found = [one for one in found[:_PLACES_MAX] if one[0] > _SHARE_MIN]
        self._places = [(place, share) for share, _, _, place in found]
        if self.is_over:
            return None
        return Advance(tuple(token for _, _, token, _ in found), tuple(row for _, row, _, _ in found))

    def _settle(self) -> None:
        self._places = [(place, share) for place, share in self._places if not self._is_known(place, share)]

    def _is_known(self, place: _Place, share: float) -> bool:
        if len(place.below) > 1:
            return False
        (choice,) = place.below
        self._shares[choice] += share
        return True


def _spellings(choices: Sequence[str], tokenizer: Tokenizer) -> dict[tuple[int, ...], int]:
    """Return what each choice may be written like: as given first, and with a space or a capital before."""
    spellings: dict[tuple[int, ...], int] = {}
    for index, choice in enumerate(choices):
        ids = tuple(tokenizer.encode(choice, special=False, plain=True))
        if not ids:
            raise UsageError(f"choices: the model has no tokens for {choice!r}")
        other = spellings.setdefault(ids, index)
        if other != index:
            raise UsageError(f"choices: {choices[other]!r} and {choice!r} are the same to the model")
    given = set(choices)
    for index, choice in enumerate(choices):
        capital = choice[:1].upper() + choice[1:]
        for text in (f" {choice}", capital, f" {capital}"):
            if text.strip() in given and text.strip() != choice:
                continue
            ids = tuple(tokenizer.encode(text, special=False, plain=True))
            # Not what the model has no letters for: many texts are that.
            if ids and tokenizer.decode(ids).strip() == text.strip():
                # What stands for another choice as it was given stays with that one.
                spellings.setdefault(ids, index)
    return spellings


def _add(root: _Place, ids: Sequence[int], choice: int) -> None:
    place = root
    place.below.add(choice)
    for token in ids:
        place = place.following.setdefault(token, _Place())
        place.below.add(choice)
    place.ended = choice


def _widest(root: _Place) -> int:
    widest, level = 0, [root]
    while level:
        level = [place for one in level for place in one.following.values() if len(place.below) > 1]
        widest = max(widest, len(level))
    return widest


def _parts(logs: NDArray[np.float32], *, has_end: bool) -> NDArray[np.float64]:
    """Return shares that sum up to 1 of some tokens, and of what is none of them where a text may end."""
    wide = logs.astype(np.float64)
    if has_end:
        shares = np.exp(wide)
        return np.append(shares, max(0.0, 1.0 - float(shares.sum())))
    highest = wide.max()
    shares = np.exp(wide - highest) if np.isfinite(highest) else np.ones(len(wide))
    normalised: NDArray[np.float64] = shares / shares.sum()
    return normalised
