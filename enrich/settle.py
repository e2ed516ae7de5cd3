"""When is a file complete: pure, the clock is passed in.

Writers do not say when they are done: copies over a network pause, scanners write in bursts, some
programs close a file and open it again. So a file is complete once it was left alone for
``settle_seconds``.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

__all__ = ["CautiousClock", "Settle", "Stamp"]


class CautiousClock:
    """The wall clock, but never later than it would be had nobody set it since the start.

    The age of a file is the wall clock less the file's change time. A clock set forward makes a file
    that is being written look old, and one set back does so with a clock that was not: the earlier
    of the two is never wrong in that direction.

    Parameters
    ----------
    wall_ns : callable
        Nanoseconds since the epoch.
    monotonic_ns : callable
        Nanoseconds since some instant.
    """

    def __init__(
        self,
        wall_ns: Callable[[], int] = time.time_ns,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._wall_ns = wall_ns
        self._monotonic_ns = monotonic_ns
        self._offset_ns = wall_ns() - monotonic_ns()

    def now_ns(self) -> int:
        """Return nanoseconds since the epoch."""
        return min(self._wall_ns(), self._monotonic_ns() + self._offset_ns)


class Stamp(NamedTuple):
    """What changes when a file is written to."""

    size_bytes: int
    modified_ns: int
    changed_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> Stamp:
        """Return the stamp of a file's stat."""
        return cls(status.st_size, status.st_mtime_ns, status.st_ctime_ns)


class Settle:
    """Remembers what files looked like, and since when.

    Parameters
    ----------
    settle_seconds : float
        How long a file must be left alone.
    """

    def __init__(self, settle_seconds: float) -> None:
        self._settle_seconds = settle_seconds
        self._seen: dict[Path, tuple[Stamp, float]] = {}

    def wait_seconds(self, path: Path, stamp: Stamp, *, monotonic: float, wall_ns: int) -> float:
        """Return 0 if the file is complete, else how long to wait before looking again.

        Parameters
        ----------
        path : Path
            The file.
        stamp : Stamp
            As it looks now.
        monotonic : float
            The monotonic clock, in seconds, by which the file is watched from look to look.
        wall_ns : int
            A wall clock, in nanoseconds since the epoch, by which an old file is known to be old at
            the first look: every write sets the change time, and no program can set it back.
        """
        known = self._seen.get(path)
        if known is None or known[0] != stamp:
            since = monotonic
            age_seconds = (wall_ns - stamp.changed_ns) / 1e9
            if known is None and age_seconds >= self._settle_seconds:
                return 0.0
            self._seen[path] = (stamp, since)
        else:
            since = known[1]
        remaining = self._settle_seconds - (monotonic - since)
        if remaining > 0:
            return remaining
        self._seen.pop(path, None)
        return 0.0

    def forget(self, path: Path) -> None:
        """Drop what is remembered of a file that went away."""
        self._seen.pop(path, None)
