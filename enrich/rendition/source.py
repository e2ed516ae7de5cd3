"""One regular file, opened once and read safely.

Nothing here maps files into memory: a mapped file that is cut short by its writer kills the process
with SIGBUS, a read of it merely returns fewer bytes.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from enrich.errors import FileError, FileUnreadable, FileVanished, NotRegularFile
from enrich.rendition.formats import HEAD_BYTES

__all__ = ["Source", "open_source", "os_error"]

# Files up to this size are read whole, once; larger ones are streamed. Eight readers at once
# then hold a quarter of a gigabyte at worst, and nearly all pictures take the short way.
_WHOLE_BYTES = 32 * 1024 * 1024
# The first read: one call is enough for most pictures of the web, and no loss for a film.
_FIRST_BYTES = max(HEAD_BYTES, 256 * 1024)
_CHUNK_BYTES = 1024 * 1024

_GONE = {errno.ENOENT, errno.ENOTDIR, errno.ESTALE}
# What may go better in a while: a share or a machine out of breath.
_PASSING = {
    errno.EAGAIN,
    errno.EBUSY,
    errno.ECONNABORTED,
    errno.ECONNRESET,
    errno.EHOSTDOWN,
    errno.EHOSTUNREACH,
    errno.EINTR,
    errno.EIO,
    errno.EMFILE,
    errno.ENETDOWN,
    errno.ENETUNREACH,
    errno.ENFILE,
    errno.ENOLCK,
    errno.ENOMEM,
    errno.ENOTCONN,
    errno.ETIMEDOUT,
}
_KINDS = (
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a character device"),
    (stat.S_ISBLK, "a block device"),
    (stat.S_ISDIR, "a folder"),
)


class Source:
    """An open regular file with its identity as of opening.

    Parameters
    ----------
    path : Path
        Where it was opened; for messages and for openers only.
    descriptor : int
        The open file; `open_source` closes it.
    status : os.stat_result
        Its fstat right after opening.
    """

    def __init__(self, path: Path, descriptor: int, status: os.stat_result) -> None:
        self.path = path
        self._descriptor = descriptor
        self._opened = status
        # Kept by hand: before Python 3.12 functools.cached_property lets one thread at a time read, of all
        # sources together.
        self._head: bytes | None = None
        self._content: bytes | None = None

    @property
    def size_bytes(self) -> int:
        return self._opened.st_size

    @property
    def status(self) -> os.stat_result:
        return self._opened

    @property
    def head(self) -> bytes:
        """The first bytes, as many as `sniff` wants and often all."""
        if self._head is None:
            self._head = self._pread(_FIRST_BYTES, 0)
        return self._head

    @property
    def _whole(self) -> bytes | None:
        """The whole content of a small file, else None."""
        if self._content is None and self.size_bytes <= _WHOLE_BYTES:
            self._content = self._read_whole()
        return self._content

    def _read_whole(self) -> bytes:
        content = self.head
        if self.size_bytes > _FIRST_BYTES:
            content = self._pread(self.size_bytes, 0)
        if len(content) < self.size_bytes:
            raise FileVanished("the file was cut short while it was read")
        return content

    def read_at(self, offset: int, size: int) -> bytes:
        """Return up to ``size`` bytes from ``offset``; fewer only at the end of the file."""
        if self._whole is not None:
            return self._whole[offset : offset + size]
        parts = []
        while size > 0 and (part := self._pread(size, offset)):
            parts.append(part)
            offset += len(part)
            size -= len(part)
        return b"".join(parts)

    def feed(self, update: Callable[[bytes | memoryview], None], start: int, stop: int) -> None:
        """Call ``update`` with the bytes from ``start`` to ``stop``, in order, in one or several pieces."""
        if self._whole is not None:
            update(memoryview(self._whole)[start:stop])
            return
        while start < stop and (chunk := self.read_at(start, min(_CHUNK_BYTES, stop - start))):
            update(chunk)
            start += len(chunk)

    def digests(self) -> tuple[str, str]:
        """Return the SHA-256 and the SHA-1 of the whole file, hexadecimal, reading it once."""
        sha256 = hashlib.sha256()
        sha1 = hashlib.sha1(usedforsecurity=False)

        def update(data: bytes | memoryview) -> None:
            sha256.update(data)
            sha1.update(data)

        self.feed(update, 0, self.size_bytes)
        return sha256.hexdigest(), sha1.hexdigest()

    def stream(self) -> IO[bytes]:
        """Return the content as a file object of its own, at its start, for a decoder to close."""
        if self._whole is not None:
            return io.BytesIO(self._whole)
        stream = os.fdopen(os.dup(self._descriptor), "rb")
        stream.seek(0)
        return stream

    def check_unchanged(self) -> None:
        """Make sure that the file is still the one that was opened.

        Raises
        ------
        FileVanished
            It was written to or removed since. Retryable.
        """
        before, after = self._opened, os.fstat(self._descriptor)
        if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            raise FileVanished("the file was changed while it was read")
        if before.st_nlink and not after.st_nlink:
            raise FileVanished("the file was removed while it was read")

    def _pread(self, size: int, offset: int) -> bytes:
        try:
            return os.pread(self._descriptor, size, offset)
        except OSError as error:
            raise os_error(error) from error


@contextlib.contextmanager
def open_source(path: Path) -> Iterator[Source]:
    """Open a regular file for reading, following symbolic links, never waiting for a pipe or device.

    Raises
    ------
    FileVanished
        There is no such file. Retryable.
    NotRegularFile
        A pipe, socket, device or folder stands there.
    FileUnreadable
        No permission, a loop of symbolic links, or an I/O error.
    """
    try:
        descriptor, status = _open(path)
    except OSError as error:
        raise os_error(error) from error
    try:
        yield Source(path, descriptor, status)
    finally:
        os.close(descriptor)


def os_error(error: OSError) -> FileError:
    """Return our error for one that the operating system gave."""
    if error.errno in _GONE:
        return FileVanished("the file is gone")
    reason = os.strerror(error.errno) if error.errno else str(error)
    if error.errno in (errno.EACCES, errno.EPERM):
        return FileUnreadable(f"the file may not be read ({reason}): give this user the right to read it")
    if error.errno == errno.ELOOP:
        return FileUnreadable("the path is a loop of symbolic links: mend the link")
    return FileUnreadable(f"reading the file failed: {reason}", retryable=error.errno in _PASSING)


def _open(path: Path) -> tuple[int, os.stat_result]:
    try:
        # Before opening: to open a pipe or a tape is already noticed at its other end.
        _require_regular(path.stat())
    except ValueError as error:
        # A NUL in the path, which no file system can hold.
        raise FileUnreadable(f"the path cannot be opened: {error}") from error
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        # And after it: the path may have been replaced in between.
        _require_regular(status)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor, status


def _require_regular(status: os.stat_result) -> None:
    if stat.S_ISREG(status.st_mode):
        return
    kind = next((name for test, name in _KINDS if test(status.st_mode)), "a special file")
    raise NotRegularFile(f"{kind} stands where a file was expected")
