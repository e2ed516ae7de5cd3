"""What events said until somebody looks, and what went away until it surely did."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

__all__ = ["Departures", "Hints", "News"]

#: More paths are not kept: then everything is looked through instead.
MAX_PATHS = 100_000
#: After the first hint, more of them are waited for: a file has a few, a folder many.
GATHER_SECONDS = 0.1

#: What is gone is believed to be gone once nothing more went away for so long: a folder that is
#: emptied, or a share that goes offline, does so file by file.
GONE_SECONDS = 1.0
MAX_GONE_SECONDS = 10.0


@dataclass(slots=True)
class News:
    """Hints taken.

    ``paths`` says of each, in the order they came, whether it is or was a folder; ``left`` are the
    folders that went away; ``seen`` is how many events there were, ``lost`` how often some were lost.
    """

    paths: dict[str, bool] = field(default_factory=dict)
    seen: int = 0
    lost: int = 0
    left: set[str] = field(default_factory=set)


class Hints:
    """Takes hints from any thread, for one that looks after them."""

    def __init__(self) -> None:
        self._news = News()
        self._changed = threading.Condition()
        self._is_woken = False

    def add(self, path: str, is_folder: bool, has_left: bool = False) -> None:
        """Keep that something may have happened to a file or folder: each once, and no more than fit."""
        with self._changed:
            self._news.seen += 1
            if path in self._news.paths or len(self._news.paths) < MAX_PATHS:
                self._news.paths[path] = is_folder
                if has_left and is_folder:
                    self._news.left.add(path)
            else:
                self._news.lost += 1
            self._changed.notify()

    def lose(self) -> None:
        """Keep that the system lost events; it does not say how many."""
        with self._changed:
            self._news.lost += 1
            self._changed.notify()

    def wake(self) -> None:
        """Let ``take`` return."""
        with self._changed:
            self._is_woken = True
            self._changed.notify()

    def take(self, timeout_seconds: float) -> News:
        """Wait for news, gather them for a moment, and return them; nothing new where the time is up."""
        with self._changed:
            self._changed.wait_for(self._is_due, timeout_seconds)
            is_gathering, self._is_woken = self._is_due() and not self._is_woken, False
        if is_gathering:
            time.sleep(GATHER_SECONDS)
        with self._changed:
            news, self._news = self._news, News()
            return news

    def _is_due(self) -> bool:
        return bool(self._news.paths or self._news.lost or self._is_woken)


class Departures:
    """Paths that are no longer there, until nothing more goes away for a while. The clock is passed in."""

    def __init__(self) -> None:
        self._paths: dict[str, bool] = {}
        self._first_at = self._last_at = 0.0

    def add(self, path: str, is_folder: bool, now: float) -> None:
        """Keep that nothing was there at ``now``, in seconds of the monotonic clock."""
        self._first_at = self._first_at if self._paths else now
        self._last_at = now
        self._paths[path] = is_folder

    @property
    def due_at(self) -> float:
        """When they are to be believed; never for none."""
        if not self._paths:
            return float("inf")
        return min(self._last_at + GONE_SECONDS, self._first_at + MAX_GONE_SECONDS)

    def take(self, now: float) -> dict[str, bool]:
        """Return those to be believed: whether each was a folder."""
        if now < self.due_at:
            return {}
        paths, self._paths = self._paths, {}
        return paths
