"""Claims assets, takes them through the pipeline and records the results.

A worker has a few lanes, threads that each claim, decode, describe and hand over a batch: while one
waits for a model, another decodes. A heartbeat renews the leases. Whatever kills the process, its
jobs are claimed again: at once by a process of the same machine that sees it is gone, and when the
lease has run out by any other.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import logging
import os
import queue as queues
import socket
import threading
from collections import Counter as Tally
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from enrich.catalog import files, queue
from enrich.catalog.record import JobResult, record
from enrich.errors import CatalogBusy, CatalogError, EnrichError, PluginFailed
from enrich.pipeline import AssetResult, Originals, Pipeline

if TYPE_CHECKING:
    import sqlalchemy as sa

    from enrich.catalog.queue import ClaimedAsset
    from enrich.catalog.writer import Writer

__all__ = ["Worker", "is_gone", "worker_name"]

log = logging.getLogger(__name__)

#: Batches in flight at once: one decodes while another infers.
LANES = 2

#: A lane with nothing to do looks again after so long, unless it is woken.
IDLE_SECONDS = 1.0


def worker_name() -> str:
    """Return a name that no other process has or will have: host, process space, process, its start."""
    return f"{socket.gethostname()}/{_process_space()}/{os.getpid()}/{_started(os.getpid())}"


def is_gone(name: str) -> bool:
    """Whether a worker of that name certainly no longer runs; False where that cannot be known."""
    try:
        host, space, pid, started = name.rsplit("/", 3)
    except ValueError:
        return False
    if host != socket.gethostname() or space != _process_space() or space == "?":
        return False
    return _started(int(pid)) != started


def _process_space() -> str:
    # Two containers may share a host name; process numbers mean something within one space only.
    try:
        return os.readlink("/proc/self/ns/pid").strip("pid:[]")
    except OSError:
        return "?"


def _started(pid: int) -> str:
    """Return when a process started, in clock ticks since boot; '' if there is none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    fields = text.rpartition(")")[2].split()  # the name before it may hold anything
    return "" if fields[0] in "ZX" else fields[19]  # a zombie runs no more; proc(5) field 22


class Worker:
    """Works off the queue.

    Parameters
    ----------
    writer : Writer
        The catalog's writer.
    pipeline : Pipeline
        The steps.
    originals : Originals
        Decodes claimed assets.
    steps : sequence of str
        The names of the steps whose jobs are claimed.
    run_id : int
        The run that annotations are said to come from.
    batch_size : int
        Assets claimed at once by each lane.
    lease_seconds : float
        How long a claim holds without a heartbeat.
    on_annotated : callable
        Called with (asset_id, step) after a done job was committed.
    on_recorded : callable
        Called after a commit with how many jobs came to which state, and how many files turned out
        to be broken.
    """

    def __init__(
        self,
        writer: Writer,
        pipeline: Pipeline,
        originals: Originals,
        *,
        steps: Sequence[str],
        run_id: int,
        batch_size: int,
        lease_seconds: float,
        on_annotated: Callable[[int, str], None] = lambda asset_id, step: None,
        on_recorded: Callable[[Tally[str], int], None] = lambda counted, broken_files: None,
    ) -> None:
        self.name = worker_name()
        self._writer = writer
        self._pipeline = pipeline
        self._originals = originals
        self._steps = steps
        self._run_id = run_id
        self._batch_size = batch_size
        self._lease_seconds = lease_seconds
        self._on_annotated = on_annotated
        self._on_recorded = on_recorded
        self._stop = threading.Event()
        self._ended = threading.Event()
        self._news = threading.Condition()
        self._unrecorded: queues.SimpleQueue[AssetResult] = queues.SimpleQueue()
        self._threads = [
            threading.Thread(target=self._lane, name=f"lane-{number}") for number in range(LANES)
        ]
        self._heart = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Take back what dead workers held, and start to work."""
        self._reclaim()
        self._heart.start()
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        """Tell idle lanes that there may be something to do."""
        with self._news:
            self._news.notify_all()

    def seconds_to_next(self) -> float | None:
        """Return how long until there is something to do: 0 if this worker is at it, None if never."""
        return self._writer.write(
            lambda connection: (
                0.0
                if queue.held(connection, self.name)
                else queue.seconds_to_next(connection, self._steps, _now())
            )
        )

    def stop(self) -> None:
        """Finish the batches in flight, record them, and give back the rest."""
        self._stop.set()
        self.wake()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()
        self._ended.set()
        self._writer.write(lambda connection: queue.release(connection, self.name, _now()))

    def _lane(self) -> None:
        while not self._stop.is_set():
            try:
                self._record_again()
                assets = self._writer.write(self._claim)
            except EnrichError as error:
                log.error("cannot claim: %s", error)
                assets = []
            if assets:
                self._work(assets)
            else:
                with self._news:
                    if not self._stop.is_set():
                        self._news.wait(IDLE_SECONDS)

    def _claim(self, connection: sa.Connection) -> list[ClaimedAsset]:
        return queue.claim(
            connection,
            worker=self.name,
            steps=self._steps,
            limit=self._batch_size,
            lease_seconds=self._lease_seconds,
            now=_now(),
        )

    def _work(self, assets: list[ClaimedAsset]) -> None:
        try:
            results = list(self._pipeline.run(assets, self._originals))
        # A bug of ours must cost a batch its attempt, with a record, and not the lane.
        except Exception as error:
            log.exception("a batch of %d assets failed", len(assets))
            trouble = PluginFailed(f"internal error: {type(error).__name__}: {error}", retryable=True)
            results = self._pipeline.all_failed(assets, trouble)
        future = self._writer.submit(lambda connection: self._record(connection, results))
        future.add_done_callback(lambda done: self._recorded(results, done))

    def _record(self, connection: sa.Connection, results: list[AssetResult]) -> tuple[list[JobResult], int]:
        jobs = [job for result in results for job in result.jobs]
        written = record(connection, jobs, worker=self.name, run_id=self._run_id, now=_now())
        held = {job.asset_id for job in written}
        broken_files = sum(
            files.fail_original(connection, result.asset.id, result.broken.kind, str(result.broken))
            for result in results
            if result.broken is not None and result.asset.id in held
        )
        return written, broken_files

    def _recorded(self, results: list[AssetResult], future: Future[tuple[list[JobResult], int]]) -> None:
        error = future.exception()
        if error is None:
            self._tell(*future.result())
            return
        for result in results:
            for job in result.jobs:
                self._unrecorded.put(replace(result, jobs=(job,)))
        log.warning("the results of a batch could not be recorded, trying one by one: %s", error)

    def _record_again(self) -> None:
        """Record one by one what could not be recorded together: one bad result spoils no others."""
        with contextlib.suppress(queues.Empty):
            while True:
                result = self._unrecorded.get_nowait()
                try:
                    self._tell(*self._record_alone(result))
                except CatalogBusy:
                    self._unrecorded.put(result)
                    raise

    def _record_alone(self, result: AssetResult) -> tuple[list[JobResult], int]:
        try:
            return self._writer.write(lambda connection: self._record(connection, [result]))
        except CatalogBusy:
            raise
        # Whatever the catalog has against this result, its job must come to an end.
        except Exception as error:  # noqa: BLE001
            trouble = CatalogError(f"its result cannot be recorded: {error}")
            jobs = tuple(job for job in result.asset.jobs if job.id == result.jobs[0].job_id)
            failed = self._pipeline.all_failed([replace(result.asset, jobs=jobs)], trouble)
            return self._writer.write(lambda connection: self._record(connection, failed))

    def _tell(self, written: list[JobResult], broken_files: int) -> None:
        self._on_recorded(Tally(job.state for job in written), broken_files)
        for job in written:
            if job.state == "done":
                self._on_annotated(job.asset_id, job.step)
            elif job.error is not None:
                log.warning("asset %d, step %s: %s", job.asset_id, job.step, job.error)

    def _beat(self) -> None:
        # To the end of the drain: the last batch may take longer than a lease.
        while not self._ended.wait(self._lease_seconds / 4):
            with contextlib.suppress(EnrichError):  # logged by the writer; the next beat tries again
                self._writer.write(
                    lambda connection: queue.heartbeat(connection, self.name, self._lease_seconds, _now())
                )
                self._reclaim()

    def _reclaim(self) -> None:
        def take_back(connection: sa.Connection) -> int:
            dead = [name for name in queue.workers(connection) if is_gone(name)]
            return queue.reclaim(connection, dead, _now())

        count = self._writer.write(take_back)
        if count:
            log.warning("%d jobs of workers that died are pending again", count)


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)
