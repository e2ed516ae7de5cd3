"""The mount table: which file systems tell of changes that other machines make, and which do not."""

from __future__ import annotations

import os
import re
from pathlib import Path

__all__ = ["without_events"]

TABLE = Path("/proc/self/mountinfo")

#: File systems whose content changes behind the kernel's back: other machines' writes make no event
#: here. Source: inotify(7), "Inotify reports only events that a user-space program triggers through
#: the filesystem API"; names from mount(8) and the projects' own pages.
_REMOTE = re.compile(
    r"(nfs\d?|cifs|smb\d?|smbfs|9p|afs|ncpfs|ceph|lustre|beegfs|gpfs|orangefs|glusterfs|gfs2?|ocfs2"
    r"|virtiofs|vboxsf|prl_fs|drvfs|fuse(\..+)?)$"
)
#: mountinfo writes blanks and backslashes of paths as octal numbers; proc(5).
_OCTAL = re.compile(r"\\([0-7]{3})")


def without_events(root: Path, table: str | None = None) -> str | None:
    """Return the type of a file system at or below ``root`` that others change unseen; None if there is none.

    Parameters
    ----------
    root : Path
        The folder.
    table : str or None
        The text of a mountinfo file; the process's own unless given. Where there is none (other
        systems than Linux), None is returned.
    """
    if table is None:
        try:
            table = TABLE.read_text(encoding="utf-8", errors="surrogateescape")
        except OSError:
            return None
    real = os.path.realpath(root)
    at, below = ("", ""), []
    for line in table.splitlines():
        before, _, after = line.partition(" - ")
        point = _OCTAL.sub(lambda match: chr(int(match[1], 8)), before.split()[4])
        kind = after.split()[0]
        if _holds(point, real):
            at = max(at, (point, kind), key=lambda mount: len(mount[0]))  # of equals, the later covers
            at = (point, kind) if at[0] == point else at
        elif _holds(real, point):
            below.append(kind)
    return next((kind for kind in (at[1], *below) if _REMOTE.match(kind)), None)


def _holds(folder: str, path: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")
