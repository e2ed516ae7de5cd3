"""One pass over a root, or a part of it: what is to be looked at, and what is no longer there.

A root that went away as a whole took nothing with it: then nothing is marked as missing.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from enrich.catalog import files, roots
from enrich.catalog.clean import escape_path, unescape_path
from enrich.catalog.engine import translated
from enrich.errors import CatalogBusy
from enrich.presence import absence, device_of, identity_of
from enrich.scan import Candidate, Rules, Scan

if TYPE_CHECKING:
    import sqlalchemy as sa

    from enrich.settings import Root

__all__ = ["Catalogued", "Sweep"]

T = TypeVar("T")

#: Folders asked about with one query.
FOLDERS_A_QUERY = 64
#: How long to wait before a catalog that did not answer is asked again.
PATIENCE_SECONDS = 1.0
#: Catalogued files that are looked for on a device that is new.
EXAMPLES = 16


class Catalogued:
    """What a scan compares with, from the database.

    Parameters
    ----------
    engine : sqlalchemy.Engine
        Reads what the catalog knows.
    stop : threading.Event or None
        With it, a catalog that does not answer is waited for until the event is set.
    """

    def __init__(self, engine: sa.Engine, stop: threading.Event | None = None) -> None:
        self._engine = engine
        self._stop = stop
        self._devices: dict[Path, int | None] = {}

    def sums(self, folders: Sequence[str]) -> dict[str, tuple[int, int]]:
        return self._read(lambda connection: files.sums(connection, folders))

    def known(self, folders: Sequence[str]) -> dict[str, dict[str, files.Known]]:
        return self._read(lambda connection: files.known(connection, folders))

    def known_at(self, paths: Sequence[Path]) -> dict[Path, files.Known]:
        return self._read(lambda connection: files.known_at(connection, paths))

    def folders_below(self, folder: Path) -> set[str]:
        return self._read(lambda connection: files.folders_below(connection, folder))

    def below(self, folders: Sequence[str]) -> Iterator[list[int]]:
        """Yield the ids of the files in some escaped folders that are not missing, some folders at a time."""
        for start in range(0, len(folders), FOLDERS_A_QUERY):
            rows = self.known(folders[start : start + FOLDERS_A_QUERY])
            yield [row.id for known in rows.values() for row in known.values() if row.state != "missing"]

    def absence(self, root: Path) -> str | None:
        """Return why a root, or a folder of it, seems to have gone away as a whole; None if it is there."""
        if root not in self._devices:
            self._devices[root] = self._read(lambda connection: roots.last_device(connection, root))
        now = device_of(root)  # before the look: what is found there then is what was there now
        found = absence(
            root,
            was_filled=lambda: self._was_filled(root),
            device=self._devices[root],
            examples=lambda: self._read(lambda connection: files.examples(connection, root, EXAMPLES)),
        )
        if found is None and now is not None:
            self._devices[root] = now
        return found

    def _was_filled(self, root: Path) -> bool:
        # The quick question first: a root may be away for days, and is asked for every few seconds.
        is_root = self._read(lambda connection: files.holds_any(connection, root))
        return is_root or bool(self.folders_below(root))

    def device(self, root: Path) -> int | None:
        """Return the device that a root was on when it was last found to be there."""
        return self._devices.get(root)

    def _read(self, function: Callable[[sa.Connection], T]) -> T:
        while True:
            try:
                with translated(), self._engine.connect() as connection:
                    return function(connection)
            except CatalogBusy:
                if self._stop is None or self._stop.wait(PATIENCE_SECONDS):
                    raise


class Sweep:
    """One pass.

    Parameters
    ----------
    root : Root
        The rules, and where the files found are said to belong.
    tops : sequence of Path
        The folders to look through; none below another.
    rules : Rules
        What to leave alone.
    catalogued : Catalogued
        What the catalog knows.
    miss : callable
        Marks the files of some ids as missing and returns how many were not before.
    guard : Path
        The folder without which nothing is missing: the root, or the part of it that was asked for.
    finds_gone : bool
        Notice catalogued folders below ``tops`` that are gone, too.
    stop : threading.Event or None
        Ends the pass; nothing more is then marked.
    """

    def __init__(
        self,
        root: Root,
        tops: Sequence[Path],
        rules: Rules,
        catalogued: Catalogued,
        miss: Callable[[list[int]], int],
        *,
        guard: Path,
        finds_gone: bool,
        stop: threading.Event | None = None,
    ) -> None:
        self._scan = Scan(root.path, tops, rules, catalogued)
        self._tops = tops
        self._catalogued = catalogued
        self._miss = miss
        self._guard = guard
        self._finds_gone = finds_gone
        self._stop = stop
        self._identity = identity_of(guard)
        #: Why the root seems to have gone away, if it does.
        self.absence: str | None = None
        self.unchanged = 0
        self.missing = 0

    @property
    def folders(self) -> int:
        """How many folders were looked through."""
        return len(self._scan.visited)

    def candidates(self) -> Iterator[Candidate]:
        """Look through the folders; yield what is new or changed, and mark what is missing."""
        before: set[str] = set()
        if self._finds_gone:
            before.update(*(self._catalogued.folders_below(top) for top in self._tops))
        self.absence = self._catalogued.absence(self._guard)
        is_whole = self._guard in self._tops
        held: list[int] = []
        for changes in self._scan.changes() if self.absence is None else ():
            self.unchanged += changes.unchanged
            held += changes.missing_ids
            if not is_whole or self._scan.files:
                self._mark(held)
                held = []
            for candidate in changes.candidates:
                if self._is_over():
                    return
                yield candidate
        if self._is_over():
            return
        if is_whole and before and not self._scan.files and not self._scan.unreadable:
            self.absence = "holds no file any more, and did"
            return
        self._mark(held)
        for ids in self._catalogued.below(self._gone(before)):
            self._mark(ids)

    def _is_over(self) -> bool:
        return self.absence is not None or (self._stop is not None and self._stop.is_set())

    def _gone(self, before: set[str]) -> list[str]:
        """Return the catalogued folders that are gone: not those that cannot be read, or came meanwhile."""
        unread = tuple(escape_path(folder).rstrip("/") + "/" for folder in self._scan.unreadable)
        return [
            folder
            for folder in sorted(before - self._scan.visited)
            if not (folder + "/").startswith(unread or "\0") and not os.path.lexists(unescape_path(folder))
        ]

    def _mark(self, ids: list[int]) -> None:
        """Mark files as missing, unless the root itself is: it may have gone in the middle of the pass."""
        if not ids or self._is_over():
            return
        self.absence = self._catalogued.absence(self._guard)
        if self.absence is None and identity_of(self._guard) != self._identity:
            self.absence = "was replaced while it was looked through"
        if self.absence is None:
            self.missing += self._miss(ids)
