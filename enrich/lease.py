"""Who holds jobs, and whether it still lives.

A lease ends at an instant of the wall clock, and wall clocks are set back and forward. So a worker
that waits for another one's lease does not compare clocks: it watches whether the lease is renewed.
"""

from __future__ import annotations

import datetime as dt
import os
import socket
from collections.abc import Mapping
from pathlib import Path

__all__ = ["Leases", "is_gone", "is_there", "worker_name"]


def worker_name() -> str:
    """Return a name that no other process has or will have: host, process space, process, its start."""
    return f"{socket.gethostname()}/{_process_space()}/{os.getpid()}/{_started(os.getpid())}"


def is_gone(name: str) -> bool:
    """Whether a worker of that name certainly no longer runs; False where that cannot be known."""
    return _lives(name) is False


def is_there(name: str) -> bool:
    """Whether a worker of that name certainly runs; False where that cannot be known."""
    return _lives(name) is True


def _lives(name: str) -> bool | None:
    try:
        host, space, pid, started = name.rsplit("/", 3)
    except ValueError:
        return None
    if host != socket.gethostname() or space != _process_space() or space == "?":
        return None
    if _is_hidden(int(pid)):
        return None
    return _started(int(pid)) == started


def _process_space() -> str:
    # Two containers, or two cloned machines, may share a host name; process numbers mean something
    # within one space of one boot only.
    try:
        space = os.readlink("/proc/self/ns/pid").strip("pid:[]")
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
    except OSError:
        return "?"
    return f"{boot.partition('-')[0]}-{space}"


def _is_hidden(pid: int) -> bool:
    """Whether there is such a process, and /proc does not show it: another user's, with hidepid."""
    if os.path.exists(f"/proc/{pid}"):
        return False
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except OSError:
        return False
    return True


def _started(pid: int) -> str:
    """Return when a process started, in clock ticks since boot; '' if there is none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    fields = text.rpartition(")")[2].split()  # the name before it may hold anything
    return "" if fields[0] in "ZX" else fields[19]  # a zombie runs no more; proc(5) field 22


class Leases:
    """Remembers when each worker's lease was last renewed; the clock is passed in.

    Parameters
    ----------
    lease_seconds : float
        How long a worker may be silent.
    """

    def __init__(self, lease_seconds: float) -> None:
        self._lease_seconds = lease_seconds
        self._seen: dict[str, tuple[dt.datetime, float]] = {}
        self._silent: set[str] = set()
        self._looked_at = 0.0

    def silent(self, leases: Mapping[str, dt.datetime], monotonic: float) -> list[str]:
        """Return the workers that did not renew their lease for as long as a lease lasts.

        Parameters
        ----------
        leases : mapping
            Each worker that holds jobs, and until when it says it does.
        monotonic : float
            Now, in seconds of the monotonic clock.
        """
        if monotonic - self._looked_at > self._lease_seconds / 2:
            # Nobody looked, or the catalog was away and nobody could renew: that is no silence.
            self._seen = {
                worker: (end, since if worker in self._silent else monotonic)
                for worker, (end, since) in self._seen.items()
            }
        self._looked_at = monotonic
        self._seen = {
            worker: self._seen[worker] if self._seen.get(worker, (None,))[0] == end else (end, monotonic)
            for worker, end in leases.items()
        }
        self._silent = {
            worker for worker, (_, since) in self._seen.items() if monotonic - since >= self._lease_seconds
        }
        return sorted(self._silent)
