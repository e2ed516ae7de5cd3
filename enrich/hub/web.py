"""Models that lie at addresses of their own, each file pinned by its SHA-256."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from enrich.hub.download import OnBytes
from enrich.hub.entry import Listed
from enrich.hub.repository import RemoteFile, fetch_url

__all__ = ["WebSource"]


@dataclass(frozen=True, slots=True)
class WebSource:
    """The addresses of a listed model.

    Parameters
    ----------
    listed : Listed
        One that has ``files``.
    """

    listed: Listed

    @property
    def commit(self) -> str:
        """The revision that the addresses were taken from."""
        return self.listed.revision

    @property
    def licence(self) -> str:
        """As the project says."""
        return self.listed.licence

    @property
    def files(self) -> Mapping[str, RemoteFile]:
        """The files by path."""
        return {one.path: RemoteFile(one.path, one.bytes, one.sha256, None) for one in self.listed.files}

    def fetch(self, file: RemoteFile, target: Path, on_bytes: OnBytes) -> None:
        """Write a file's bytes to ``target``, after those that are there already.

        Raises
        ------
        FetchFailed
            It did not answer, or not well; retryable where that may pass.
        OSError
            ``target`` cannot be written.
        """
        (url,) = (one.url for one in self.listed.files if one.path == file.path)
        fetch_url(url, target, file.bytes, on_bytes)
