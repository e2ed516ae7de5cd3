"""What has become of files that were gone, or other ones, when they were to be decoded."""

from __future__ import annotations

import logging
import os
import queue
from collections.abc import Callable
from pathlib import Path

from enrich.catalog.clean import unescape_path
from enrich.scan import Candidate
from enrich.sweep import Catalogued

__all__ = ["Doubts"]

log = logging.getLogger(__name__)


class Doubts:
    """Collects doubted files, from any thread, and looks at them.

    Parameters
    ----------
    catalogued : Catalogued
        What the catalog knows.
    """

    def __init__(self, catalogued: Catalogued) -> None:
        self._catalogued = catalogued
        self._paths: queue.SimpleQueue[Path] = queue.SimpleQueue()

    @property
    def is_empty(self) -> bool:
        return self._paths.empty()

    def add(self, path: Path) -> None:
        """Doubt a file."""
        self._paths.put(path)

    def look(
        self,
        offer: Callable[[Candidate], object],
        miss: Callable[[list[int]], object],
        wait_seconds: float = 0.0,
    ) -> None:
        """Look at the doubted files, the first of which is waited for.

        Parameters
        ----------
        offer : callable
            Takes a candidate that is to be read again; whether it is a link was not looked at.
        miss : callable
            Marks files of some ids as missing.
        wait_seconds : float
            How long to wait.
        """
        try:
            path = self._paths.get(timeout=wait_seconds) if wait_seconds else self._paths.get_nowait()
            while True:
                self._look_at(path, offer, miss)
                path = self._paths.get_nowait()
        except queue.Empty:
            return

    def _look_at(
        self, path: Path, offer: Callable[[Candidate], object], miss: Callable[[list[int]], object]
    ) -> None:
        row = self._catalogued.known_at([path]).get(path)
        if row is None or row.state == "missing":
            return
        root = unescape_path(row.root)
        try:
            status = os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            if self._catalogued.absence(root) is None:
                miss([row.id])
        except OSError as error:
            log.info("%s cannot be looked at: %s", path, error)
        else:
            offer(Candidate(root, path, status))
