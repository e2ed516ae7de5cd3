"""``enrich run``: look through some paths, take in what is new, work off the queue, and end.

Taking in and describing overlap: the first assets are described while the last folders are looked
through.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import logging
import os
import threading
from collections import Counter as Tally
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from enrich.catalog import files, roots
from enrich.errors import UsageError
from enrich.reading import look
from enrich.scan import Candidate, Rules
from enrich.settings import Root
from enrich.sweep import Catalogued, Sweep

if TYPE_CHECKING:
    from enrich.assembly import Parts
    from enrich.doubts import Doubts

__all__ = ["Oneshot", "Progress", "Target"]

log = logging.getLogger(__name__)

#: How often progress is told, and the end looked for.
TICK_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Target:
    """A file or folder to look at, and the root whose rules it follows.

    With ``is_forced`` it is read again even if nothing about it changed.
    """

    root: Root
    path: Path
    is_forced: bool = False


@dataclass(slots=True)
class Progress:
    """What one run did so far; counts by state."""

    files: Tally[str] = field(default_factory=Tally)
    jobs: Tally[str] = field(default_factory=Tally)
    missing: int = 0
    is_scanning: bool = True
    offline: list[Path] = field(default_factory=list)

    def recorded(self, jobs: Tally[str], broken_files: int) -> None:
        """Count a batch of results; a file that only its decoding showed to be broken changes sides."""
        self.jobs.update(jobs)
        self.files.update({"present": -broken_files, "failed": broken_files})

    @property
    def failed(self) -> int:
        """How much of the work of this run failed."""
        return self.files["failed"] + self.jobs["failed"] + len(self.offline)


class Oneshot:
    """One pass over targets.

    Parameters
    ----------
    parts : Parts
        Takes in and works off.
    catalogued : Catalogued
        What the catalog knows.
    doubts : Doubts
        Files that were not as catalogued when they were to be decoded.
    progress : Progress
        Counts what was done.
    own : str
        The catalog's own file, left alone by scans.
    """

    def __init__(
        self, parts: Parts, catalogued: Catalogued, doubts: Doubts, progress: Progress, *, own: str = ""
    ) -> None:
        self._parts = parts
        self._catalogued = catalogued
        self._doubts = doubts
        self._progress = progress
        self._own = own
        self._trouble: Exception | None = None
        self._stop = threading.Event()

    def run(
        self,
        targets: Sequence[Target],
        *,
        stop: threading.Event,
        tick: Callable[[Progress], None] = lambda progress: None,
    ) -> None:
        """Do all of it; with ``stop`` set, finish the batches in flight and leave the rest pending.

        Raises
        ------
        UsageError
            A target is not there.
        EnrichError
            What stopped the taking in as a whole; the queue was worked off all the same.
        """
        for target in targets:
            is_root = target.path == target.root.path  # one that went away is offline, and may come back
            if not is_root and not target.is_forced and not os.path.lexists(target.path):
                raise UsageError(f"{target.path}: no such file or folder")
        self._stop = stop
        scanner = threading.Thread(target=self._scan, args=(targets,), name="scan")
        self._parts.intake.start()
        self._parts.worker.start()
        scanner.start()
        try:
            while not stop.wait(TICK_SECONDS):
                tick(self._progress)
                self._doubts.look(lambda candidate: self._offer(candidate, targets), self._miss)
                if not scanner.is_alive() and self._is_done():
                    break
        finally:
            stop.set()
            self._parts.intake.refuse()
            scanner.join()
            try:
                self._parts.intake.stop()
            finally:
                self._parts.worker.stop()
        tick(self._progress)
        if self._trouble is not None:
            raise self._trouble

    def _is_done(self) -> bool:
        intake = self._parts.intake
        if intake.pending and intake.is_alive:
            return False
        return self._parts.worker.seconds_to_next() is None and self._doubts.is_empty

    def _scan(self, targets: Sequence[Target]) -> None:
        try:
            for target in targets:
                for candidate in self._candidates(target):
                    self._parts.intake.offer(candidate, target.root.settle_seconds)
                    if self._stop.is_set():
                        return
        # It ends a thread: whoever started it raises it again.
        except Exception as error:  # noqa: BLE001
            self._trouble = error
        finally:
            self._progress.is_scanning = False

    def _candidates(self, target: Target) -> Iterator[Candidate]:
        if not target.path.is_dir() and target.path != target.root.path:
            yield from self._one(target)
            return
        rules = Rules(target.root.ignore, follow_symlinks=target.root.follow_symlinks, own=self._own)
        sweep = Sweep(
            target.root,
            [target.path],
            rules,
            self._catalogued,
            self._miss,
            guard=target.path,
            finds_gone=True,
            stop=self._stop,
        )
        if target.path == target.root.path and self._catalogued.absence(target.path) is None:
            # Another process may have found it offline, and its jobs would wait.
            self._parts.writer.write(lambda connection: roots.see(connection, target.path))
        yield from sweep.candidates()
        self._progress.files["unchanged"] += sweep.unchanged
        if sweep.absence is not None:
            log.warning(
                "%s %s: is it mounted? Nothing below it is marked as missing", target.path, sweep.absence
            )
            self._progress.offline.append(target.path)

    def _one(self, target: Target) -> Iterator[Candidate]:
        path, follow = target.path, target.root.follow_symlinks
        try:
            status = path.lstat()
        except OSError:
            return
        if follow:
            with contextlib.suppress(OSError):  # a link that leads nowhere stays the link it is
                status = path.stat()
        row = self._catalogued.known_at([path]).get(path)
        if row is None or target.is_forced or not row.is_unchanged(status):
            yield Candidate(target.root.path, path, status, is_followed=follow)

    def _offer(self, candidate: Candidate, targets: Sequence[Target]) -> None:
        root = next((target.root for target in targets if target.root.path == candidate.root), None)
        root = root or Root(path=candidate.root)
        self._parts.intake.offer(
            look(replace(candidate, is_followed=root.follow_symlinks)), root.settle_seconds
        )

    def _miss(self, file_ids: list[int]) -> int:
        now = dt.datetime.now(dt.UTC)
        missed = self._parts.writer.write(lambda connection: files.mark_missing(connection, file_ids, now))
        self._progress.missing += missed
        return missed
