"""How often a key may ask: a minute's and an hour's limit, counted in this process."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field

__all__ = ["Limits"]

#: A window is counted in so many slices: a request weighs on it until its whole slice has passed.
_SLICES = 60
_WINDOWS_SECONDS = (60.0, 3600.0)
#: Keys that were silent for an hour are forgotten once so many are known.
_KEYS_MAX = 10_000


@dataclass(slots=True)
class _Window:
    """What was asked within the last ``seconds``, in slices of (number of the slice, count)."""

    seconds: float
    slices: deque[list[int]] = field(default_factory=deque)
    total: int = 0

    def forget(self, now: float) -> None:
        oldest = self._slice(now) - _SLICES
        while self.slices and self.slices[0][0] < oldest:
            self.total -= self.slices.popleft()[1]

    def add(self, now: float, count: int) -> None:
        number = self._slice(now)
        if not self.slices or self.slices[-1][0] != number:
            self.slices.append([number, 0])
        self.slices[-1][1] += count
        self.total += count

    def wait_seconds(self, now: float, room: int) -> float:
        """Return how long it takes until only ``room`` of what was asked are left in the window."""
        left = self.total
        for number, count in self.slices:
            left -= count
            if left <= room:
                return max(0.0, (number + _SLICES + 1) * self.seconds / _SLICES - now)
        return self.seconds

    def _slice(self, now: float) -> int:
        return int(now * _SLICES / self.seconds)


class Limits:
    """Counts what each key asked for lately; may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._keys: dict[int, tuple[_Window, ...]] = {}

    def take(self, key_id: int, limits: tuple[int | None, int | None], count: int, now: float) -> float:
        """Count ``count`` requests of a key, unless that were too many.

        Parameters
        ----------
        key_id : int
            Whose.
        limits : tuple of (int or None)
            How many a minute and an hour; None: as many as one likes.
        count : int
            How many at once.
        now : float
            A ``time.monotonic()`` instant.

        Returns
        -------
        float
            0 where they were counted; else the seconds after which there is room again, and none was.
        """
        with self._lock:
            if key_id not in self._keys and len(self._keys) >= _KEYS_MAX:
                self._forget_silent(now)
            windows = self._keys.setdefault(key_id, tuple(_Window(s) for s in _WINDOWS_SECONDS))
            waits = [0.0]
            for window, limit in zip(windows, limits, strict=True):
                window.forget(now)
                if limit is not None and window.total + count > limit:
                    waits.append(max(window.wait_seconds(now, limit - count), 0.001))
            if max(waits) > 0:
                return max(waits)
            for window in windows:
                window.add(now, count)
            return 0.0

    def _forget_silent(self, now: float) -> None:
        for key_id, windows in list(self._keys.items()):
            for window in windows:
                window.forget(now)
            if not any(window.total for window in windows):
                del self._keys[key_id]
