"""Tasks between their acceptance and their end, kept in the catalog: a restart loses none."""

from __future__ import annotations

import concurrent.futures
import contextlib
import datetime as dt
import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from enrich.api.errors import Busy
from enrich.catalog import tasks
from enrich.catalog.engine import translated
from enrich.catalog.tasks import Accepted, Conflict, Known, TaskRow
from enrich.errors import CatalogError
from enrich.lease import is_gone, worker_name

if TYPE_CHECKING:
    import sqlalchemy as sa

    from enrich.catalog.writer import Writer
    from enrich.sections import Api

__all__ = ["Done", "TaskList", "Wanted"]

log = logging.getLogger("enrich.http")

LEASE_SECONDS = 60.0
#: How often the table is looked at for what nobody told of: tasks of a process that died.
LOOK_SECONDS = 2.0
#: How often what has expired is looked for.
EXPIRE_SECONDS = 60.0
#: Tasks at work at once, waited for and not; one at a time would never fill a batch.
_SYNC_THREADS = 64
_ASYNC_THREADS = 32
#: Tasks accepted and not yet done; more are refused.
_OPEN_MAX = 20_000
_RETRY_SECONDS = 5.0
_POLL_SECONDS = 0.2
#: A task whose request went away goes on: somebody asks for its result later.
_NEVER = threading.Event()


@dataclass(frozen=True, slots=True)
class Done:
    """What came of a task: the item of the answer, whether it is an error, what it cost, and who is told."""

    item: Mapping[str, Any]
    is_error: bool = False
    cost: float | None = None
    shows_cost: bool = False


@dataclass(frozen=True, slots=True)
class Wanted:
    """A task as it is to be accepted; the fields are those of its row."""

    key_id: int | None
    task_uuid: str
    task_type: str
    digest: str
    body: Mapping[str, Any]
    is_async: bool
    webhook_url: str | None = None
    upload_uuids: tuple[str, ...] = ()

    @property
    def task_key(self) -> str:
        """What is unique among a key's tasks."""
        return self.task_uuid.lower()


class TaskList:
    """Accepts, runs and finds tasks; from any thread.

    Parameters
    ----------
    engine : sqlalchemy.Engine
        The catalog, to look up.
    writer : Writer
        Its writer.
    api : Api
        How long results are kept.
    perform : callable
        Runs a task and returns what came of it; whatever it raises is the task's error.
    phrase : callable
        Returns the body to post of an item and whether it is an error.
    on_delivery : callable
        Told that there is something to post.
    sweep : callable
        Removes what has expired elsewhere.
    """

    def __init__(
        self,
        engine: sa.Engine,
        writer: Writer,
        api: Api,
        *,
        perform: Callable[[TaskRow, threading.Event], Done],
        phrase: Callable[[Done], Mapping[str, Any]],
        on_delivery: Callable[[], None] = lambda: None,
        sweep: Callable[[dt.datetime], object] = lambda now: None,
    ) -> None:
        self._engine = engine
        self._writer = writer
        self._retention = dt.timedelta(seconds=api.retention_seconds)
        self._perform = perform
        self._phrase = phrase
        self._on_delivery = on_delivery
        self._sweep = sweep
        self._worker = worker_name()
        self._stop = threading.Event()
        self._new = threading.Event()
        self._lock = threading.Lock()
        self._running: dict[int, Future[None]] = {}
        self._async_ids: set[int] = set()
        self._sync = ThreadPoolExecutor(_SYNC_THREADS, "task")
        self._async = ThreadPoolExecutor(_ASYNC_THREADS, "async-task")
        self._threads = [
            threading.Thread(target=self._claim_on, name="task-claims", daemon=True),
            threading.Thread(target=self._keep, name="task-leases", daemon=True),
        ]

    def start(self) -> None:
        """Take over what a process that died left, and begin."""
        self._take_over()
        for thread in self._threads:
            thread.start()

    def stop(self, within_seconds: float) -> bool:
        """Begin nothing new, wait for what runs, leave the rest to the next start; return if all was done."""
        self._stop.set()
        self._new.set()
        with self._lock:
            running = list(self._running.values())
        _, undone = concurrent.futures.wait(running, timeout=within_seconds)
        for pool in (self._sync, self._async):
            pool.shutdown(wait=False, cancel_futures=True)
        with contextlib.suppress(CatalogError):
            self._writer.write(lambda connection: tasks.release(connection, self._worker))
        return not undone

    def accept(self, wanted: Wanted) -> Accepted | Known | Conflict:
        """Accept a task, or find it accepted before; one that is waited for begins at once.

        Raises
        ------
        Busy
            Too many are open. Retryable.
        CatalogBusy
            The catalog does not answer. Retryable.
        """
        now = _now()
        is_sync = not wanted.is_async

        def accept(connection: sa.Connection) -> Accepted | Known | Conflict:
            if tasks.open_count(connection) >= _OPEN_MAX:
                raise Busy("as many tasks wait as are let in", _RETRY_SECONDS)
            return tasks.accept(
                connection,
                key_id=wanted.key_id,
                task_uuid=wanted.task_uuid,
                task_key=wanted.task_key,
                task_type=wanted.task_type,
                body_digest=wanted.digest,
                body=wanted.body,
                is_async=wanted.is_async,
                now=now,
                webhook_url=wanted.webhook_url,
                upload_uuids=wanted.upload_uuids,
                worker=self._worker if is_sync else None,
                lease_seconds=LEASE_SECONDS if is_sync else 0.0,
            )

        if self._stop.is_set():
            raise Busy("the server is about to end", _RETRY_SECONDS)
        accepted = self._writer.write(accept)
        if isinstance(accepted, Accepted):
            if is_sync:
                self._begin(accepted.task, self._sync)
            else:
                self._new.set()
        return accepted

    def wait(self, task: TaskRow, until: float) -> TaskRow | None:
        """Return a task once it is done; None where it is not before ``until`` (``time.monotonic()``)."""
        with self._lock:
            running = self._running.get(task.id)
        if running is not None:
            concurrent.futures.wait([running], timeout=max(0.0, until - time.monotonic()))
        while True:
            found = self.find(task.key_id, task.task_key)
            if found is None or found.state in ("success", "error"):
                return found
            if time.monotonic() + _POLL_SECONDS > until or self._stop.is_set():
                return None
            time.sleep(_POLL_SECONDS)  # another process runs it, or another request's answer is awaited

    def find(self, key_id: int | None, task_key: str) -> TaskRow | None:
        """Return a key's task; None where it has none by that name, or it has expired."""
        with translated(), self._engine.connect() as connection:
            return tasks.find(connection, key_id, task_key.lower(), _now())

    def open_count(self) -> int:
        """Return how many tasks are not done yet."""
        with translated(), self._engine.connect() as connection:
            return tasks.open_count(connection)

    def _begin(self, task: TaskRow, pool: ThreadPoolExecutor) -> None:
        with contextlib.suppress(RuntimeError):  # the pool is shut: the next start finds the task
            future = pool.submit(self._run, task)
            with self._lock:
                self._running[task.id] = future
            # Only now: of one that has ended already it is called at once.
            future.add_done_callback(lambda done: self._ended(task.id))

    def _ended(self, task_id: int) -> None:
        with self._lock:
            self._running.pop(task_id, None)
            self._async_ids.discard(task_id)
        self._new.set()

    def _run(self, task: TaskRow) -> None:
        done = self._perform(task, _NEVER)
        text = None
        if task.webhook_url is not None:
            text = json.dumps(self._phrase(done), ensure_ascii=False)
        now = _now()
        try:
            is_mine = self._writer.write(
                lambda connection: tasks.finish(
                    connection,
                    task.id,
                    worker=self._worker,
                    attempts=task.attempts,
                    state="error" if done.is_error else "success",
                    result={"item": dict(done.item), "showsCost": done.shows_cost},
                    cost=done.cost,
                    now=now,
                    expires_at=now + self._retention,
                    webhook=text,
                )
            )
        except CatalogError as error:  # its lease ends, and it is done once more
            log.warning("the end of a task could not be recorded: %s", error)
            return
        if is_mine and text is not None:
            self._on_delivery()

    def _claim_on(self) -> None:
        while not self._stop.is_set():
            self._new.wait(LOOK_SECONDS)
            self._new.clear()
            try:
                while not self._stop.is_set() and self._claim():
                    pass
            except CatalogError as error:
                log.warning("no task could be taken: %s", error)
                self._stop.wait(LOOK_SECONDS)

    def _claim(self) -> bool:
        """Take what there is room for; return whether there may be more, and room."""
        with self._lock:
            room = _ASYNC_THREADS - len(self._async_ids)
        if room <= 0 or not self.open_count():
            return False
        now = _now()
        claimed = self._writer.write(
            lambda connection: tasks.claim(
                connection, worker=self._worker, limit=room, lease_seconds=LEASE_SECONDS, now=now
            )
        )
        with self._lock:
            self._async_ids.update(task.id for task in claimed)
        for task in claimed:
            self._begin(task, self._async)
        return len(claimed) == room

    def _keep(self) -> None:
        """Look after leases, what a process that died left, and what has expired."""
        expire_at = time.monotonic() + EXPIRE_SECONDS
        while not self._stop.wait(LEASE_SECONDS / 6):
            is_due = time.monotonic() >= expire_at
            if is_due:
                expire_at = time.monotonic() + EXPIRE_SECONDS
            try:
                self._look_after(_now(), with_expired=is_due)
            # A disk or a database that is away is back some time, and this goes on then.
            except (CatalogError, OSError) as error:
                log.warning("tasks could not be looked after: %s", error)

    def _look_after(self, now: dt.datetime, *, with_expired: bool) -> None:
        with self._lock:
            # Not those whose end could not be recorded: their lease ends.
            at_work = list(self._running)
        if at_work:
            self._writer.write(
                lambda connection: tasks.extend(connection, self._worker, LEASE_SECONDS, now, at_work)
            )
        self._take_over()
        if with_expired:
            self._writer.write(lambda connection: tasks.expire(connection, now))
            self._sweep(now)

    def _take_over(self) -> None:
        with translated(), self._engine.connect() as connection:
            dead = [name for name in tasks.workers(connection) if is_gone(name)]
        if dead:
            self._writer.write(lambda connection: tasks.reclaim(connection, dead))
            self._new.set()


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)
