"""How long all of one exchange may take, from the look-up of the name to the last byte."""

from __future__ import annotations

import time

from enrich.errors import FetchFailed

__all__ = ["Deadline"]


class Deadline:
    """An instant that does not move, however slowly the other side drips."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._end = time.monotonic() + seconds

    def left(self, most: float | None = None) -> float:
        """Return how many seconds are left, ``most`` at most.

        Raises
        ------
        FetchFailed
            None. Retryable.
        """
        left = self._end - time.monotonic()
        if left <= 0:
            raise FetchFailed(f"it took longer than {self._seconds:g} s", retryable=True)
        return left if most is None else min(left, most)
