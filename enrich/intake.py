"""From paths to rows: each file is read once, and becomes an asset, ignored, or a recorded failure.

Candidates are offered by whoever finds them. One thread lets them settle and writes rows and jobs in
batches, one transaction each; a few others read.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import datetime as dt
import heapq
import itertools
import logging
import queue
import threading
import time
from collections import Counter as Tally
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from enrich.catalog import files
from enrich.catalog.files import FileRecord, Ingested
from enrich.errors import CatalogBusy, CatalogError
from enrich.reading import Reader, look
from enrich.scan import Candidate, is_regular
from enrich.settle import CautiousClock, Settle, Stamp

if TYPE_CHECKING:
    from enrich.catalog.writer import Writer

__all__ = ["Intake"]

log = logging.getLogger(__name__)

#: Files written in one transaction.
BATCH_FILES = 128
#: A batch that is not full is written after so long all the same, or as soon as nothing more is read.
BATCH_SECONDS = 0.5

#: A file that changed while it was read is looked at again after so long.
CHANGED_SECONDS = 0.2
#: One whose reading failed for a reason that may pass, after so long; each time four times longer.
TROUBLE_SECONDS = 1.0
TROUBLE_TRIES = 5
#: A file that changes for so long is left to the next scan.
PATIENCE_SECONDS = 900.0

#: More candidates at once are not taken: whoever offers them waits, and memory has an end.
MAX_CANDIDATES = 20_000


@dataclass(slots=True, eq=False)
class _Entry:
    """A candidate on its way. ``is_doubted``: it was offered again since its reading began."""

    candidate: Candidate
    settle_seconds: float
    waits_since: float | None = None
    tries: int = 0
    is_doubted: bool = False


class Intake:
    """Takes candidates in.

    Parameters
    ----------
    writer : Writer
        The catalog's writer.
    reader : Reader
        Reads one file.
    threads : int
        How many files are read at once.
    on_asset : callable
        Called with (asset_id, path) after a new asset was committed.
    on_written : callable
        Called with the states of each batch's files after its commit.
    """

    def __init__(
        self,
        writer: Writer,
        reader: Reader,
        *,
        threads: int,
        on_asset: Callable[[int, Path], None] = lambda asset_id, path: None,
        on_written: Callable[[Tally[str]], None] = lambda states: None,
    ) -> None:
        self._writer = writer
        self._reader = reader
        self._threads = threads
        self._on_asset = on_asset
        self._on_written = on_written
        self._clock = CautiousClock()
        self._stop = threading.Event()
        self._refuses = threading.Event()
        self._room = threading.Semaphore(MAX_CANDIDATES)
        # By path, so that what is offered twice is read once. The lock guards it, and nothing else
        # is touched by two threads.
        self._entries: dict[Path, _Entry] = {}
        self._lock = threading.Lock()
        self._idle = threading.Event()
        self._idle.set()
        self._came: queue.SimpleQueue[tuple[_Entry, FileRecord | Candidate | None] | _Entry | None]
        self._came = queue.SimpleQueue()
        self._settles: dict[float, Settle] = {}
        self._order = itertools.count()
        self._waiting: list[tuple[float, int, _Entry]] = []
        self._ready: deque[_Entry] = deque()
        self._reading = 0
        self._batch: list[tuple[_Entry, FileRecord]] = []
        self._batch_since = 0.0
        self._trouble: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="intake", daemon=True)

    @property
    def pending(self) -> int:
        """How many candidates are on their way."""
        return len(self._entries)

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def start(self) -> None:
        """Start to work."""
        self._thread.start()

    def offer(self, candidate: Candidate, settle_seconds: float) -> bool:
        """Take a candidate; wait while there are too many. Return whether it was unknown so far."""
        with self._lock:
            known = self._entries.get(candidate.path)
            if known is not None:
                known.is_doubted = True
                return False
        while not self._refuses.is_set() and not self._room.acquire(timeout=BATCH_SECONDS):
            pass
        if self._refuses.is_set():
            return False
        entry = _Entry(candidate, settle_seconds)
        with self._lock:
            known = self._entries.get(candidate.path)
            if known is not None:
                known.is_doubted = True
                self._room.release()
                return False
            self._entries[candidate.path] = entry
            self._idle.clear()
        self._came.put(entry)
        return True

    def wait_idle(self, timeout_seconds: float) -> bool:
        """Wait until no candidate is on its way; return whether that came in time."""
        return self._idle.wait(timeout_seconds)

    def refuse(self) -> None:
        """Take no more candidates, and let nobody wait who offers one."""
        self._refuses.set()

    def stop(self, within_seconds: float | None = None) -> bool:
        """Write what was read; the rest is left for the next scan. Return whether it was done in time.

        Whatever ended the intake before is raised again.
        """
        self.refuse()
        self._stop.set()
        self._came.put(None)
        if self._thread.ident is not None:
            self._thread.join(within_seconds)
        if self._trouble is not None:
            raise self._trouble
        return not self._thread.is_alive()

    def _run(self) -> None:
        with concurrent.futures.ThreadPoolExecutor(self._threads, "reader") as pool:
            try:
                while not self._stop.is_set():
                    self._receive()
                    self._look_again()
                    self._read(pool)
                    self._flush(is_last=False)
                while self._reading:
                    self._receive()
                self._flush(is_last=True)
            # It ends the thread: whoever stops the intake raises it again.
            except Exception as error:
                log.exception("taking in files failed")
                self._trouble = error
                self.refuse()
            finally:
                with self._lock:
                    self._entries.clear()
                    self._idle.set()

    def _receive(self) -> None:
        """Wait for candidates or for records, and sort in what came."""
        with contextlib.suppress(queue.Empty):
            item = self._came.get(timeout=self._seconds_to_next())
            while True:
                if isinstance(item, _Entry):
                    self._admit(item)
                elif item is not None:
                    self._take_record(*item)
                item = self._came.get_nowait()

    def _seconds_to_next(self) -> float | None:
        """Return how long until something is due; None if nothing will be by itself."""
        if (
            self._ready and not self._reading and not self._stop.is_set()
        ):  # one that changed after it was read: nobody else says so
            return 0.0
        due = [self._waiting[0][0]] if self._waiting and not self._stop.is_set() else []
        if self._batch:
            due.append(self._batch_since + BATCH_SECONDS)
        return max(0.0, min(due) - time.monotonic()) if due else None

    def _admit(self, entry: _Entry) -> None:
        """Put a file that is complete among those to be read; let the others wait."""
        status = entry.candidate.stat
        if status is not None and is_regular(status):
            stamp = Stamp.of(status)
            settle = self._settles.setdefault(entry.settle_seconds, Settle(entry.settle_seconds))
            wait = settle.wait_seconds(
                entry.candidate.path, stamp, monotonic=time.monotonic(), wall_ns=self._clock.now_ns()
            )
            if wait > 0:
                self._wait(entry, wait)
                return
        self._ready.append(entry)

    def _wait(self, entry: _Entry, seconds: float) -> None:
        now = time.monotonic()
        entry.waits_since = entry.waits_since if entry.waits_since is not None else now
        if now - entry.waits_since > PATIENCE_SECONDS:
            log.warning("%s never stops changing; it is left to the next scan", entry.candidate.path)
            self._end(entry)
        else:
            heapq.heappush(self._waiting, (now + seconds, next(self._order), entry))

    def _look_again(self) -> None:
        """Admit the files whose time has come."""
        now = time.monotonic()
        while self._waiting and self._waiting[0][0] <= now:
            entry = heapq.heappop(self._waiting)[2]
            entry.candidate = look(entry.candidate)
            self._admit(entry)

    def _read(self, pool: concurrent.futures.Executor) -> None:
        # A few more than there are threads: these never wait for this one.
        while self._ready and self._reading < 4 * self._threads:
            entry = self._ready.popleft()
            self._reading += 1
            with self._lock:
                entry.is_doubted = False
            pool.submit(self._read_one, entry)

    def _read_one(self, entry: _Entry) -> None:
        is_last_try = entry.tries >= TROUBLE_TRIES
        try:
            self._came.put((entry, self._reader.read(entry.candidate, is_last_try=is_last_try)))
        # Whatever it is, the intake must hear of an end: it counts what is read.
        except Exception:
            log.exception("%s could not be read; it is left to the next scan", entry.candidate.path)
            self._came.put((entry, None))

    def _take_record(self, entry: _Entry, result: FileRecord | Candidate | None) -> None:
        self._reading -= 1
        if isinstance(result, FileRecord):
            self._batch_since = self._batch_since if self._batch else time.monotonic()
            self._batch.append((entry, result))
        elif result is None:
            self._end(entry)
        elif result.trouble is not None:  # it may pass: the same file again, in a while
            seconds = TROUBLE_SECONDS * 4**entry.tries
            entry.tries += 1
            self._wait(entry, seconds)
        else:
            entry.candidate = result
            self._wait(entry, CHANGED_SECONDS)

    def _flush(self, *, is_last: bool) -> None:
        is_late = time.monotonic() - self._batch_since >= BATCH_SECONDS
        is_quiet = not self._reading and not self._ready
        while self._batch and (len(self._batch) >= BATCH_FILES or is_late or is_quiet or is_last):
            batch, self._batch = self._batch[:BATCH_FILES], self._batch[BATCH_FILES:]
            self._write(batch)

    def _write(self, batch: list[tuple[_Entry, FileRecord]]) -> None:
        try:
            ingested = self._ingest([record for _, record in batch])
        except CatalogBusy:
            raise
        # Drivers have errors of their own for values that they cannot hold.
        except Exception as error:  # noqa: BLE001
            self._write_alone(batch, error)
            return
        self._on_written(Tally(item.state for item in ingested))
        for item in ingested:
            if item.is_new_asset and item.asset_id is not None:
                self._on_asset(item.asset_id, item.path)
        for entry, record in batch:
            self._written(entry, record)

    def _write_alone(self, batch: list[tuple[_Entry, FileRecord]], error: Exception) -> None:
        """Write one by one what could not be written together: one bad record spoils no others."""
        if len(batch) > 1:
            for item in batch:
                self._write([item])
            return
        entry, record = batch[0]
        log.error("%s: %s", record.path, error)
        if record.asset is not None:
            why = f"its facts cannot be recorded: {error}"
            failed = replace(record, state="failed", asset=None, error_kind=CatalogError.kind, error=why)
            self._write([(entry, failed)])
        else:
            self._end(entry)

    def _ingest(self, records: list[FileRecord]) -> list[Ingested]:
        now = dt.datetime.now(dt.UTC)
        return self._writer.write(lambda connection: files.ingest(connection, records, now))

    def _written(self, entry: _Entry, record: FileRecord) -> None:
        self._end(entry, record.looks)

    def _end(self, entry: _Entry, read: tuple[int, int, int] | None = None) -> None:
        """Let go of a candidate; take it anew if it was offered meanwhile and is not as it was ``read``."""
        if entry.settle_seconds in self._settles:
            self._settles[entry.settle_seconds].forget(entry.candidate.path)
        while True:
            with self._lock:
                if not entry.is_doubted:
                    del self._entries[entry.candidate.path]
                    if not self._entries:
                        self._idle.set()
                    break
                entry.is_doubted = False
            entry.candidate = look(entry.candidate)
            status = entry.candidate.stat
            if status is not None and Stamp.of(status) != read:
                self._admit(entry)
                return
        self._room.release()
