"""Claims assets, takes them through the pipeline and has the results recorded.

A worker has a few lanes, threads that each claim, decode, describe and hand over a batch: while one
waits for a model, another decodes. A heartbeat renews the leases. Whatever kills the process, its
jobs are claimed again: at once by a process of the same machine that sees it is gone, and by any
other once the lease was not renewed for as long as it lasts.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import datetime as dt
import logging
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from enrich.catalog import queue
from enrich.catalog.clean import escape_path
from enrich.errors import CatalogError, EnrichError, PluginFailed
from enrich.lease import Leases, is_gone, is_there
from enrich.pipeline import AssetResult, Originals, Pipeline
from enrich.presence import absence

if TYPE_CHECKING:
    import sqlalchemy as sa

    from enrich.breaker import Breaker
    from enrich.catalog.queue import ClaimedAsset
    from enrich.catalog.writer import Writer
    from enrich.recorder import Recorder

__all__ = ["Worker"]

log = logging.getLogger(__name__)

#: Batches in flight at once: one decodes while another infers.
LANES = 2

#: A step that is tried after a pause gets so many assets from each end of the queue.
TRIAL_ASSETS = 2

#: With nothing to do, one lane looks again after so long, unless it is woken.
IDLE_SECONDS = 2.0

#: A root that this process does not see is left to others for so long.
BLIND_SECONDS = 30.0


class Worker:
    """Works off the queue.

    Parameters
    ----------
    name : str
        Who this is; no other process has the name.
    writer : Writer
        The catalog's writer.
    pipeline : Pipeline
        The steps.
    originals : Originals
        Decodes claimed assets.
    recorder : Recorder
        Takes the results.
    steps : sequence of str
        The names of the steps whose jobs are claimed.
    batch_size : int
        Assets claimed at once by each lane.
    lease_seconds : float
        How long a claim holds without a heartbeat.
    breaker : Breaker or None
        Says which steps are paused.
    """

    def __init__(
        self,
        name: str,
        writer: Writer,
        pipeline: Pipeline,
        originals: Originals,
        recorder: Recorder,
        *,
        steps: Sequence[str],
        batch_size: int,
        lease_seconds: float,
        breaker: Breaker | None = None,
    ) -> None:
        self.name = name
        self._writer = writer
        self._pipeline = pipeline
        self._originals = originals
        self._recorder = recorder
        self._steps = steps
        self._batch_size = batch_size
        self._lease_seconds = lease_seconds
        self._breaker = breaker
        self._leases = Leases(lease_seconds)
        # (id, attempt) of the jobs at hand, and of those that the catalog says are.
        self._held: set[tuple[int, int]] = set()
        self._strays: set[tuple[int, int]] = set()
        self._holding = threading.Lock()
        self._blind: dict[str, float] = {}
        self._stop = threading.Event()
        self._ended = threading.Event()
        self._news = threading.Condition()
        self._has_idler = False
        self._threads = [
            threading.Thread(target=self._lane, name=f"lane-{number}", daemon=True) for number in range(LANES)
        ]
        self._heart = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    @property
    def is_alive(self) -> bool:
        """Whether all lanes live, and the heart that keeps their leases."""
        return all(thread.is_alive() for thread in [*self._threads, self._heart])

    def start(self) -> None:
        """Take back what dead workers held, and start to work."""
        self._writer.write(self._take_back_at_start)
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
                else queue.seconds_to_next(connection, self._steps, _now(), self._blind_roots())
            )
        )

    def finish(self) -> None:
        """Claim nothing more."""
        self._stop.set()
        self.wake()

    def stop(self, within_seconds: float | None = None) -> bool:
        """Finish the batches in flight, record them, and give back the rest.

        Returns whether it was done within the time; if not, a thread still runs, and nothing that it
        finds out will be recorded.
        """
        end = None if within_seconds is None else time.monotonic() + within_seconds
        self.finish()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(None if end is None else max(0.0, end - time.monotonic()))
        self._ended.set()
        released = self._writer.submit(lambda connection: queue.release(connection, self.name, _now()))
        try:
            released.result(None if end is None else max(1.0, end - time.monotonic()))
        except (concurrent.futures.TimeoutError, CatalogError):
            log.warning("the catalog does not answer; whoever starts next takes back the jobs")
            return False
        return not any(thread.is_alive() for thread in self._threads)

    def _lane(self) -> None:
        while not self._stop.is_set():
            try:
                self._recorder.record_again()
                assets = self._claim()
            except EnrichError as error:
                log.error("cannot claim: %s", error)
                assets = []
            if assets:
                if len(assets) == self._batch_size:
                    self.wake()  # there may be more
                self._work(assets)
            else:
                self._idle()

    def _idle(self) -> None:
        """Wait for news; one lane is enough to look for what other processes bring."""
        with self._news:
            if self._stop.is_set():
                return
            is_idler, self._has_idler = not self._has_idler, True
            self._news.wait(IDLE_SECONDS if is_idler else None)
            if is_idler:
                self._has_idler = False

    def _claim(self) -> list[ClaimedAsset]:
        trial = None if self._breaker is None else self._breaker.trial()
        if trial is not None:
            # From both ends: what fails may be a few assets that came together, and not the step.
            wanted: list[tuple[Sequence[str], int, bool]] = [
                ([trial], TRIAL_ASSETS, False),
                ([trial], TRIAL_ASSETS, True),
            ]
        else:
            steps = self._steps if self._breaker is None else self._breaker.closed()
            if not steps:
                return []
            wanted = [(steps, self._batch_size, False)]

        def claim(connection: sa.Connection) -> list[ClaimedAsset]:
            return [
                asset
                for steps, limit, newest_first in wanted
                for asset in queue.claim(
                    connection,
                    worker=self.name,
                    steps=steps,
                    limit=limit,
                    lease_seconds=self._lease_seconds,
                    now=_now(),
                    blind=self._blind_roots(),
                    newest_first=newest_first,
                )
            ]

        assets = self._writer.write(claim)
        with self._holding:
            self._held |= {(job.id, job.attempts) for asset in assets for job in asset.jobs}
        return assets

    def _blind_roots(self) -> list[str]:
        now = time.monotonic()
        return [root for root, until in list(self._blind.items()) if until > now]

    def _work(self, assets: list[ClaimedAsset]) -> None:
        try:
            results = list(self._pipeline.run(assets, self._originals))
        # A bug of ours must cost a batch its attempt, with a record, and not the lane.
        except Exception as error:
            log.exception("a batch of %d assets failed", len(assets))
            trouble = PluginFailed(f"internal error: {type(error).__name__}: {error}", retryable=True)
            results = self._pipeline.all_failed(assets, trouble)
        self._look_for_roots(results)
        self._recorder.submit(results)

    def _look_for_roots(self, results: list[AssetResult]) -> None:
        """Leave roots alone for a while that are not there: their files are not the ones to blame."""
        for root in {result.asset.root for result in results if result.is_doubted}:
            if absence(root, was_filled=lambda: True) is not None:
                log.warning("%s is not there, or empty; its assets wait", root)
                self._blind[escape_path(root)] = time.monotonic() + BLIND_SECONDS

    def _beat(self) -> None:
        # To the end of the drain: the last batch may take longer than a lease.
        while not self._ended.wait(self._lease_seconds / 4):
            with contextlib.suppress(EnrichError):  # logged by the writer; the next beat tries again
                self._writer.write(self._renew)

    def _renew(self, connection: sa.Connection) -> None:
        queue.heartbeat(connection, self.name, self._lease_seconds, _now())
        self._release_strays(connection)
        leases = queue.leases(connection)
        leases.pop(self.name, None)
        silent = self._leases.silent(leases, time.monotonic())
        self._take_back(connection, {*silent, *(name for name in leases if is_gone(name))})

    def _release_strays(self, connection: sa.Connection) -> None:
        """Give back jobs that this worker holds and does not know of.

        A connection that breaks during a commit does not say whether it was made: a claim may have
        been, and nobody would ever work on it. Twice in a row, because a claim is made known to the
        catalog before it is known here.
        """
        held = queue.held(connection, self.name)
        with self._holding:
            self._held &= held
            strays = held - self._held
        lost = {job_id for job_id, _ in strays & self._strays}
        self._strays = strays
        if lost:
            queue.release(connection, self.name, _now(), lost)

    def _take_back_at_start(self, connection: sa.Connection) -> None:
        # Nothing was watched so far: a lease that ended by the wall clock is believed to have ended,
        # unless its worker is seen to live.
        now = _now()
        leases = queue.leases(connection)
        ended = {name for name, end in leases.items() if end < now and not is_there(name)}
        self._take_back(connection, {*ended, *(name for name in leases if is_gone(name))})

    def _take_back(self, connection: sa.Connection, dead: set[str]) -> None:
        count = queue.reclaim(connection, dead, _now())
        if count:
            log.warning("%d jobs of workers that died are pending again", count)


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)
