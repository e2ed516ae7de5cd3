"""A repository of the model hub, or what its cache holds of one: its commit, its files, and their bytes.

huggingface_hub is imported here and nowhere else. Files are asked for by plain HTTP, not through Xet,
since only that continues a file where a process that was killed left it.
"""

from __future__ import annotations

import json
import logging
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from enrich import __version__
from enrich.errors import ExtraMissing, FetchFailed, ModelMissing, UsageError
from enrich.hub.download import OnBytes, download
from enrich.hub.refusals import check_endpoint, endpoint, translated

__all__ = ["RemoteFile", "Repository", "check_repository", "fetch_url", "is_offline", "look_up"]

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_LOOK_SECONDS = 30.0
_CACHED_NAME = "config.json"

#: Who asks.
_US = {"library_name": "enrich", "library_version": __version__}

_KEPT = "; what came so far is kept, and pulling again goes on from there"


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file as its repository describes it.

    Parameters
    ----------
    path : str
        In the repository.
    bytes : int or None
        Its size.
    sha256 : str or None
        Of its content, as Git LFS has it; None for small files.
    git_sha1 : str or None
        Git's own hash, of small files.
    """

    path: str
    bytes: int | None
    sha256: str | None
    git_sha1: str | None

    @property
    def digest(self) -> str:
        """What its content is known by; empty where nothing is known."""
        return self.sha256 or self.git_sha1 or ""


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository at one commit.

    Parameters
    ----------
    name : str
        ``owner/name``.
    commit : str
        40 hexadecimal digits.
    licence : str or None
        As its card says.
    files : mapping of str to RemoteFile
        By path.
    folder : Path or None
        Where the hub's cache has it; None: it is asked for over HTTP.
    """

    name: str
    commit: str
    licence: str | None
    files: Mapping[str, RemoteFile]
    folder: Path | None = None

    @property
    def sizes(self) -> dict[str, int | None]:
        """The files' sizes by path."""
        return {path: file.bytes for path, file in self.files.items()}

    def fetch(self, file: RemoteFile, target: Path, on_bytes: OnBytes) -> None:
        """Write a file's bytes to ``target``, after those that are there already.

        Raises
        ------
        FetchFailed
            The hub did not answer, or not well; retryable where that may pass.
        ModelMissing
            It may not be had. Not retryable.
        OSError
            ``target`` cannot be written.
        """
        if self.folder is not None:
            shutil.copyfile(self.folder / file.path, target)
            on_bytes(target.stat().st_size)
            return
        hub = _library()
        with translated(hub, f"hf:{self.name}", self.commit, kept=_KEPT):
            url = hub.hf_hub_url(self.name, file.path, revision=self.commit)
            download(hub, url, target, file.bytes, on_bytes, hub.utils.build_hf_headers(**_US))


def check_repository(name: str) -> None:
    """Raise unless a repository of the hub may be called so.

    Raises
    ------
    UsageError
        It is no ``owner/name``. Not retryable.
    """
    if not _REPOSITORY.fullmatch(name):
        raise UsageError(
            f'"hf:{name}" is no repository: it is called hf:owner/name, or hf:owner/name@revision'
        )


def is_offline() -> bool:
    """Tell whether HF_HUB_OFFLINE forbids the network."""
    return bool(_library().constants.HF_HUB_OFFLINE)


def look_up(name: str, revision: str) -> Repository:
    """Ask the hub what a repository holds; without a network, its cache.

    Parameters
    ----------
    name : str
        ``owner/name``.
    revision : str
        A commit, a branch or a tag.

    Raises
    ------
    UsageError
        It is no name of a repository, or HF_ENDPOINT no address. Not retryable.
    ModelMissing
        It or its revision is not there, or may not be had; or there is no network. Not retryable.
    FetchFailed
        The hub did not answer, or not well; retryable where that may pass.
    ExtraMissing
        huggingface_hub is not installed. Not retryable.
    """
    check_repository(name)
    hub = _library()
    if is_offline():
        return _cached(hub, name, revision)
    check_endpoint(hub)
    with translated(hub, f"hf:{name}", revision):
        try:
            found = hub.HfApi(**_US).model_info(
                name, revision=revision, files_metadata=True, timeout=_LOOK_SECONDS
            )
        except (KeyError, TypeError, json.JSONDecodeError, UnicodeDecodeError) as error:
            raise FetchFailed(
                f"hf:{name}: {endpoint(hub)} does not answer as the hub does; check HF_ENDPOINT, and whether "
                "the network wants a login first"
            ) from error
    if not _COMMIT.fullmatch(str(found.sha)):
        raise FetchFailed(f"hf:{name}: {endpoint(hub)} names no commit for it, so it cannot be pinned")
    files = {one.rfilename: _remote(one) for one in found.siblings or ()}
    licence = found.card_data.get("license") if found.card_data is not None else None
    return Repository(name, str(found.sha), licence if isinstance(licence, str) else None, files)


def fetch_url(url: str, target: Path, size: int | None, on_bytes: OnBytes) -> None:
    """Write what an https address gives to ``target``, after the bytes that are there already.

    Raises
    ------
    FetchFailed
        It did not answer, or not well; retryable where that may pass.
    OSError
        ``target`` cannot be written.
    """
    hub = _library()
    with translated(hub, url, "", kept=_KEPT):
        download(hub, url, target, size, on_bytes, {})


def _library() -> Any:
    try:
        import huggingface_hub
        import huggingface_hub.constants
        import huggingface_hub.errors
        import huggingface_hub.utils
    except ImportError as error:
        raise ExtraMissing(
            f"pulling models needs huggingface_hub ({error}): pip install 'enrich-dam[cpu]'"
        ) from error
    # Else it asks the hub for a list by which to tell it what kind of program this is.
    huggingface_hub.constants.HF_HUB_DISABLE_TELEMETRY = True
    # It warns of each try again; what becomes of them is said in one line.
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    return huggingface_hub


def _remote(sibling: Any) -> RemoteFile:
    lfs = sibling.lfs
    size = sibling.size if sibling.size is not None or lfs is None else lfs.size
    return RemoteFile(sibling.rfilename, size, lfs.sha256 if lfs else None, None if lfs else sibling.blob_id)


def _cached(hub: Any, name: str, revision: str) -> Repository:
    """Return what the hub's own cache holds, which other programs filled."""
    place = hub.try_to_load_from_cache(name, _CACHED_NAME, revision=revision)
    if not isinstance(place, str):
        raise ModelMissing(
            f"hf:{name}@{revision} is not in the hub's cache ({hub.constants.HF_HUB_CACHE}), and "
            "HF_HUB_OFFLINE forbids the network; unset it, or bring the model's folder from another machine"
        )
    folder = Path(place).parent
    files = {}
    for path in sorted(one for one in folder.rglob("*") if one.is_file()):
        blob = path.resolve()  # named by the file's own hash
        files[path.relative_to(folder).as_posix()] = RemoteFile(
            path.relative_to(folder).as_posix(),
            blob.stat().st_size,
            blob.name if _SHA256.fullmatch(blob.name) else None,
            blob.name if _COMMIT.fullmatch(blob.name) else None,
        )
    return Repository(name, folder.name, None, files, folder)
