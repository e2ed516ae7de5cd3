"""Takes deliveries from where they are kept and posts them until they arrive: at least once, in any order.

What is to be posted lies in the catalog. In memory there is no more than what the threads are busy with, so a
receiver that is away for a day costs a day's rows and nothing else.
"""

from __future__ import annotations

import collections
import datetime as dt
import logging
import random
import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from enrich.errors import EnrichError, FetchRefused, OutboundError
from enrich.outbound.pauses import Pauses
from enrich.outbound.targets import parse

__all__ = ["Courier", "Deliveries", "Delivery", "pause_seconds"]

log = logging.getLogger(__name__)

#: Receivers that are slow at once; each holds a thread for as long as one try may take.
MAX_THREADS = 4
#: What is claimed at a time. A lease covers two tries, one after the other, with time to spare; it is what a
#: killed process's deliveries wait for.
CLAIMED = MAX_THREADS
LEASE_SECONDS = 30.0
#: How often is looked for what is due, where nobody wakes the courier.
IDLE_SECONDS = 2.0
#: What did not arrive in this time is given up, after a last try.
GIVE_UP_AFTER = dt.timedelta(hours=24)
#: Between two tries lies half of what a delivery has waited so far, but not less and not more than this.
SHORTEST_SECONDS, LONGEST_SECONDS = 5.0, 7200.0
#: An answer that means never again; RFC 9110 section 15.5.11.
GONE = 410


class Delivery(Protocol):
    """Something to be posted; ``attempts`` counts this try already."""

    @property
    def id(self) -> int: ...
    @property
    def url(self) -> str: ...
    @property
    def body(self) -> str: ...
    @property
    def attempts(self) -> int: ...
    @property
    def created_at(self) -> dt.datetime: ...


class Deliveries(Protocol):
    """Where deliveries are kept. Each method may raise an EnrichError: then it is asked again later."""

    def claim(self, limit: int, lease_seconds: float) -> Sequence[Delivery]:
        """Take what is due; nobody else gets it before the lease is over."""
        ...

    def delivered(self, delivery: Delivery) -> None: ...

    def later(self, delivery: Delivery, next_at: dt.datetime, error: str) -> None: ...

    def given_up(self, delivery: Delivery, error: str) -> None: ...


def pause_seconds(waited_seconds: float, draw: float) -> float:
    """Return how long to wait for the next try; ``draw`` (0..1) spreads it by a quarter either way.

    By what was waited and not by tries: a receiver that is back after an hour has it all within the next.
    """
    pause = min(max(waited_seconds / 2, SHORTEST_SECONDS), LONGEST_SECONDS)
    return pause * (0.75 + 0.5 * draw)


class Courier:
    """A few threads that post.

    Parameters
    ----------
    deliveries : Deliveries
        Where they are kept.
    post : callable
        Posts a body to a URL, once, and returns the status; see ``Poster.post``.
    threads : int
        How many.
    idle_seconds : float
        How often is looked for what is due.
    draw : callable
        Chance, 0..1.
    """

    def __init__(
        self,
        deliveries: Deliveries,
        post: Callable[[str, str, int], int],
        *,
        threads: int = MAX_THREADS,
        idle_seconds: float = IDLE_SECONDS,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._deliveries = deliveries
        self._post = post
        self._idle_seconds = idle_seconds
        self._draw = draw
        self._pauses = Pauses(time.monotonic)
        self._claimed: collections.deque[Delivery] = collections.deque()
        self._claiming = threading.Lock()
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._is_idle = threading.Event()
        self._is_ending = False
        self._is_away = False
        self._busy = 0
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(target=self._run, name=f"courier {number}", daemon=True)
            for number in range(threads)
        ]

    def start(self) -> None:
        """Begin; where it has begun, nothing happens."""
        with self._lock:
            if not self._stop.is_set():
                for thread in self._threads:
                    if thread.ident is None:
                        thread.start()

    @property
    def is_alive(self) -> bool:
        """False where a thread ended by itself, which is a bug."""
        return all(thread.is_alive() for thread in self._threads if thread.ident is not None)

    def wake(self) -> None:
        """Look now for what is due."""
        self._wake.set()

    def finish(self, within_seconds: float) -> None:
        """Post what is due, for so long, and stop; what is left is due at the next start."""
        end = time.monotonic() + within_seconds
        self._is_idle.clear()
        self._is_ending = True
        self.wake()
        if any(thread.is_alive() for thread in self._threads):
            self._is_idle.wait(within_seconds)
        self.stop(max(0.0, end - time.monotonic()))

    def stop(self, within_seconds: float = 5.0) -> None:
        """Begin no more tries, and wait so long for those that were begun.

        What was not posted is due again when its lease is over, or at the next start.
        """
        self._stop.set()
        self._wake.set()
        end = time.monotonic() + within_seconds
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(max(0.0, end - time.monotonic()))

    def _run(self) -> None:
        while (delivery := self._next()) is not None:
            try:
                self._try(delivery)
            except EnrichError as error:  # its lease ends, and it is due again
                log.warning("delivery %d: what became of it was not recorded: %s", delivery.id, error)
            with self._lock:
                self._busy -= 1
            if self._is_ending:
                self.wake()

    def _next(self) -> Delivery | None:
        """Return what this thread posts next; one thread at a time waits for it, the others for that one."""
        with self._claiming:
            while not self._claimed and not self._stop.is_set():
                self._wake.clear()
                self._claim()
                if not self._claimed:
                    with self._lock:
                        if self._busy == 0:
                            self._is_idle.set()
                    self._wake.wait(self._idle_seconds)
            if self._stop.is_set():
                self._give_back()
                return None
            with self._lock:
                self._busy += 1
            return self._claimed.popleft()

    def _claim(self) -> None:
        try:
            self._claimed.extend(self._deliveries.claim(CLAIMED, LEASE_SECONDS))
            self._is_away = False
        except EnrichError as error:
            if not self._is_away:
                log.warning("deliveries cannot be had for now: %s", error)
            self._is_away = True

    def _give_back(self) -> None:
        while self._claimed:
            delivery = self._claimed.popleft()
            try:
                self._deliveries.later(delivery, _now(), "the courier was stopped")
            except EnrichError as error:
                log.info("delivery %d waits for the end of its lease: %s", delivery.id, error)

    def _try(self, delivery: Delivery) -> None:
        try:
            origin = str(parse(delivery.url))
            paused = self._pauses.left(origin)
            if paused > 0:
                self._later(delivery, paused * (1 + self._draw()), f"{origin} does not answer")
                return
            status = self._post(delivery.url, delivery.body, delivery.id)
        except FetchRefused as error:
            self._give_up(delivery, str(error))
        except OutboundError as error:
            self._pauses.failed(origin)
            self._failed(delivery, str(error))
        # A delivery that meets a bug must not end a thread, and the next one after its lease.
        except Exception:
            log.exception("delivery %d", delivery.id)
            self._failed(delivery, "a bug; the log has it")
        else:
            self._pauses.answered(origin)
            self._answered(delivery, origin, status)

    def _answered(self, delivery: Delivery, origin: str, status: int) -> None:
        if 200 <= status < 300:
            self._deliveries.delivered(delivery)
        elif status == GONE:
            self._give_up(delivery, f"{origin} answered {GONE}: it wants no more")
        elif 300 <= status < 400:
            self._failed(delivery, f"{origin} answered {status}; webhooks follow no redirect")
        else:
            self._failed(delivery, f"{origin} answered {status}")

    def _failed(self, delivery: Delivery, error: str) -> None:
        waited = _now() - delivery.created_at
        if waited >= GIVE_UP_AFTER:
            self._give_up(delivery, error)
        else:
            self._later(delivery, pause_seconds(waited.total_seconds(), self._draw()), error)

    def _later(self, delivery: Delivery, seconds: float, error: str) -> None:
        log.info("delivery %d comes again in %.0f s: %s", delivery.id, seconds, error)
        self._deliveries.later(delivery, _now() + dt.timedelta(seconds=seconds), error)

    def _give_up(self, delivery: Delivery, error: str) -> None:
        log.warning("delivery %d is given up after %d tries: %s", delivery.id, delivery.attempts, error)
        self._deliveries.given_up(delivery, error)


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)
