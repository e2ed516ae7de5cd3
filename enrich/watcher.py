"""Live events of a root: hints of what may have changed, and a word when some were lost.

The only home of watchdog. Nothing here is trusted: an event may come early, late or never, and
whoever takes the hints looks at the files themselves.
"""

from __future__ import annotations

import errno
import logging
import os
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

from watchdog.events import (
    EVENT_TYPE_DELETED,
    EVENT_TYPE_MOVED,
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver

from enrich.errors import FileUnreadable

__all__ = ["Watcher", "is_limit_reached"]

#: Without a filter watchdog hears of every opened file, and its own walk over a large tree fills the
#: kernel's queue, which makes it walk again.
_EVENTS: list[type[FileSystemEvent]] = [
    FileCreatedEvent,
    FileClosedEvent,
    FileMovedEvent,
    FileDeletedEvent,
    DirCreatedEvent,
    DirMovedEvent,
    DirDeletedEvent,
]

#: An overflow has no event; this logger tells of it.
_OVERFLOW_LOGGER = logging.getLogger("watchdog.observers.inotify_c")

# What watchdog has to say besides is said by us, or by nobody.
logging.getLogger("watchdog").addHandler(logging.NullHandler())

#: One watcher starts at a time: it is told from the others by the descriptor that appeared.
_starting = threading.Lock()


class Watcher:
    """Watches a folder and everything below it.

    Parameters
    ----------
    root : Path
        The folder.
    follow_symlinks : bool
        Watch linked folders too.
    on_path : callable
        Called with a path that appeared, was closed, moved or removed, whether it is a folder, and
        whether it went away.
    on_overflow : callable
        Called when events were lost: anything may have changed.
    """

    def __init__(
        self,
        root: Path,
        *,
        follow_symlinks: bool,
        on_path: Callable[[str, bool, bool], None],
        on_overflow: Callable[[], None],
    ) -> None:
        self._root = root
        self._follow_symlinks = follow_symlinks
        # A link is not watched itself: what it leads to is, under the name that its owner knows.
        self._real = os.path.realpath(root)
        self._handler = _Handler(on_path, self._real, str(root))
        self._overflow = _Overflow(on_overflow)
        self._observer: BaseObserver | None = None
        self._descriptor: int | None = None

    @property
    def is_alive(self) -> bool:
        """Whether events still come: a removed or unmounted root ends them."""
        observer = self._observer
        return (
            observer is not None
            and observer.is_alive()
            and all(emitter.is_alive() for emitter in observer.emitters)
        )

    def start(self) -> None:
        """Start to watch; the watches are in place when this returns.

        Raises
        ------
        FileUnreadable
            The system refuses: no right, or no watch or instance left. Not retryable.
        """
        # Of each folder that was made a moment ago watchdog warns that it watches it already, with
        # all it knows of the tree: a megabyte a warning, and Python keeps each of them.
        warnings.filterwarnings("ignore", message="Callback with id", category=RuntimeWarning)
        _OVERFLOW_LOGGER.addHandler(self._overflow)
        with _starting:
            before = set(_descriptors())
            try:
                self._observer = Observer()
                self._observer.start()
                self._observer.schedule(
                    self._handler,
                    self._real,
                    recursive=True,
                    event_filter=_EVENTS,
                    follow_symlink=self._follow_symlinks,
                )
            except OSError as error:
                self.stop()
                raise FileUnreadable(f"{self._root} cannot be watched: {error.strerror}") from error
            self._descriptor = next(iter(set(_descriptors()) - before), None)

    def stop(self) -> None:
        """Stop; no callback comes afterwards."""
        _OVERFLOW_LOGGER.removeHandler(self._overflow)
        if self._observer is not None:
            self._observer.stop()
            if self._observer.ident is not None:
                self._observer.join()

    def watches(self) -> int | None:
        """Return how many folders are really watched; None where that cannot be known.

        Beyond the system's limit watchdog leaves folders unwatched and says nothing.
        """
        try:
            # proc(5): one line per watch of an inotify descriptor.
            with open(f"/proc/self/fdinfo/{self._descriptor}", encoding="ascii") as lines:
                return sum(line.startswith("inotify ") for line in lines)
        except OSError:
            return None


def is_limit_reached(folder: Path) -> bool:
    """Whether the system refuses to watch one folder more."""
    observer = None
    with _starting:
        try:
            observer = Observer()
            observer.start()
            observer.schedule(FileSystemEventHandler(), str(folder), event_filter=_EVENTS)
        except OSError as error:
            return error.errno == errno.ENOSPC
        finally:
            if observer is not None and observer.ident is not None:
                observer.stop()
                observer.join()
    return False


class _Handler(FileSystemEventHandler):
    """Hands over paths, quickly: what waits in watchdog's queue has no bound."""

    def __init__(self, on_path: Callable[[str, bool, bool], None], real: str, known: str) -> None:
        self._on_path = on_path
        self._real = real
        self._known = known

    def on_any_event(self, event: FileSystemEvent) -> None:
        has_left = event.event_type in (EVENT_TYPE_DELETED, EVENT_TYPE_MOVED)
        for path, is_gone in ((event.src_path, has_left), (event.dest_path, False)):
            if path:
                name = os.fsdecode(path).removeprefix(self._real)
                self._on_path(self._known + name, event.is_directory, is_gone)


class _Overflow(logging.Handler):
    def __init__(self, on_overflow: Callable[[], None]) -> None:
        super().__init__(logging.WARNING)
        self._on_overflow = on_overflow

    def emit(self, record: logging.LogRecord) -> None:
        if "overflow" in record.getMessage():
            self._on_overflow()


def _descriptors() -> Iterator[int]:
    """Yield this process's inotify descriptors."""
    try:
        numbers = os.listdir("/proc/self/fd")
    except OSError:
        return
    for number in numbers:
        try:
            if "inotify" in os.readlink(f"/proc/self/fd/{number}"):
                yield int(number)
        except OSError:
            continue
