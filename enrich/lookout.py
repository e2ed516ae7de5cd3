"""Finds what changed in a root that is there: by scans, and by what events named."""

from __future__ import annotations

import os
import stat
import threading
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from enrich.hints import Departures, News
from enrich.presence import status_of
from enrich.scan import Candidate, Rules
from enrich.sweep import Catalogued, Sweep

if TYPE_CHECKING:
    from enrich.settings import Root

__all__ = ["Lookout"]

#: More folders that went away are not looked up one by one: each costs a look at the whole catalog.
MAX_GONE_FOLDERS = 32
#: Paths compared with one query.
PATHS_A_QUERY = 500


class Lookout:
    """Looks at one root.

    Parameters
    ----------
    root : Root
        The root and its rules.
    own : str
        The catalog's own file, which is left alone.
    catalogued : Catalogued
        What the catalog knows.
    offer : callable
        Takes a candidate and says whether it was unknown so far; False once all is to end.
    miss : callable
        Marks files of some ids as missing and returns how many were not before.
    stop : threading.Event or None
        Ends whatever it is at.
    """

    def __init__(
        self,
        root: Root,
        *,
        own: str,
        catalogued: Catalogued,
        offer: Callable[[Candidate], bool],
        miss: Callable[[list[int]], int],
        stop: threading.Event | None = None,
    ) -> None:
        self._root = root
        self._rules = Rules(root.ignore, follow_symlinks=root.follow_symlinks, own=own)
        self._catalogued = catalogued
        self._offer = offer
        self._miss = miss
        self._stop = stop
        self._departures = Departures()
        #: Folders of the last scan, and how many candidates it found that nobody knew of.
        self.folders = 0
        self.found = 0

    @property
    def due_at(self) -> float:
        """When ``miss_gone`` has something to do, in seconds of the monotonic clock."""
        return self._departures.due_at

    def absence(self) -> str | None:
        """Return why the root seems to have gone away; None if it is there."""
        return self._catalogued.absence(self._root.path)

    @property
    def device(self) -> int | None:
        """The device the root was on when it was last found to be there."""
        return self._catalogued.device(self._root.path)

    def scan(self) -> str | None:
        """Look through all of the root; return why it seems to have gone away, if it does."""
        sweep = self._sweep([self._root.path], finds_gone=True)
        self.found = sum(self._offer(candidate) for candidate in sweep.candidates())
        if sweep.absence is None:
            self.folders = sweep.folders
        return sweep.absence

    def take(self, news: News) -> None:
        """Look at what events named: files are offered, folders looked through."""
        there: dict[Path, os.stat_result] = {}
        folders: list[Path] = []
        now = time.monotonic()
        for name, is_folder in news.paths.items():
            path = Path(name)
            if path == self._root.path or self._rules.leaves_alone(self._root.path, path):
                continue
            try:
                status = self._status(path)
            except OSError:
                continue  # it cannot be looked at for now: a rescan tells
            if status is None:
                self._departures.add(name, is_folder, now)
            elif stat.S_ISDIR(status.st_mode):
                folders.append(path)
            else:
                there[path] = status
        self._offer_changed(there)
        self._look_through(folders, news.left)

    def _look_through(self, folders: Sequence[Path], left: Collection[str]) -> None:
        """Look through folders; those that went away and are there again may have lost some below."""
        top = _topmost(folders)
        replaced = [folder for folder in top if str(folder) in left][:MAX_GONE_FOLDERS]
        for tops, finds_gone in ((replaced, True), ([one for one in top if one not in replaced], False)):
            if tops:
                for candidate in self._sweep(tops, finds_gone=finds_gone).candidates():
                    self._offer(candidate)

    def _sweep(self, tops: Sequence[Path], *, finds_gone: bool) -> Sweep:
        return Sweep(
            self._root,
            tops,
            self._rules,
            self._catalogued,
            self._miss,
            guard=self._root.path,
            finds_gone=finds_gone,
            stop=self._stop,
        )

    def miss_gone(self) -> bool:
        """Mark as missing what went away and stayed away; return False if only a scan can tell what did."""
        gone = self._departures.take(time.monotonic())
        files = [Path(name) for name, is_folder in gone.items() if not is_folder]
        folders = _topmost([Path(name) for name, is_folder in gone.items() if is_folder])
        if len(folders) > MAX_GONE_FOLDERS:
            return False
        ids: list[int] = []
        for start in range(0, len(files), PATHS_A_QUERY):
            some = [path for path in files[start : start + PATHS_A_QUERY] if self._is_gone(path)]
            ids += [row.id for row in self._catalogued.known_at(some).values() if row.state != "missing"]
        for folder in folders:
            if self._is_gone(folder):
                below = sorted(self._catalogued.folders_below(folder))
                ids += [id_ for some in self._catalogued.below(below) for id_ in some]
        if ids and self.absence() is None:
            self._miss(ids)
        return True

    def _status(self, path: Path) -> os.stat_result | None:
        return status_of(path, follow_symlinks=self._root.follow_symlinks)

    def _is_gone(self, path: Path) -> bool:
        try:
            return self._status(path) is None
        except OSError:
            return False

    def _offer_changed(self, there: dict[Path, os.stat_result]) -> None:
        """Offer files that are not as catalogued."""
        paths = list(there)
        for start in range(0, len(paths), PATHS_A_QUERY):
            some = paths[start : start + PATHS_A_QUERY]
            known = self._catalogued.known_at(some)
            for path in some:
                row, status = known.get(path), there[path]
                if row is None or not row.is_unchanged(status):
                    follow = self._root.follow_symlinks
                    self._offer(Candidate(self._root.path, path, status, is_followed=follow))


def _topmost(folders: Sequence[Path]) -> list[Path]:
    """Return the folders that lie in none of the others."""
    top: list[Path] = []
    for folder in sorted(folders):  # by their parts: what lies in a folder comes right after it
        if not top or not folder.is_relative_to(top[-1]):
            top.append(folder)
    return top
