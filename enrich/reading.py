"""Reading one candidate: what the catalog will say of the file."""

from __future__ import annotations

import contextlib
import logging
import os
import stat
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

from enrich.catalog.files import FileRecord
from enrich.errors import FileError, FileUnreadable, FileVanished
from enrich.rendition import PictureFacts, probe
from enrich.scan import Candidate
from enrich.settle import Stamp

if TYPE_CHECKING:
    from enrich.rendition import Opener, Probe

__all__ = ["Reader", "look"]

log = logging.getLogger(__name__)

_PICTURE_FACTS = tuple(item.name for item in fields(PictureFacts))


class Reader:
    """Reads files; may be called from several threads.

    Parameters
    ----------
    max_pixels : int
        Larger pictures are refused.
    opener : Opener or None
        Plugins' decoders for formats of their own.
    """

    def __init__(self, *, max_pixels: int, opener: Opener | None = None) -> None:
        self._max_pixels = max_pixels
        self._opener = opener

    def read(self, candidate: Candidate, *, is_last_try: bool = True) -> FileRecord | Candidate | None:
        """Return the file's record; or None where it is gone; or a candidate to be read again.

        Such a candidate has ``trouble`` where reading failed for a reason that may pass, and none
        where the file changed meanwhile and must settle. A failure is recorded only of a file that
        is still as it was before.
        """
        try:
            return self._record(candidate)
        except FileVanished:
            return look(candidate) if os.path.lexists(candidate.path) else None
        except FileError as error:
            if error.retryable and not is_last_try:
                return replace(candidate, trouble=str(error))
            trouble = error
        # A bug of ours, or of a library on hostile bytes, costs this file and no other.
        except Exception as error:
            log.exception("%s could not be read", candidate.path)
            trouble = FileError(f"internal error: {error!r}")
        now = look(candidate)
        if (
            candidate.stat is not None
            and now.stat is not None
            and Stamp.of(candidate.stat) != Stamp.of(now.stat)
        ):
            return now
        log.info("%s: %s", candidate.path, trouble)
        return _unread(candidate, "failed", error_kind=trouble.kind, error=str(trouble))

    def _record(self, candidate: Candidate) -> FileRecord | Candidate:
        if candidate.trouble is not None and candidate.stat is None:
            raise FileUnreadable(candidate.trouble)
        if candidate.stat is not None and stat.S_ISLNK(candidate.stat.st_mode):
            why = "a symbolic link that leads nowhere, or follow_symlinks is off"
            return _unread(candidate, "ignored", error_kind="symlink", error=why)
        found = probe(candidate.path, max_pixels=self._max_pixels, opener=self._opener)
        record = _probed(candidate, found)
        if candidate.stat is not None and record.looks != Stamp.of(candidate.stat):
            return look(candidate)  # written to since it settled, minutes ago perhaps
        return record


def look(candidate: Candidate) -> Candidate:
    """Return the candidate as it looks now; a link that leads nowhere as the link it is."""
    status = None
    looks = (os.stat,) if candidate.is_followed else (os.lstat,)
    for stat_of in (os.lstat, *looks):
        with contextlib.suppress(OSError):
            status = stat_of(candidate.path)
    return replace(candidate, stat=status, trouble=None)


def _unread(candidate: Candidate, state: str, **facts: Any) -> FileRecord:
    """Return a record of a file that was not read."""
    status = candidate.stat or look(candidate).stat
    return FileRecord(
        candidate.root,
        candidate.path,
        status.st_size if status else 0,
        status.st_mtime_ns if status else 0,
        status.st_ctime_ns if status else 0,
        status.st_ino if status else 0,
        state,
        **facts,
    )


def _probed(candidate: Candidate, found: Probe) -> FileRecord:
    picture = None
    if found.picture is not None:
        picture = {name: getattr(found.picture, name) for name in _PICTURE_FACTS}
        picture["media_type"] = found.media_type
    return FileRecord(
        candidate.root,
        candidate.path,
        found.size_bytes,
        found.modified_ns,
        found.changed_ns,
        found.inode,
        "ignored" if picture is None else "present",
        found.media_type,
        found.sha256,
        found.sha1,
        asset=picture,
    )
