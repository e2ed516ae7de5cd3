"""Which receivers do not answer, so that those who do need not wait behind them. Pure but for its clock."""

from __future__ import annotations

import collections
import threading
from collections.abc import Callable

__all__ = ["Pauses"]

#: Receivers that are remembered; the one that failed longest ago is forgotten first.
MAX_REMEMBERED = 1000
#: How long a receiver is left alone after its first failure, doubled with each, up to the second.
FIRST_SECONDS, LONGEST_SECONDS = 1.0, 60.0


class Pauses:
    """Receivers by their origin, each with how often it failed on end and until when it is left alone.

    Parameters
    ----------
    clock : callable
        Seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._failed: collections.OrderedDict[str, tuple[int, float]] = collections.OrderedDict()
        self._lock = threading.Lock()

    def left(self, origin: str) -> float:
        """Return for how many seconds a receiver is still left alone; 0: it may be tried."""
        with self._lock:
            _, until = self._failed.get(origin, (0, 0.0))
        return max(0.0, until - self._clock())

    def failed(self, origin: str) -> None:
        with self._lock:
            times, until = self._failed.pop(origin, (0, 0.0))
            now = self._clock()
            if now >= until:  # tries that ran side by side failed once
                times = min(times + 1, 32)
                until = now + min(LONGEST_SECONDS, FIRST_SECONDS * 2.0 ** (times - 1))
            self._failed[origin] = (times, until)
            while len(self._failed) > MAX_REMEMBERED:
                self._failed.popitem(last=False)

    def answered(self, origin: str) -> None:
        with self._lock:
            self._failed.pop(origin, None)
