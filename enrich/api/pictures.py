"""Pictures in: by upload, UUID, base64, data URI or URL, each spooled, sniffed, hashed and decoded once.

Nothing that a client says of a picture is believed: not its type, not its length, not its name. Bytes go
to the disk while they come, under names of our own; what a request brought is removed when it ends.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import shutil
import time
import uuid
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol

from enrich.api.errors import ImageNotFetched, InvalidParameter, NotFound, TooLarge
from enrich.api.examination import MEDIA_TYPES, RENDITION_PX, Examiner, render
from enrich.api.requests import Caller, Picture
from enrich.api.spool import BoundedFile, decode_base64, decode_data_uri, new_file
from enrich.errors import ConfigError, FetchTooLarge, OutboundError
from enrich.prompts import one_line
from enrich.types import Rendition

if TYPE_CHECKING:
    from enrich.api.uploads import Sent, Uploads
    from enrich.outbound.fetch import Fetched
    from enrich.rendition import Opener
    from enrich.settings import Settings

__all__ = ["MEDIA_TYPES", "RENDITION_PX", "Fetch", "Pictures", "Received", "render"]

#: What a request that died left behind is removed after so long.
_STRAY_SECONDS = 3600.0
_CHUNK_BYTES = 256 * 1024


class Fetch(Protocol):
    """Gets a URL's bytes, from public addresses only: ``Fetcher.fetch``, as this module needs it."""

    def __call__(self, url: str, into: BinaryIO, *, max_bytes: int | None) -> Fetched: ...


class Pictures:
    """Takes pictures in, from any thread.

    Parameters
    ----------
    settings : Settings
        The limits, and the folder.
    uploads : Uploads
        What was sent and may be named again.
    fetch : callable
        Gets a URL's bytes.
    opener : Opener or None
        Plugins' decoders.

    Raises
    ------
    ConfigError
        The folder of uploads lies inside a root. Not retryable.
    """

    def __init__(
        self, settings: Settings, uploads: Uploads, fetch: Fetch, *, opener: Opener | None = None
    ) -> None:
        for root in settings.roots:
            if settings.api.uploads_dir.is_relative_to(root.path):
                raise ConfigError(
                    f"api.uploads_dir: it lies inside the root {root.path}, where it would be watched: "
                    "set it to a folder of its own"
                )
        self._api = settings.api
        self._examiner = Examiner(min(settings.api.max_pixels, settings.max_pixels), opener=opener)
        self._uploads = uploads
        self._fetch = fetch
        self._spool = settings.api.uploads_dir / "spool"

    @property
    def max_bytes(self) -> int:
        """The largest picture that is taken."""
        return self._api.max_upload_bytes

    @contextlib.contextmanager
    def receive(
        self,
        caller: Caller,
        *,
        max_bytes: int | None = None,
        media_types: Collection[str] = MEDIA_TYPES,
    ) -> Iterator[Received]:
        """Take in one request's pictures; at its end what was not stored is gone.

        Parameters
        ----------
        caller : Caller
            Who sends, and so whose uploads may be named.
        max_bytes : int or None
            A dialect's own limit, where it is lower.
        media_types : collection of str
            What the dialect takes.
        """
        self._spool.mkdir(mode=0o700, parents=True, exist_ok=True)
        limit = self.max_bytes if max_bytes is None else min(max_bytes, self.max_bytes)
        received = Received(self, caller, limit, media_types)
        try:
            yield received
        finally:
            received.close()

    def sweep(self, now: dt.datetime) -> int:
        """Remove uploads that have expired and what requests that died left; return how many."""
        count = self._uploads.sweep(now)
        with contextlib.suppress(FileNotFoundError):
            for entry in os.scandir(self._spool):
                with contextlib.suppress(FileNotFoundError):
                    if time.time() - entry.stat().st_mtime > _STRAY_SECONDS:
                        os.unlink(entry.path)
                        count += 1
        return count

    def at(self, picture: Picture, size_px: int) -> Rendition:
        """Return a picture's rendition with a longest edge of at most ``size_px``.

        Raises
        ------
        InvalidImage, TooLarge
            It cannot be decoded so large. Not retryable.
        """
        return self._examiner.at(picture, size_px)


class Received:
    """The pictures of one request; made by ``Pictures.receive``, for one thread at a time."""

    def __init__(
        self, pictures: Pictures, caller: Caller, max_bytes: int, media_types: Collection[str]
    ) -> None:
        self._pictures = pictures
        self._caller = caller
        self._max_bytes = max_bytes
        self._media_types = media_types
        self._spooled: set[Path] = set()

    def named(self, text: str) -> Picture:
        """Take in what a field says: a URL, a data URI, an upload's UUID or base64.

        Raises
        ------
        InvalidParameter, NotFound, ImageNotFetched, InvalidImage, TooLarge
            There is no picture there, or none that is taken. Not retryable.
        """
        text = text.strip()
        if not text:
            raise InvalidParameter("the picture is empty")
        scheme = text[:8].lower()
        if scheme.startswith(("http://", "https://")):
            return self.url(text)
        if scheme.startswith("data:"):
            return self.chunks(decode_data_uri(text), "")
        if (named := _uuid(text)) is not None:
            return self.upload(named)
        if "://" in text[:20]:
            raise InvalidParameter("the picture's URL must be of http or https")
        return self.chunks(decode_base64(text), "")

    def url(self, url: str) -> Picture:
        """Fetch a picture.

        Raises
        ------
        ImageNotFetched
            The address is refused, or gave nothing. Retryable where it may pass.
        InvalidImage, TooLarge
            What it gave is no picture that is taken. Not retryable.
        """
        path = self._new()
        with path.open("wb") as file:
            try:
                fetched = self._pictures._fetch(url, file, max_bytes=self._max_bytes)
            except FetchTooLarge as error:
                raise TooLarge(
                    f"the picture has more than the {self._max_bytes} bytes that are taken"
                ) from error
            except OutboundError as error:
                raise ImageNotFetched(f"the picture could not be fetched: {error}") from error
        return self._examine(path, fetched.file_name)

    def stream(self, stream: BinaryIO, file_name: str) -> Picture:
        """Take in a file as it is read.

        Raises
        ------
        InvalidImage, TooLarge
            It is no picture that is taken. Not retryable.
        """
        return self.chunks(iter(lambda: stream.read(_CHUNK_BYTES), b""), file_name)

    def chunks(self, chunks: Iterable[bytes], file_name: str) -> Picture:
        """Take in bytes as they come.

        Raises
        ------
        InvalidImage, TooLarge
            They are no picture that is taken. Not retryable.
        """
        path = self._new()
        with path.open("wb") as file:
            bounded = BoundedFile(file, self._max_bytes)
            for chunk in chunks:
                bounded.write(chunk)
        return self._examine(path, file_name)

    def upload(self, named: str) -> Picture:
        """Take what this caller uploaded before.

        Raises
        ------
        NotFound
            This caller has no such upload, or it has expired. Not retryable.
        """
        found = self._pictures._uploads.find(named, self._caller)
        if found is None:
            raise NotFound("there is no upload with this UUID, or it has expired")
        # A file of this request's own: the upload may expire meanwhile.
        path = self._new()
        try:
            shutil.copyfile(found.path, path)
        except FileNotFoundError as error:
            raise NotFound("there is no upload with this UUID, or it has expired") from error
        return self._examine(path, found.file_name, found.asset_id)

    def store(self, picture: Picture, *, is_for_task: bool = False) -> Sent:
        """Make a picture of this request one that its caller may name again.

        Where only a task needs it (``is_for_task``), it goes soon after that has ended.

        Raises
        ------
        TooLarge
            It would be more than the caller may have there. Not retryable.
        """
        return self._pictures._uploads.add(
            picture, self._caller, dt.datetime.now(dt.UTC), is_for_task=is_for_task
        )

    def close(self) -> None:
        """Remove what was spooled."""
        for path in self._spooled:
            path.unlink(missing_ok=True)
        self._spooled.clear()

    def _new(self) -> Path:
        path = new_file(self._pictures._spool)
        self._spooled.add(path)
        return path

    def _examine(self, path: Path, file_name: str, asset_id: int | None = None) -> Picture:
        name = one_line(file_name.replace("\\", "/").rpartition("/")[2])[:200]
        return self._pictures._examiner.examine(path, name, self._media_types, asset_id)


def _uuid(text: str) -> str | None:
    """Return a UUID in its usual form; thirty-two hex digits without hyphens are base64 as well."""
    if len(text) != 36 or text[8] != "-":
        return None
    try:
        return str(uuid.UUID(text))
    except ValueError:
        return None
