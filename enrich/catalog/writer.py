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
#: How often, and how long, a write is tried again while the database is away.
BUSY_TRIES = 8
BUSY_PAUSE_SECONDS = 0.25


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
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = writing(engine)
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
            if len(group) == 1:
                group[0].future.set_exception(error)
                return
            for work in group:  # a neighbour's failure is nobody else's
                self._commit([work])
            return
        for work, result in zip(group, results, strict=True):
            work.future.set_result(result)

    def _transact(self, group: list[_Work]) -> list[Any]:
        for tries_left in reversed(range(BUSY_TRIES)):
            try:
                with translated(), self._engine.begin() as connection:
                    return [work.function(connection) for work in group]
            except CatalogBusy as error:
                if not tries_left:
                    raise
                log.warning("%s; trying again", error)
                time.sleep(BUSY_PAUSE_SECONDS * (BUSY_TRIES - tries_left))
        raise AssertionError("the last try returns or raises")
