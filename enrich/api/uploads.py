"""What clients sent and may name again by its UUID: files under the uploads folder, rows in the catalog."""

from __future__ import annotations

import datetime as dt
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from enrich.api.errors import TooLarge
from enrich.api.requests import Caller, Picture
from enrich.api.spool import link_or_copy
from enrich.catalog import uploads
from enrich.catalog.uploads import UploadRow

if TYPE_CHECKING:
    import sqlalchemy as sa

    from enrich.catalog.writer import Writer
    from enrich.sections import Api

__all__ = ["Sent", "Uploads"]

_FOLDER = "sent"
#: What a task is about stays as long as the task needs it, and at least so long, until the task is there.
_FOR_TASK = dt.timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Sent:
    """A picture that a caller sent, as it lies here."""

    uuid: str
    path: Path
    file_name: str
    media_type: str
    asset_id: int | None
    expires_at: dt.datetime | None


class Uploads:
    """Keeps what was sent for a while, each for its own key alone; from any thread.

    Parameters
    ----------
    api : Api
        Where, how much, and how long.
    engine : sqlalchemy.Engine
        The catalog, to look up.
    writer : Writer
        The catalog's writer.
    """

    def __init__(self, api: Api, engine: sa.Engine, writer: Writer) -> None:
        self._dir = api.uploads_dir
        self._quota_bytes = api.upload_quota_bytes
        self._retention = dt.timedelta(seconds=api.retention_seconds)
        self._engine = engine
        self._writer = writer

    def add(self, picture: Picture, caller: Caller, now: dt.datetime, *, is_for_task: bool = False) -> Sent:
        """Keep a picture for its caller.

        Parameters
        ----------
        picture : Picture
            One of a request at work.
        caller : Caller
            Whose it is.
        now : datetime
            When it came.
        is_for_task : bool
            Only a task needs it: it goes soon after that has ended.

        Raises
        ------
        TooLarge
            It would be more than one key may have there. Not retryable.
        CatalogBusy
            The catalog does not answer. Retryable.
        """
        named = str(uuid.uuid4())
        folder = self._dir / _FOLDER
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # The same file by another name: what the request spooled is removed with the request.
        link_or_copy(picture.path, folder / named)

        def add(connection: sa.Connection) -> UploadRow:
            if uploads.total_bytes(connection, caller.key_id) + picture.size_bytes > self._quota_bytes:
                raise TooLarge(
                    f"with this picture it would be more than the {self._quota_bytes} bytes that may be "
                    "stored at once; older ones go with time"
                )
            return uploads.add(
                connection,
                uuid=named,
                key_id=caller.key_id,
                path=f"{_FOLDER}/{named}",
                file_name=picture.file_name,
                media_type=picture.media_type,
                size_bytes=picture.size_bytes,
                sha256=picture.sha256,
                sha1=picture.sha1,
                asset_id=picture.asset_id,
                created_at=now,
                expires_at=now + (min(self._retention, _FOR_TASK) if is_for_task else self._retention),
            )

        try:
            return self._sent(self._writer.write(add))
        except BaseException:
            (folder / named).unlink(missing_ok=True)
            raise

    def find(self, named: str, caller: Caller) -> Sent | None:
        """Return what this caller sent under a UUID; None where it did not, or where that has expired."""
        with self._engine.connect() as connection:
            row = uploads.find(connection, named, caller.key_id, dt.datetime.now(dt.UTC))
        return None if row is None else self._sent(row)

    def sweep(self, now: dt.datetime) -> int:
        """Remove what has expired; return how many."""
        gone = self._writer.write(lambda connection: _remove_expired(connection, now))
        for row in gone:
            (self._dir / row.path).unlink(missing_ok=True)
        return len(gone)

    def _sent(self, row: UploadRow) -> Sent:
        return Sent(
            row.uuid, self._dir / row.path, row.file_name, row.media_type, row.asset_id, row.expires_at
        )


def _remove_expired(connection: sa.Connection, now: dt.datetime) -> list[UploadRow]:
    rows = uploads.expired(connection, now)
    uploads.remove(connection, [row.id for row in rows])
    return rows
