"""Hands results to the catalog's writer, judges a step that fails for everyone, and tells of both."""

from __future__ import annotations

import contextlib
import datetime as dt
import logging
import queue as queues
from collections import Counter as Tally
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from enrich.catalog import files, steps
from enrich.catalog.record import JobResult, record
from enrich.errors import CatalogBusy, CatalogError, FileError
from enrich.pipeline import AssetResult, Pipeline

if TYPE_CHECKING:
    import sqlalchemy as sa

    from enrich.breaker import Breaker
    from enrich.catalog.writer import Writer

__all__ = ["Recorder"]

log = logging.getLogger(__name__)


class Recorder:
    """Records what became of claimed assets.

    Parameters
    ----------
    writer : Writer
        The catalog's writer.
    pipeline : Pipeline
        Says what a job comes to whose result cannot be recorded.
    worker : str
        The worker that holds the jobs.
    run_id : int
        The run that annotations are said to come from.
    breaker : Breaker or None
        Says which failures are a step's own fault; with None, all are their assets'.
    on_annotated : callable
        Called with (asset_id, step) after a done job was committed.
    on_recorded : callable
        Called after a commit with how many jobs came to which state, and how many files turned out
        to be broken.
    on_doubt : callable
        Called after a commit with the path of a file that is not as catalogued.
    """

    def __init__(
        self,
        writer: Writer,
        pipeline: Pipeline,
        *,
        worker: str,
        run_id: int,
        breaker: Breaker | None = None,
        on_annotated: Callable[[int, str], None] = lambda asset_id, step: None,
        on_recorded: Callable[[Tally[str], int], None] = lambda counted, broken_files: None,
        on_doubt: Callable[[Path], None] = lambda path: None,
    ) -> None:
        self._writer = writer
        self._pipeline = pipeline
        self._worker = worker
        self._run_id = run_id
        self._breaker = breaker
        self._on_annotated = on_annotated
        self._on_recorded = on_recorded
        self._on_doubt = on_doubt
        self._unrecorded: queues.SimpleQueue[AssetResult] = queues.SimpleQueue()

    def submit(self, results: list[AssetResult]) -> None:
        """Record soon, all in one transaction."""
        results = self._judged(results)
        future = self._writer.submit(lambda connection: self._record(connection, results))
        future.add_done_callback(lambda done: self._recorded(results, done))

    def record_again(self) -> None:
        """Record one by one what could not be recorded together: one bad result spoils no others."""
        with contextlib.suppress(queues.Empty):
            while True:
                result = self._unrecorded.get_nowait()
                try:
                    self._tell([result], *self._record_alone(result))
                except CatalogBusy:
                    self._unrecorded.put(result)
                    raise

    def _record(self, connection: sa.Connection, results: list[AssetResult]) -> tuple[list[JobResult], int]:
        jobs = [job for result in results for job in result.jobs]
        written = record(connection, jobs, worker=self._worker, run_id=self._run_id, now=_now())
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
            self._tell(results, *future.result())
            return
        for result in results:
            for job in result.jobs:
                self._unrecorded.put(replace(result, jobs=(job,)))
        log.warning("the results of a batch could not be recorded, trying one by one: %s", error)

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

    def _tell(self, results: list[AssetResult], written: list[JobResult], broken_files: int) -> None:
        self._on_recorded(Tally(job.state for job in written), broken_files)
        late = sum(len(result.jobs) for result in results) - len(written)
        if late:
            log.warning("%d results came too late and were not recorded: others took their jobs over", late)
        for result in results:
            if result.is_doubted:
                self._on_doubt(result.asset.path)
        for job in written:
            if job.state == "done":
                self._on_annotated(job.asset_id, job.step)
            elif job.error is not None and job.is_counted:
                log.warning("asset %d, step %s: %s", job.asset_id, job.step, job.error)

    def _judged(self, results: list[AssetResult]) -> list[AssetResult]:
        """Give back the jobs of steps that fail for everyone: they are not to blame."""
        if self._breaker is None:
            return results
        given_back: dict[int, JobResult] = {}
        for step in {job.step for result in results for job in result.jobs}:
            jobs = [job for result in results for job in result.jobs if job.step == step and _says(job)]
            worked = [job.state in ("done", "skipped") for job in jobs]
            verdict = self._breaker.judge(step, worked, [job.asset_id for job in jobs])
            if verdict.pause_seconds is not None:
                due_at = _now() + dt.timedelta(seconds=verdict.pause_seconds)
                # But for the first: a trial that meets the same bad asset each time must get past it.
                blameless = jobs[1:] if verdict.is_trial else jobs
                given_back |= {job.job_id: _given_back(job, due_at) for job in blameless}
                if verdict.is_change:
                    self._pause(step, jobs[-1].error or "", verdict.pause_seconds, due_at)
            elif verdict.is_change:
                log.warning("step %s works again", step)
                self._note(step, None, None)
        return [
            replace(result, jobs=tuple(given_back.get(job.job_id, job) for job in result.jobs))
            for result in results
        ]

    def _pause(self, step: str, error: str, seconds: float, until: dt.datetime) -> None:
        log.error("step %s fails for everyone and is paused for %.0f s: %s", step, seconds, error)
        self._note(step, error, until)

    def _note(self, step: str, trouble: str | None, until: dt.datetime | None) -> None:
        self._writer.submit(lambda connection: steps.set_trouble(connection, step, trouble, until))


def _kinds(error: type[FileError]) -> Iterator[str]:
    yield error.kind
    for narrower in error.__subclasses__():
        yield from _kinds(narrower)


_OF_FILES = frozenset(_kinds(FileError))


def _says(job: JobResult) -> bool:
    """Whether a result says something of its step: a file that cannot be read does not."""
    return job.error_kind not in _OF_FILES


def _given_back(job: JobResult, due_at: dt.datetime) -> JobResult:
    return replace(job, state="pending", retry_at=due_at, is_counted=False)


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)
