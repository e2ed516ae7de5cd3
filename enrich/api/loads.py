"""How much is let in at once: what would only wait is refused before it takes memory."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Callable, Iterator

from enrich.api.errors import Busy

__all__ = ["Loads"]

#: What the bodies of all requests at work may hold at one moment.
MAX_BODY_BYTES = 512_000_000
#: Who is refused is told to come again within these bounds.
_SOONEST_SECONDS, _LATEST_SECONDS = 1.0, 60.0
#: How much the last request counts in the mean of what one takes.
_WEIGHT = 0.1


class Loads:
    """Counts requests from the moment their head is read until they are answered; from any thread.

    Parameters
    ----------
    max_requests : int
        How many may be at work or wait.
    max_bytes : int
        What their bodies may hold together.
    clock : callable
        Seconds that never go back.
    """

    def __init__(
        self,
        max_requests: int,
        *,
        max_bytes: int = MAX_BODY_BYTES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._max_requests, self._max_bytes, self._clock = max_requests, max_bytes, clock
        self._requests = 0
        self._bytes = 0
        self._refused = 0
        # Between two ends, which is how soon there is room again.
        self._pace_seconds = 1.0
        self._last_end: float | None = None
        self._is_closed = False
        self._changed = threading.Condition()

    @property
    def requests(self) -> int:
        """Requests at work or waiting."""
        return self._requests

    @property
    def refused(self) -> int:
        """Requests refused so far."""
        return self._refused

    @contextlib.contextmanager
    def admit(self, body_bytes: int = 0) -> Iterator[None]:
        """Let one request in, or refuse it at once; nobody waits here.

        Parameters
        ----------
        body_bytes : int
            What its body has, or the most it may have where it does not say.

        Raises
        ------
        Busy
            There is no room, or the server is about to end. Retryable.
        """
        self.enter(body_bytes)
        try:
            yield
        finally:
            self.leave(body_bytes)

    def enter(self, body_bytes: int = 0) -> None:
        """Let one request in that ``leave`` is called for; see ``admit``."""
        with self._changed:
            if self._is_closed:
                self._refused += 1
                raise Busy("the server is about to end", _SOONEST_SECONDS)
            # The only one goes in however large it is: a body has a limit of its own.
            is_full = self._requests >= self._max_requests or (
                self._requests > 0 and self._bytes + body_bytes > self._max_bytes
            )
            if is_full:
                self._refused += 1
                raise Busy(f"{self._requests} requests are at work or wait already", self._patience())
            self._requests += 1
            self._bytes += body_bytes

    def leave(self, body_bytes: int = 0) -> None:
        """Let one request out."""
        with self._changed:
            self._requests -= 1
            self._bytes -= body_bytes
            now = self._clock()
            if self._last_end is not None:
                self._pace_seconds += _WEIGHT * (now - self._last_end - self._pace_seconds)
            self._last_end = now if self._requests else None  # what comes after a pause says no pace
            self._changed.notify_all()

    def close(self, within_seconds: float) -> bool:
        """Refuse what comes, wait for what is at work, and return whether all of it was done in time."""
        with self._changed:
            self._is_closed = True
            return self._changed.wait_for(lambda: not self._requests, timeout=within_seconds)

    def _patience(self) -> float:
        """Return when to come again: when a tenth of those before are done."""
        wait = math.ceil(self._pace_seconds * max(1, self._requests // 10))
        return min(_LATEST_SECONDS, max(_SOONEST_SECONDS, float(wait)))
