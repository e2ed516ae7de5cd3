"""The one thread of a process that writes to the catalog.

Whoever wants something written hands over a function of a connection. What waits is written in one
transaction, so that a thousand small writes cost one commit.
"""

from __future__ import annotations

import concurrent.futures
import logging
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import sqlalchemy as sa

from enrich.catalog.engine import translated, writing
from enrich.errors import CatalogBusy, CatalogError

__all__ = ["Writer"]

log = logging.getLogger(__name__)

T = TypeVar("T")

#: A transaction takes no more work than this ...
MAX_WAITING = 256
#: ... and begins at the latest so long after its first piece came in.
FLUSH_SECONDS = 0.1
#: A write is tried again while the database is away: at first soon, then so often.
FIRST_PAUSE_SECONDS = 0.25
MAX_PAUSE_SECONDS = 2.0
#: For so long, unless told otherwise.
PATIENCE_SECONDS = 10.0


@dataclass(slots=True)
class _Work:
    function: Callable[[sa.Connection], Any]
    is_urgent: bool
    future: concurrent.futures.Future[Any] = field(default_factory=concurrent.futures.Future)


class Writer:
    """Runs functions of a connection inside write transactions, in the order they came.

    Parameters
    ----------
    engine : sqlalchemy.Engine
        As ``create_engine`` makes them.
    patience_seconds : float
        How long a database that is away, or whose disk is full, is waited for; a daemon waits for ever.
    given_up : threading.Event or None
        Set, it ends the waiting: what waits fails, and so does what comes.
    """

    def __init__(
        self,
        engine: sa.Engine,
        *,
        patience_seconds: float = PATIENCE_SECONDS,
        given_up: threading.Event | None = None,
    ) -> None:
        self._engine = writing(engine)
        self._patience_seconds = patience_seconds
        self._given_up = given_up or threading.Event()
        #: Why the database is waited for; None while it answers.
        self.waits_because: str | None = None
        # Bounded, so that results wait in the worker and not in memory without end.
        self._waiting: queue.Queue[_Work | None] = queue.Queue(maxsize=4 * MAX_WAITING)
        self._lock = threading.Lock()
        self._is_closed = False
        self._thread = threading.Thread(target=self._loop, name="catalog-writer", daemon=True)
        self._thread.start()

    def submit(self, function: Callable[[sa.Connection], T]) -> concurrent.futures.Future[T]:
        """Write soon; the future ends after the commit.

        ``function`` may be called more than once (its transaction may have to be repeated), so it
        must do nothing but write.
        """
        return self._put(_Work(function, is_urgent=False))

    def write(self, function: Callable[[sa.Connection], T]) -> T:
        """Write now, together with all that waits, and return what ``function`` returned.

        Raises
        ------
        CatalogError
            The database refused it; CatalogBusy, retryable, where it only does not answer.
        """
        result: T = self._put(_Work(function, is_urgent=True)).result()
        return result

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def close(self) -> None:
        """Write what waits and stop."""
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
        self._waiting.put(None)
        self._thread.join()

    def _put(self, work: _Work) -> concurrent.futures.Future[Any]:
        with self._lock:
            if self._is_closed:
                raise CatalogError("the catalog was closed")
            self._waiting.put(work)  # under the lock: behind close's last word nobody would see it
        return work.future

    def _loop(self) -> None:
        is_open = True
        while is_open:
            group, is_open = self._gather()
            if group:
                self._commit(group)

    def _gather(self) -> tuple[list[_Work], bool]:
        """Return what is to be written together, and whether more may come."""
        work = self._waiting.get()
        if work is None:
            return [], False
        group = [work]
        flush_at = time.monotonic() + FLUSH_SECONDS
        while len(group) < MAX_WAITING:
            is_urgent = group[-1].is_urgent
            try:
                remaining = 0.0 if is_urgent else max(0.0, flush_at - time.monotonic())
                work = self._waiting.get(block=remaining > 0, timeout=remaining or None)
            except queue.Empty:
                break
            if work is None:
                return group, False
            group.append(work)
            if work.is_urgent:
                break
        return group, True

    def _commit(self, group: list[_Work]) -> None:
        try:
            results = self._transact(group)
        # Whatever it was, it belongs to the callers: the thread must live.
        except Exception as error:  # noqa: BLE001
            if len(group) == 1 or isinstance(error, CatalogBusy):  # an absent database is everybody's
                for work in group:
                    work.future.set_exception(error)
                return
            for work in group:  # a neighbour's failure is nobody else's
                self._commit([work])
            return
        for work, result in zip(group, results, strict=True):
            work.future.set_result(result)

    def _transact(self, group: list[_Work]) -> list[Any]:
        since, pause = time.monotonic(), FIRST_PAUSE_SECONDS
        while True:
            try:
                with translated(), self._engine.begin() as connection:
                    results = [work.function(connection) for work in group]
            except CatalogBusy as error:
                if self._given_up.is_set() or time.monotonic() - since + pause > self._patience_seconds:
                    raise
                if self.waits_because is None:
                    log.warning("%s; waiting for it, nothing is lost", error)
                self.waits_because = str(error)
                self._given_up.wait(pause)
                pause = min(MAX_PAUSE_SECONDS, 2 * pause)
                continue
            if self.waits_because is not None:
                log.warning("the catalog answers again, after %.1f s", time.monotonic() - since)
                self.waits_because = None
            return results
