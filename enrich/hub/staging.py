"""Where models come together before they are any: a hidden folder of the store, then one rename."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from enrich.errors import ModelMissing, StoreError, UsageError
from enrich.inference.store import check_name

__all__ = ["free_bytes", "install", "remove", "size_text", "staging"]

#: No name of a model starts with a dot, so that no one takes what lies here for one.
_FOLDER = ".incoming"
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT}


@contextlib.contextmanager
def staging(models_dir: Path, name: str) -> Iterator[Path]:
    """Give a folder for the files of a model; what an earlier try left there is still in it.

    It is this process's alone until the block ends, and stays where it is if the block fails.

    Raises
    ------
    UsageError
        ``name`` is none, or another process is at it. Not retryable.
    StoreError
        The store cannot be written. Not retryable.
    """
    check_name(name)
    with _written(models_dir):
        folder = models_dir / _FOLDER / name
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(models_dir, name):
            _mend(models_dir, name)
            yield folder


def install(models_dir: Path, name: str) -> Path:
    """Make a staged folder the model of that name, in the place of the one that is there, if any.

    A process that is killed between leaves either the old model or the new one, or, for as long as two
    renames take, none; the next call of ``staging`` puts the old one back.
    """
    staged, target, old = models_dir / _FOLDER / name, models_dir / name, _old(models_dir, name)
    if os.path.lexists(target):
        _discard(old)
        target.rename(old)
    staged.rename(target)
    _discard(old)
    return target


def remove(models_dir: Path, name: str) -> Path:
    """Take a model out of the store, and what an unfinished pull of it left.

    Returns
    -------
    Path
        Where it was.

    Raises
    ------
    UsageError
        ``name`` is none, or another process is at it. Not retryable.
    ModelMissing
        There is none in ``models_dir``. Not retryable.
    StoreError
        The store cannot be written. Not retryable.
    """
    check_name(name)
    target, staged = models_dir / name, models_dir / _FOLDER / name
    if not os.path.lexists(target) and not staged.exists():
        raise ModelMissing(f'no model "{name}" in {models_dir}; run: enrich models list')
    with _written(models_dir), _locked(models_dir, name):
        old = _old(models_dir, name)
        _discard(old)
        if os.path.lexists(target):
            target.rename(old)
        _discard(old)
        _discard(staged)
    return target


def free_bytes(models_dir: Path) -> int:
    """Return how much room the store's disk has for this user."""
    return shutil.disk_usage(models_dir).free


def size_text(count: int) -> str:
    """Return a number of bytes for people."""
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} bytes"


@contextlib.contextmanager
def _written(models_dir: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise StoreError(
                f"the disk of {models_dir} is full: make room, or set models_dir; what came so far is kept, "
                "and pulling again goes on from there (enrich models remove drops it)"
            ) from error
        raise StoreError(f"{models_dir}: cannot be written: {error.strerror or error}") from error


@contextlib.contextmanager
def _locked(models_dir: Path, name: str) -> Iterator[None]:
    (models_dir / _FOLDER).mkdir(parents=True, exist_ok=True)
    # The file stays: taking it away would let two processes lock two files.
    with (models_dir / _FOLDER / f".lock-{name}").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(f"another process is pulling or removing {name} now; wait for it") from error
        yield


def _mend(models_dir: Path, name: str) -> None:
    old = _old(models_dir, name)
    if old.exists() and not os.path.lexists(models_dir / name):
        old.rename(models_dir / name)
    _discard(old)


def _old(models_dir: Path, name: str) -> Path:
    return models_dir / _FOLDER / f".old-{name}"


def _discard(path: Path) -> None:
    if path.is_symlink():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path)
