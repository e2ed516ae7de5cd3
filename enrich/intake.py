"""From paths to rows: each file is read once, and becomes an asset, ignored, or a recorded failure.

Reading happens in threads; rows and jobs are written in batches, one transaction each.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import datetime as dt
import logging
import os
import queue
import stat
import threading
import time
from collections import Counter as Tally
from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from enrich.catalog import files
from enrich.catalog.files import FileRecord, Ingested
from enrich.errors import FileError, FileUnreadable, FileVanished
from enrich.rendition import PictureFacts, probe
from enrich.scan import Candidate, is_regular
from enrich.settle import Settle, Stamp

if TYPE_CHECKING:
    from enrich.catalog.writer import Writer
    from enrich.rendition import Opener, Probe

__all__ = ["Intake"]

log = logging.getLogger(__name__)

#: Files written in one transaction.
BATCH_FILES = 128
_PICTURE_FACTS = tuple(item.name for item in fields(PictureFacts))

#: A batch that is not full is written after so long all the same.
BATCH_SECONDS = 0.5

#: A file that changed while it was read is looked at again after so long.
CHANGED_SECONDS = 0.2
#: A file that changes for so long is left to the next scan.
PATIENCE_SECONDS = 900.0


class Intake:
    """Takes candidates in.

    Parameters
    ----------
    writer : Writer
        The catalog's writer.
    threads : int
        How many files are read at once.
    max_pixels : int
        Larger pictures are refused.
    opener : Opener or None
        Plugins' decoders for formats of their own.
    on_asset : callable
        Called with (asset_id, path) after a new asset was committed.
    """

    def __init__(
        self,
        writer: Writer,
        *,
        threads: int,
        max_pixels: int,
        opener: Opener | None = None,
        on_asset: Callable[[int, Path], None] = lambda asset_id, path: None,
    ) -> None:
        self._writer = writer
        self._threads = threads
        self._max_pixels = max_pixels
        self._opener = opener
        self._on_asset = on_asset

    def ingest(
        self,
        candidates: Iterable[Candidate],
        *,
        settle_seconds: float,
        stop: threading.Event,
        progress: Callable[[Tally[str]], None] = lambda counted: None,
    ) -> Tally[str]:
        """Read and catalog every candidate once it is complete; return how many came to which state.

        ``progress`` is called with the states of each batch after its commit. With ``stop`` set,
        what was read is written and the rest is left for the next scan.
        """
        counted: Tally[str] = Tally()
        batch: list[FileRecord] = []
        flushed_at = time.monotonic()
        for record in self._read_all(candidates, settle_seconds, stop):
            if record is not None:
                batch.append(record)
            is_late = time.monotonic() - flushed_at >= BATCH_SECONDS
            if batch and (len(batch) >= BATCH_FILES or is_late):
                counted += self._write(batch, progress)
                batch, flushed_at = [], time.monotonic()
        if batch:
            counted += self._write(batch, progress)
        return counted

    def _write(self, batch: list[FileRecord], progress: Callable[[Tally[str]], None]) -> Tally[str]:
        now = dt.datetime.now(dt.UTC)
        ingested: list[Ingested] = self._writer.write(lambda connection: files.ingest(connection, batch, now))
        states = Tally(item.state for item in ingested)
        progress(states)
        for item in ingested:
            if item.is_new_asset and item.asset_id is not None:
                self._on_asset(item.asset_id, item.path)
        return states

    def _read_all(
        self, candidates: Iterable[Candidate], settle_seconds: float, stop: threading.Event
    ) -> Iterator[FileRecord | None]:
        """Yield a record per candidate as it is read, and None now and then while waiting."""
        arriving = iter(candidates)
        is_arriving = True
        with concurrent.futures.ThreadPoolExecutor(self._threads, "intake") as pool:
            reader = _Reader(self._read, pool, settle_seconds)
            while (is_arriving or reader.is_busy) and not stop.is_set():
                while is_arriving and reader.reading < 4 * self._threads:
                    candidate = next(arriving, None)
                    is_arriving = candidate is not None
                    if candidate is not None:
                        reader.admit(candidate, time.monotonic())
                reader.look_again()
                if reader.reading:
                    yield from reader.done()
                elif not is_arriving:
                    stop.wait(reader.seconds_to_next)
                    yield None
            while reader.reading:
                yield from reader.done()

    def _read(self, candidate: Candidate) -> FileRecord | Candidate | None:
        """Return the file's record; the candidate where it must settle again; None where it is gone."""
        try:
            if candidate.trouble is not None:
                raise FileUnreadable(candidate.trouble)
            if candidate.stat is not None and stat.S_ISLNK(candidate.stat.st_mode):
                return _record(
                    candidate,
                    "ignored",
                    error_kind="symlink",
                    error="a symbolic link that leads nowhere, or follow_symlinks is off",
                )
            found = probe(candidate.path, max_pixels=self._max_pixels, opener=self._opener)
        except FileVanished:
            return _again(candidate) if os.path.lexists(candidate.path) else None
        except FileError as error:
            log.info("%s: %s", candidate.path, error)
            return _record(candidate, "failed", error_kind=error.kind, error=str(error))
        # A bug of ours, or of a library on hostile bytes, costs this file and no other.
        except Exception as error:
            log.exception("%s could not be read", candidate.path)
            return _record(candidate, "failed", error_kind=FileError.kind, error=f"internal error: {error!r}")
        return _probed(candidate, found)


#: Reading a candidate: its record, the candidate where it must settle again, None where it is gone.
_Read = concurrent.futures.Future["FileRecord | Candidate | None"]


class _Reader:
    """Candidates on their way to records: left alone long enough, then read in a thread.

    Each is kept with when it first came, because one that never stops changing (a log, a recording)
    must not keep the others from an end.
    """

    def __init__(
        self,
        read: Callable[[Candidate], FileRecord | Candidate | None],
        pool: concurrent.futures.Executor,
        settle_seconds: float,
    ) -> None:
        self._read = read
        self._pool = pool
        self._settle = Settle(settle_seconds)
        self._waiting: list[tuple[float, float, Candidate]] = []
        # When each file that is being read first came, and the futures as they end: waiting on a queue
        # costs a fraction of waiting on the futures themselves.
        self._reading: dict[_Read, float] = {}
        self._ended: queue.SimpleQueue[_Read] = queue.SimpleQueue()

    @property
    def reading(self) -> int:
        return len(self._reading)

    @property
    def is_busy(self) -> bool:
        return bool(self._reading or self._waiting)

    @property
    def seconds_to_next(self) -> float:
        """How long until a file should be looked at again, at most ``BATCH_SECONDS``."""
        next_at = min((due_at for due_at, _, _ in self._waiting), default=0.0)
        return min(BATCH_SECONDS, max(0.0, next_at - time.monotonic()))

    def admit(self, candidate: Candidate, came_at: float) -> None:
        """Read a file that is complete; let the others wait."""
        status = candidate.stat
        if status is not None and is_regular(status):
            stamp = Stamp(status.st_size, status.st_mtime_ns, status.st_ctime_ns)
            now = time.monotonic()
            wait = self._settle.wait_seconds(candidate.path, stamp, monotonic=now, wall_ns=time.time_ns())
            if wait > 0:
                self._wait(candidate, came_at, wait)
                return
        future = self._pool.submit(self._read, candidate)
        self._reading[future] = came_at
        future.add_done_callback(self._ended.put)

    def look_again(self) -> None:
        """Admit the files whose time has come."""
        now = time.monotonic()
        due = [item for item in self._waiting if item[0] <= now]
        self._waiting = [item for item in self._waiting if item[0] > now]
        for _, came_at, candidate in due:
            self.admit(_again(candidate), came_at)

    def done(self) -> Iterator[FileRecord | None]:
        """Wait for some files to be read and yield their records; those that changed wait again."""
        with contextlib.suppress(queue.Empty):
            future = self._ended.get(timeout=BATCH_SECONDS)
            while True:
                came_at = self._reading.pop(future)
                result = future.result()
                if isinstance(result, Candidate):
                    self._wait(result, came_at, CHANGED_SECONDS)
                else:
                    yield result
                future = self._ended.get_nowait()

    def _wait(self, candidate: Candidate, came_at: float, seconds: float) -> None:
        now = time.monotonic()
        if now - came_at > PATIENCE_SECONDS:
            log.warning("%s never stops changing; it is left to the next run", candidate.path)
            self._settle.forget(candidate.path)
        else:
            self._waiting.append((now + seconds, came_at, candidate))


def _again(candidate: Candidate) -> Candidate:
    """Return the candidate as it looks now; a link that leads nowhere as the link it is."""
    status = None
    for look in (os.lstat, os.stat):
        with contextlib.suppress(OSError):
            status = look(candidate.path)
    return Candidate(candidate.root, candidate.path, status)


def _record(candidate: Candidate, state: str, **facts: Any) -> FileRecord:
    """Return a record of a file that was not read."""
    status = candidate.stat
    if status is None:
        with contextlib.suppress(OSError):
            status = os.lstat(candidate.path)
    return FileRecord(
        candidate.root,
        candidate.path,
        status.st_size if status else 0,
        status.st_mtime_ns if status else 0,
        status.st_ctime_ns if status else 0,
        status.st_ino if status else 0,
        state,
        **facts,
    )


def _probed(candidate: Candidate, found: Probe) -> FileRecord:
    picture = None
    if found.picture is not None:
        picture = {name: getattr(found.picture, name) for name in _PICTURE_FACTS}
        picture["media_type"] = found.media_type
    return FileRecord(
        candidate.root,
        candidate.path,
        found.size_bytes,
        found.modified_ns,
        found.changed_ns,
        found.inode,
        "ignored" if picture is None else "present",
        found.media_type,
        found.sha256,
        found.sha1,
        asset=picture,
    )
