"""The files of a model on their way: fetched one by one, checked, and gone on with where a try ended."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from enrich.errors import FetchFailed, ManifestError, StoreError
from enrich.hub.download import OnBytes
from enrich.hub.repository import RemoteFile
from enrich.hub.staging import free_bytes, size_text
from enrich.inference.manifest import ModelFile

__all__ = ["OnProgress", "Parcel", "Progress", "Source"]

_PARTIAL = ".partial"
_DIGEST_DIGITS = 12


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a pull is.

    Parameters
    ----------
    path : str
        The file that comes now.
    done_bytes : int
        Of all files so far, those included that were here already.
    total_bytes : int
        Of all files that are known to be needed.
    """

    path: str
    done_bytes: int
    total_bytes: int


OnProgress = Callable[[Progress], None]


class Source(Protocol):
    """Where files come from: a repository of the hub, or addresses."""

    @property
    def files(self) -> Mapping[str, RemoteFile]:
        """What there is, by path."""

    def fetch(self, file: RemoteFile, target: Path, on_bytes: OnBytes) -> None:
        """Write a file's bytes to ``target``, after those that are there already."""


class Parcel:
    """Fetches files into a folder.

    A file that is complete has its own name. One that is not is called by its digest besides, so that it
    is gone on with only if the same content is wanted.

    Parameters
    ----------
    folder : Path
        Where the files go.
    on_progress : callable
        Told of bytes as they come.
    """

    def __init__(self, folder: Path, on_progress: OnProgress) -> None:
        self._folder = folder
        self._on_progress = on_progress
        self._done = self._total = 0
        #: What is here, with its SHA-256.
        self.files: dict[str, ModelFile] = {}

    def fetch(self, source: Source, paths: Iterable[str]) -> None:
        """Fetch files that are not here already.

        Raises
        ------
        StoreError
            There is no room for them. Not retryable.
        FetchFailed
            No answer, a bad one, or a file that is not what it should be; retryable where that may pass.
        ModelMissing
            They may not be had. Not retryable.
        ManifestError
            The path of one leads out of the folder. Not retryable.
        OSError
            They cannot be written.
        """
        wanted = [source.files[path] for path in paths if path not in self.files]
        self._total += sum(file.bytes or 0 for file in wanted)
        self._check_room(wanted)
        for file in wanted:
            self.files[file.path] = self._one(source, file)

    def clear(self, kept: Collection[str]) -> None:
        """Delete what lies in the folder and was not asked for, but for what is to be kept."""
        known = {*self.files, *kept}
        for path in sorted(self._folder.rglob("*"), reverse=True):
            if path.is_dir() and not path.is_symlink():
                if not any(path.iterdir()):
                    path.rmdir()
            elif path.relative_to(self._folder).as_posix() not in known:
                path.unlink()

    def _one(self, source: Source, file: RemoteFile) -> ModelFile:
        target = self._folder / file.path
        if not target.resolve().is_relative_to(self._folder.resolve()):
            raise ManifestError(f"{file.path} leads out of the model's folder; that is refused")
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.is_file() and not (said := _told(target, file))[1]:
            self._come(file.path, target.stat().st_size)
            return said[0]
        partial = self._partial(file)
        source.fetch(file, partial, lambda count: self._come(file.path, count))
        found, problem = _told(partial, file)
        if problem:
            partial.unlink()
            raise FetchFailed(
                f"{file.path}: {problem}: damaged on its way, or altered; it was thrown away, pull again; if "
                "that ends the same way, do not trust the place it comes from"
            )
        partial.rename(target)
        return found

    def _partial(self, file: RemoteFile) -> Path:
        return self._folder / f"{file.path}.{file.digest[:_DIGEST_DIGITS]}{_PARTIAL}"

    def _come(self, path: str, count: int) -> None:
        self._done += count
        self._on_progress(Progress(path, self._done, max(self._done, self._total)))

    def _check_room(self, wanted: Iterable[RemoteFile]) -> None:
        missing = 0
        for file in wanted:
            for place in (self._folder / file.path, self._partial(file)):
                if place.is_file():
                    missing -= min(place.stat().st_size, file.bytes or 0)
                    break
            missing += file.bytes or 0
        free = free_bytes(self._folder)
        if missing > free:
            raise StoreError(
                f"the disk of {self._folder.parent.parent} has {size_text(free)} left, and "
                f"{size_text(missing)} are to come: make room, or set models_dir"
            )


def _told(path: Path, file: RemoteFile) -> tuple[ModelFile, str | None]:
    """Return what a file is, and what is wrong with it if it is not what it should be."""
    size, digest = path.stat().st_size, _sha256(path)
    found = ModelFile(path=file.path, sha256=digest, bytes=size)
    if file.sha256 is not None and file.sha256 != digest:
        return found, f"its sha256 is {digest}, and {file.sha256} was promised"
    if file.git_sha1 is not None and file.git_sha1 != (own := _git_sha1(path)):
        return found, f"its Git hash is {own}, and {file.git_sha1} was promised"
    if file.bytes not in (None, size):
        return found, f"it has {size} bytes, and {file.bytes} were promised"
    return found, None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _git_sha1(path: Path) -> str:
    """Return the hash by which Git knows a file's content."""
    # Git's own choice; files of weights have a SHA-256 instead.
    digest = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
