"""``enrich run``: look through some paths, take in what is new, work off the queue, and end.

Taking in and describing overlap: the first assets are described while the last folders are looked
through.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections import Counter as Tally
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from enrich.catalog import files
from enrich.catalog.clean import escape_path
from enrich.catalog.engine import translated
from enrich.errors import EnrichError, UsageError
from enrich.scan import Candidate, Rules, Scan

if TYPE_CHECKING:
    import sqlalchemy as sa

    from enrich.catalog.writer import Writer
    from enrich.intake import Intake
    from enrich.settings import Root
    from enrich.worker import Worker

__all__ = ["Catalogued", "Oneshot", "Progress", "Target"]

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


class Catalogued:
    """What a scan compares with, from the database.

    Parameters
    ----------
    engine : sqlalchemy.Engine
        Reads what the catalog knows.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def sums(self, folders: Sequence[str]) -> dict[str, tuple[int, int]]:
        with translated(), self._engine.connect() as connection:
            return files.sums(connection, folders)

    def known(self, folders: Sequence[str]) -> dict[str, dict[str, files.Known]]:
        with translated(), self._engine.connect() as connection:
            return files.known(connection, folders)


class Oneshot:
    """One pass over targets.

    Parameters
    ----------
    engine : sqlalchemy.Engine
        Reads what the catalog knows.
    writer : Writer
        Writes what is missing.
    intake : Intake
        Takes in what is new.
    worker : Worker
        Works off the queue.
    own : str
        The catalog's own file, left alone by scans.
    """

    def __init__(
        self, engine: sa.Engine, writer: Writer, intake: Intake, worker: Worker, *, own: str = ""
    ) -> None:
        self._engine = engine
        self._catalogued = Catalogued(engine)
        self._writer = writer
        self._intake = intake
        self._worker = worker
        self._own = own

    def run(
        self,
        targets: Sequence[Target],
        progress: Progress,
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
            What stopped the intake as a whole; the queue was worked off all the same.
        """
        for target in targets:
            is_root = target.path == target.root.path  # one that went away is offline, and may come back
            if not is_root and not target.is_forced and not os.path.lexists(target.path):
                raise UsageError(f"{target.path}: no such file or folder")
        trouble: list[Exception] = []
        intake = threading.Thread(
            target=self._take_in, args=(targets, progress, stop, trouble), name="take-in"
        )
        self._worker.start()
        intake.start()
        try:
            while not stop.wait(TICK_SECONDS):
                tick(progress)
                if not intake.is_alive() and self._worker.seconds_to_next() is None:
                    break
        finally:
            stop.set()
            intake.join()
            self._worker.stop()
        tick(progress)
        if trouble:
            raise trouble[0]

    def _take_in(
        self, targets: Sequence[Target], progress: Progress, stop: threading.Event, trouble: list[Exception]
    ) -> None:
        def count(states: Tally[str]) -> None:
            progress.files.update(states)
            self._worker.wake()

        try:
            for target in targets:
                self._intake.ingest(
                    self._candidates(target, progress),
                    settle_seconds=target.root.settle_seconds,
                    stop=stop,
                    progress=count,
                )
        # It ends a thread: whoever started it raises it again.
        except Exception as error:
            if not isinstance(error, EnrichError):
                log.exception("taking in files failed")
            trouble.append(error)
        finally:
            progress.is_scanning = False

    def _candidates(self, target: Target, progress: Progress) -> Iterator[Candidate]:
        if not target.path.is_dir() and target.path != target.root.path:
            yield from self._one(target)
            return
        rules = Rules(target.root.ignore, follow_symlinks=target.root.follow_symlinks, own=self._own)
        scan = Scan(target.root.path, target.path, rules, self._catalogued)
        with translated(), self._engine.connect() as connection:
            catalogued = files.folders_below(connection, target.path)
        trouble = _offline(target.path, bool(catalogued))
        if trouble is not None:
            log.warning("%s %s: is it mounted? Nothing below it is marked as missing", target.path, trouble)
            progress.offline.append(target.path)
            return
        for changes in scan.changes():
            progress.files["unchanged"] += changes.unchanged
            self._miss(changes.missing_ids, progress)
            yield from changes.candidates
        unread = tuple(escape_path(folder).rstrip("/") + "/" for folder in scan.unreadable)
        gone = [
            folder
            for folder in sorted(catalogued - scan.visited)
            if not (folder + "/").startswith(unread or "\0")
        ]
        for start in range(0, len(gone), 64):
            rows = self._catalogued.known(gone[start : start + 64])
            self._miss([row.id for known in rows.values() for row in known.values()], progress)

    def _one(self, target: Target) -> Iterator[Candidate]:
        path = target.path
        try:
            status = path.lstat()
        except OSError:
            return
        if target.root.follow_symlinks:
            with contextlib.suppress(OSError):  # a link that leads nowhere stays the link it is
                status = path.stat()
        folder = escape_path(path.parent)
        row = self._catalogued.known([folder]).get(folder, {}).get(escape_path(path))
        if row is None or target.is_forced or not row.is_unchanged(status):
            yield Candidate(target.root.path, path, status)

    def _miss(self, file_ids: list[int], progress: Progress) -> None:
        if file_ids:
            progress.missing += self._writer.write(
                lambda connection: files.mark_missing(connection, file_ids)
            )


def _offline(folder: Path, was_filled: bool) -> str | None:
    """Return why a folder seems to have gone away as a whole; None if it is there."""
    try:
        with os.scandir(folder) as entries:
            # A share that went away leaves an empty mount point.
            return "is empty, and was not" if was_filled and next(entries, None) is None else None
    except (FileNotFoundError, NotADirectoryError):
        return "is not there"
    except OSError:
        return None  # the scan says what is wrong with it
