"""Whether a root is there.

A share that goes offline leaves nothing, an empty mount point, or the folder of another device
underneath. None of these says that its files were deleted.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Sequence
from pathlib import Path

__all__ = ["absence", "device_of", "identity_of", "status_of"]

#: What a file system says that does not answer for now.
_SILENT = {
    errno.EIO,
    errno.ENODEV,
    errno.ENOTCONN,
    errno.ENXIO,
    errno.ESHUTDOWN,
    errno.ESTALE,
    errno.ETIMEDOUT,
    errno.EHOSTDOWN,
    errno.EHOSTUNREACH,
}


def absence(
    root: Path,
    *,
    was_filled: Callable[[], bool],
    device: int | None = None,
    examples: Callable[[], Sequence[Path]] = list,
) -> str | None:
    """Return why a root seems to have gone away as a whole; None if it is there.

    Parameters
    ----------
    root : Path
        The folder.
    was_filled : callable
        Whether files below it are catalogued and not missing; asked only of an empty root.
    device : int or None
        The device it was on before.
    examples : callable
        Some of its catalogued files; asked for only if the device is another one now. If one of
        them is there, the root was moved and not lost.
    """
    try:
        now = os.stat(root).st_dev
        with os.scandir(root) as entries:
            is_empty = next(entries, None) is None
    except (FileNotFoundError, NotADirectoryError):
        return "is not there"
    except OSError as error:
        # Whatever else it is, the scan says what is wrong with it.
        return f"does not answer ({os.strerror(error.errno)})" if error.errno in _SILENT else None
    if is_empty:
        return "is empty, and was not" if was_filled() else None
    if device is not None and device != now:
        known = examples()
        if known and not any(os.path.lexists(path) for path in known):
            return "is on another device than before, and holds none of its files"
    return None


def device_of(root: Path) -> int | None:
    """Return the number of the device a root is on; None if it is not there."""
    try:
        return os.stat(root).st_dev
    except OSError:
        return None


def identity_of(path: Path) -> tuple[int, int] | None:
    """Return what tells a folder from another one at the same path; None if it is not there."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def status_of(path: Path, *, follow_symlinks: bool) -> os.stat_result | None:
    """Return a path's stat as a scan sees it; None where nothing is there.

    Raises
    ------
    OSError
        It cannot be looked at, which does not say that it is gone.
    """
    try:
        status = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    if follow_symlinks:
        with contextlib.suppress(OSError):  # a link that leads nowhere stays the link it is
            status = os.stat(path)
    return status
