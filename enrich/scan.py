"""Looking through a folder tree and finding what the catalog does not know yet.

Folders are compared one by one with the catalog's rows of the same folder, so a scan holds no
list of all paths. Nothing is read but names and stats.
"""

from __future__ import annotations

import fnmatch
import logging
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from enrich.catalog.clean import escape_path, unescape_path
from enrich.catalog.files import Known, fingerprint

__all__ = ["Candidate", "Catalogued", "Changes", "Rules", "Scan", "is_regular"]

log = logging.getLogger(__name__)

#: Folders compared with one query.
FOLDERS_A_QUERY = 64

#: Names that programs give to files only while they write or remove them; each then comes, or came,
#: under its own name. Sources: rsync(1), --temp-dir; the programs' own documentation.
_TEMPORARY = (
    r"\..+\.[^.]+\.[A-Za-z0-9]{6}$",  # rsync: .name.jpg.Xy12Zz
    r".*\.(crdownload|filepart|partial|download|opdownload|!ut|aria2)$",
    r"\.syncthing\..*\.tmp$|~syncthing~.*\.tmp$",
    r"\.goutputstream-\w+$",
    r"\.(nfs[0-9a-f]{8,}|fuse_hidden[0-9a-f]+|smbdelete\w+)$",  # removed, and still open somewhere
    r"\._",  # what macOS puts beside each file on foreign file systems
)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A path that intake should look at; ``trouble`` where it cannot even be looked at.

    ``stat`` is of what a symbolic link leads to if ``is_followed``, else of the link.
    """

    root: Path
    path: Path
    stat: os.stat_result | None
    trouble: str | None = None
    is_followed: bool = False


@dataclass(slots=True)
class Changes:
    """What a scan found in some folders."""

    candidates: list[Candidate] = field(default_factory=list)
    missing_ids: list[int] = field(default_factory=list)
    unchanged: int = 0


@dataclass(slots=True)
class _Look:
    """A folder's files: each entry with its stat, or why it has none; and the sum of fingerprints."""

    folder: str
    found: list[tuple[os.DirEntry[str], os.stat_result | OSError]] = field(default_factory=list)
    total: int = 0
    has_trouble: bool = False


class Catalogued(Protocol):
    """What a scan compares with."""

    def sums(self, folders: Sequence[str]) -> Mapping[str, tuple[int, int]]:
        """Return how many files each escaped folder holds, and the sum of their fingerprints."""
        ...

    def known(self, folders: Sequence[str]) -> Mapping[str, Mapping[str, Known]]:
        """Return the files of some escaped folders, by folder and by escaped path."""
        ...


class Rules:
    """Which names a scan leaves alone, and whether it follows links.

    Parameters
    ----------
    ignore : sequence of str
        Shell patterns of names of files and folders, besides the names of files that are not finished.
    follow_symlinks : bool
        Enter linked folders and take linked files.
    own : str
        The catalog's own file; neither it nor what stands beside it under a longer name is looked at.
    """

    def __init__(self, ignore: Sequence[str] = (), *, follow_symlinks: bool = False, own: str = "") -> None:
        self.follow_symlinks = follow_symlinks
        self._own_folder, _, self._own_name = own.rpartition("/")
        self._patterns = [*_TEMPORARY, *(fnmatch.translate(pattern) for pattern in ignore)]
        self._ignored = re.compile("|".join(self._patterns)).match

    def leaves_alone(self, root: Path, path: Path) -> bool:
        """Whether a scan of ``root`` would not come to ``path``, because of its name or a folder's."""
        folder = str(root)
        for name in path.relative_to(root).parts:
            if self.of_folder(folder)(name):
                return True
            folder = f"{folder.rstrip('/')}/{name}"
        return False

    def of_folder(self, folder: str) -> Callable[[str], object]:
        """Return what says, of a name in ``folder``, whether it is left alone."""
        if self._own_name and folder == self._own_folder:
            return re.compile("|".join([*self._patterns, re.escape(self._own_name)])).match
        return self._ignored


class Scan:
    """One pass over a folder tree.

    Parameters
    ----------
    root : Path
        Where the files found are said to belong.
    tops : sequence of Path
        The folders to look through, ``root`` or below it; none below another.
    rules : Rules
        What to leave alone.
    catalogued : Catalogued
        What the catalog knows.
    """

    def __init__(
        self,
        root: Path,
        tops: Sequence[Path],
        rules: Rules,
        catalogued: Catalogued,
    ) -> None:
        self._root = root
        self._tops = tops
        self._rules = rules
        self._catalogued = catalogued
        #: The escaped folders that were looked through.
        self.visited: set[str] = set()
        #: How many files were seen, catalogued or not.
        self.files = 0
        #: Folders that could not be read; what is catalogued below them is not missing.
        self.unreadable: list[Path] = []
        #: The rows of folders that could not be read before; whether they can, the whole walk tells.
        self._closed_before: list[Known] = []

    def changes(self) -> Iterator[Changes]:
        """Yield what is new, changed or missing, some folders at a time."""
        looks: list[_Look] = []
        for look in self._walk():
            looks.append(look)
            if len(looks) == FOLDERS_A_QUERY:
                yield self._compare(looks)
                looks = []
        if looks:
            yield self._compare(looks)
        if not self.unreadable and not self._closed_before:
            return
        closed = {escape_path(folder) for folder in self.unreadable}
        trouble = "the folder cannot be read; check its permissions"
        yield Changes(
            [Candidate(self._root, folder, None, trouble) for folder in self.unreadable],
            [row.id for row in self._closed_before if row.path not in closed],
        )

    def _walk(self) -> Iterator[_Look]:
        waiting = [str(top) for top in self._tops]
        entered: set[tuple[int, int]] = set()
        while waiting:
            folder = waiting.pop()
            try:
                if self._rules.follow_symlinks:
                    status = os.stat(folder)
                    if (status.st_dev, status.st_ino) in entered:
                        continue  # a link back up, or a second way to the same folder
                    entered.add((status.st_dev, status.st_ino))
                with os.scandir(folder) as entries:
                    look = self._look(folder, entries, waiting)
            except FileNotFoundError:
                continue  # removed meanwhile
            except OSError as error:
                log.warning("%s cannot be read: %s", folder, error.strerror)
                self.unreadable.append(Path(folder))
                continue
            yield look

    def _look(self, folder: str, entries: Iterable[os.DirEntry[str]], waiting: list[str]) -> _Look:
        """Look at a folder's files; put the folders in it on ``waiting``.

        This loop meets every file at every scan, so it calls little.
        """
        follow = self._rules.follow_symlinks
        leaves_alone = self._rules.of_folder(folder)
        look = _Look(escape_path(folder))
        found = look.found
        total = 0
        for entry in entries:
            name = entry.name
            if leaves_alone(name):
                continue
            try:
                if entry.is_dir(follow_symlinks=follow):
                    waiting.append(entry.path)
                    continue
                status = entry.stat(follow_symlinks=follow)
            except FileNotFoundError:
                try:
                    status = os.lstat(entry.path)  # a link that leads nowhere
                except OSError:
                    continue  # removed meanwhile; its row, if any, is missing
            except OSError as error:  # a link in a circle
                found.append((entry, error))
                look.has_trouble = True
                continue
            found.append((entry, status))
            total += fingerprint(name, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        look.total = total
        self.files += len(found)
        return look

    def _compare(self, looks: list[_Look]) -> Changes:
        """Compare folders by the sums of their files' fingerprints, and only those that differ by row."""
        changes = Changes()
        names = [look.folder for look in looks]
        self.visited.update(names)
        sums = self._catalogued.sums(names)
        differing = []
        for look in looks:
            if sums.get(look.folder, (0, 0)) == (len(look.found), look.total) and not look.has_trouble:
                changes.unchanged += len(look.found)
            else:
                differing.append(look)
        known_by_folder = self._catalogued.known([look.folder for look in differing]) if differing else {}
        for look in differing:
            self._compare_folder(look, known_by_folder.get(look.folder, {}), changes)
        return changes

    def _compare_folder(self, look: _Look, known: Mapping[str, Known], changes: Changes) -> None:
        prefix = look.folder.rstrip("/") + "/"
        gone = dict(known)
        for entry, status in look.found:
            row = gone.pop(prefix + escape_path(entry.name), None)
            path = Path(entry.path)
            if isinstance(status, OSError):
                trouble = status.strerror or str(status)
                changes.candidates.append(Candidate(self._root, path, None, trouble))
            elif row is not None and row.is_unchanged(status):
                changes.unchanged += 1
            else:
                changes.candidates.append(
                    Candidate(self._root, path, status, is_followed=self._rules.follow_symlinks)
                )
        for row in gone.values():
            if row.state == "failed" and os.path.isdir(unescape_path(row.path)):
                self._closed_before.append(row)
            elif row.state != "missing":
                changes.missing_ids.append(row.id)


def is_regular(status: os.stat_result) -> bool:
    """Whether a stat is of a plain file."""
    return stat.S_ISREG(status.st_mode)
