"""When is a file complete: pure, the clock is passed in.

Writers do not say when they are done: copies over a network pause, scanners write in bursts, some
programs close a file and open it again. So a file is complete once it was left alone for
``settle_seconds``.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

__all__ = ["Settle", "Stamp"]


class Stamp(NamedTuple):
    """What changes when a file is written to."""

    size_bytes: int
    modified_ns: int
    changed_ns: int


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
            The wall clock, in nanoseconds since the epoch, by which an old file is known to be old
            at the first look: every write sets the change time, and no program can set it back.
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
