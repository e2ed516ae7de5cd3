"""Looks after one root: its owner, whether it is there, its events, and when it is scanned.

Events are hints. The truth is the start scan, the rescans, and what the files themselves look like;
so whatever an event misses is found later, and counted as rescued.
"""

from __future__ import annotations

import datetime as dt
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from enrich import mounts
from enrich.catalog.roots import RootReport
from enrich.errors import EnrichError
from enrich.hints import Hints
from enrich.presence import identity_of
from enrich.watcher import Watcher, is_limit_reached

if TYPE_CHECKING:
    from enrich.catalog.ownership import Ownership
    from enrich.lookout import Lookout
    from enrich.settings import Root

__all__ = ["Keeper"]

log = logging.getLogger(__name__)

#: How often a root is looked for: one that is there, one that went away, one that another process has.
LOOK_SECONDS = 2.0
#: Whoever looks at the catalog sees at least so often that the root is looked after.
REPORT_SECONDS = 60.0
#: A report that only counts waits so long for more.
COUNT_SECONDS = 2.0

#: Polling looks through everything again after so many times as long as it took, within bounds.
POLL_FACTOR = 50.0
MIN_POLL_SECONDS = 1.0

#: So many more such watches than at the start belong to folders that are elsewhere by now.
MAX_LEFT_BEHIND = 100


class Keeper:
    """Keeps one root, in a thread of its own.

    Parameters
    ----------
    root : Root
        The root.
    lookout : Lookout
        Finds what changed in it.
    ownership : Ownership
        The right to look after it.
    owner : str
        Who this process is.
    tell : callable
        Writes a report down.
    leave : callable
        Writes down that this process no longer looks after the root.
    stop : threading.Event
        Ends it all.
    """

    def __init__(
        self,
        root: Root,
        lookout: Lookout,
        ownership: Ownership,
        *,
        owner: str,
        tell: Callable[[RootReport], None],
        leave: Callable[[Path], None],
        stop: threading.Event,
    ) -> None:
        self.root = root
        self._lookout = lookout
        self._ownership = ownership
        self._tell = tell
        self._leave = leave
        self._stop = stop
        self._hints = Hints()
        self._thread = threading.Thread(target=self._run, name=f"keeper {root.path}", daemon=True)
        #: Set once the root is watched, or cannot be for now.
        self.settled = threading.Event()
        self._report = RootReport(root.path, "online", None, None, None, owner, None, None, None)
        self._told = self._report
        self._told_at = float("-inf")
        self._scan_seconds = 0.0
        self._rescan_at = 0.0
        self._is_limit_said = False
        self._is_renewed = False
        self._short_scans = 0
        self._surplus = self._usual_surplus = 0  # watches of folders that no scan comes to

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def start(self) -> None:
        """Start to look after the root."""
        self._thread.start()

    def wake(self) -> None:
        """Look at once whether to stop."""
        self._hints.wake()

    def join(self, timeout_seconds: float) -> bool:
        """Wait for the end; return whether it came. A file system that hangs may keep it for ever."""
        self._thread.join(timeout_seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        said = ""
        while not self._stop.is_set():
            try:
                self._wait_for_ownership()
                while not self._stop.is_set() and self._ownership.is_held():
                    again_at = time.monotonic() + LOOK_SECONDS
                    self._look_after()
                    # Whatever ends a round at once would end the next one, too.
                    self._stop.wait(max(0.0, again_at - time.monotonic()))
                self._leave(self.root.path)
            except EnrichError as error:
                if str(error) != said:  # it may last
                    log.warning("%s: %s", self.root.path, error)
                said = str(error)
            # A bug of ours must not leave a root without anybody, silently: it begins anew.
            except Exception:
                log.exception("%s: looking after it failed; it begins anew", self.root.path)
            finally:
                self._ownership.release()
            self._stop.wait(LOOK_SECONDS)

    def _wait_for_ownership(self) -> None:
        is_said = False
        while not self._ownership.acquire():
            if not is_said:
                log.warning("%s is looked after by another process; waiting for its end", self.root.path)
                is_said = True
            self.settled.set()
            if self._stop.wait(LOOK_SECONDS):
                return
        if is_said:
            log.warning("%s is looked after by this process now", self.root.path)

    def _look_after(self) -> None:
        """Watch and scan until the root goes away, or another folder stands in its place."""
        absence = self._lookout.absence()
        identity = identity_of(self.root.path)
        if absence is None:
            watcher = self._watch()
            try:
                self.settled.set()
                absence = self._scan(watcher, is_first=True)
                while absence is None and not self._stop.is_set() and self._ownership.is_held():
                    if identity_of(self.root.path) != identity or (watcher and not watcher.is_alive):
                        return
                    if self._should_renew():
                        self._is_renewed = True
                        return
                    absence = self._turn(watcher)
            finally:
                if watcher is not None:
                    watcher.stop()
        if absence is not None:
            self.settled.set()
            self._say(state="offline", reason=absence, watches=None)

    def _turn(self, watcher: Watcher | None) -> str | None:
        """Wait for news and look after them; return why the root seems to be away, if it does."""
        due_at = min(self._rescan_at, self._lookout.due_at, time.monotonic() + LOOK_SECONDS)
        news = self._hints.take(max(0.0, due_at - time.monotonic()))
        self._count(events_seen=news.seen, events_lost=news.lost)
        absence = self._lookout.absence()
        if absence is not None or self._stop.is_set():
            return absence
        self._lookout.take(news)
        if not self._lookout.miss_gone() or news.lost:
            self._rescan_at = 0.0
        if news.lost:
            log.warning("%s: events were lost; looking through all of it", self.root.path)
        if time.monotonic() >= self._rescan_at:
            return self._scan(watcher, is_first=False)
        self._say()
        return None

    def _scan(self, watcher: Watcher | None, *, is_first: bool) -> str | None:
        """Look through the whole root; return why it seems to be away, if it does."""
        self._say(state="online", reason=None)
        started = time.monotonic()
        absence = self._lookout.scan()
        self._scan_seconds = time.monotonic() - started
        if absence is None:
            watches = self._count_watches(watcher, is_first=is_first)
            self._rescan_at = time.monotonic() + self._rescan_seconds(watches)
            if watcher is not None and not is_first:
                self._count(rescued=self._lookout.found)
            self._say(
                device=self._lookout.device,
                folders=self._lookout.folders,
                watches=watches,
                scanned_at=dt.datetime.now(dt.UTC),
            )
        return absence

    def _count_watches(self, watcher: Watcher | None, *, is_first: bool) -> int | None:
        """Return how many folders are watched; remember for how many scans that were too few."""
        watches = watcher.watches() if watcher is not None else None
        if watches is None:
            self._short_scans = self._surplus = 0
            return None
        # Ignored folders are watched as well: they may hide that others are not.
        is_short = watches < self._lookout.folders or is_limit_reached(self.root.path)
        self._short_scans = self._short_scans + 1 if is_short else 0
        self._surplus = watches - self._lookout.folders
        # The least of all scans: while folders are made, the first one may find too many.
        surplus = max(0, self._surplus)
        self._usual_surplus = surplus if is_first else min(surplus, self._usual_surplus)
        return watches

    def _rescan_seconds(self, watches: int | None) -> float:
        """Return how long until the next rescan: soon, where some folder has no events."""
        polled = min(self.root.rescan_seconds, max(MIN_POLL_SECONDS, POLL_FACTOR * self._scan_seconds))
        if self._report.mode == "poll":
            return polled
        if not self._short_scans:
            self._is_renewed = False
            return self.root.rescan_seconds
        if self._short_scans == 1:
            return min(self.root.rescan_seconds, MIN_POLL_SECONDS)  # a folder that was made just now?
        if not self._is_limit_said and not self._should_renew():
            self._is_limit_said = True
            log.warning(
                "%s: not all folders can be watched (%d, of %d and those that are ignored); all are looked "
                "through every %.0f s instead. Raise fs.inotify.max_user_watches (docs/operations.md)",
                self.root.path,
                watches or 0,
                self._lookout.folders,
                polled,
            )
        return polled

    def _should_renew(self) -> bool:
        """Whether to watch anew.

        Watchdog follows a link to a folder only at its start, and never lets go of a folder that was
        moved out of the root.
        """
        left_behind = self._surplus - 2 * self._usual_surplus
        is_linked = self.root.follow_symlinks and self._short_scans >= 2
        return left_behind > MAX_LEFT_BEHIND or (is_linked and not self._is_renewed)

    def _watch(self) -> Watcher | None:
        """Return a started watcher; None where the root is polled."""
        unseen = mounts.without_events(self.root.path)
        watcher = None
        if self.root.mode == "events" or (self.root.mode == "auto" and unseen is None):
            watcher = Watcher(
                self.root.path,
                follow_symlinks=self.root.follow_symlinks,
                on_path=self._hints.add,
                on_overflow=self._hints.lose,
            )
            try:
                watcher.start()
            except EnrichError as error:
                log.warning("%s; it is polled instead", error)
                watcher = None
        elif unseen is not None:
            log.info("%s: polled, because it is a file system of the type %s", self.root.path, unseen)
        self._report = replace(self._report, mode="poll" if watcher is None else "events")
        return watcher

    def _count(self, **counts: int) -> None:
        added = {name: getattr(self._report, name) + count for name, count in counts.items()}
        self._report = replace(self._report, **added)

    def _say(self, **facts: object) -> None:
        """Write down how the root is: what changed at once, what only counts a little later."""
        now = time.monotonic()
        before, self._report = self._told, replace(self._report, **facts)  # type: ignore[arg-type]  # its own fields
        uncounted = replace(self._report, events_seen=0, events_lost=0, rescued=0)
        is_counting = uncounted != self._report
        if uncounted == before and now - self._told_at < (COUNT_SECONDS if is_counting else REPORT_SECONDS):
            return
        if uncounted.state != before.state or uncounted.reason != before.reason:
            where = f"offline: it {uncounted.reason}; nothing below it is marked as missing"
            log.warning("%s is %s", self.root.path, where if uncounted.state == "offline" else "online again")
        self._tell(self._report)
        self._report = self._told = uncounted
        self._told_at = now
