"""Pictures that clients sent: whose they are, where they lie, and until when.

One key never finds what another one sent. The rows come and go here; the files under the uploads
folder belong to whoever calls: a file is written before its row, and a row deleted before its file.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection
from dataclasses import dataclass, fields

import sqlalchemy as sa

from enrich.catalog.api_tables import ApiTask, TaskUpload, Upload

__all__ = ["UploadRow", "add", "expired", "find", "has_sent", "keep", "remove", "sent", "total_bytes"]


@dataclass(frozen=True, slots=True)
class UploadRow:
    """A picture that was sent; ``expires_at`` is None where it is kept until it is forgotten."""

    id: int
    uuid: str
    key_id: int | None
    path: str
    file_name: str
    media_type: str
    size_bytes: int
    sha256: str
    sha1: str
    asset_id: int | None
    created_at: dt.datetime
    expires_at: dt.datetime | None


_COLUMNS = tuple(getattr(Upload, column.name) for column in fields(UploadRow))


def _is_of(key_id: int | None) -> sa.ColumnElement[bool]:
    return Upload.key_id.is_(None) if key_id is None else Upload.key_id == key_id


def _is_needed() -> sa.ColumnElement[bool]:
    """Whether a task that has not ended is about it."""
    return (
        sa.exists()
        .where(
            TaskUpload.upload_id == Upload.id,
            ApiTask.id == TaskUpload.task_id,
            ApiTask.state.in_(("accepted", "running")),
        )
        .correlate(Upload)
    )


def add(
    connection: sa.Connection,
    *,
    uuid: str,
    key_id: int | None,
    path: str,
    file_name: str,
    media_type: str,
    size_bytes: int,
    sha256: str,
    sha1: str,
    created_at: dt.datetime,
    expires_at: dt.datetime | None = None,
    asset_id: int | None = None,
) -> UploadRow:
    """Write down that a picture was sent.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        A transaction that writes; a quota is kept by asking ``total_bytes`` in the same one.
    uuid : str
        Its name for the client, in canonical form.
    key_id : int or None
        Whose it is.
    path : str
        Where it lies below the uploads folder.
    file_name : str
        What the client called it.
    media_type, size_bytes, sha256, sha1
        Of its bytes.
    created_at, expires_at : datetime
        Since when and, unless it is kept, until when.
    asset_id : int or None
        The asset that it is.
    """
    values = {
        "uuid": uuid,
        "key_id": key_id,
        "path": path,
        "file_name": file_name,
        "media_type": media_type,
        "size_bytes": size_bytes,
        "sha256": sha256,
        "sha1": sha1,
        "asset_id": asset_id,
        "created_at": created_at,
        "expires_at": expires_at,
    }
    statement = sa.insert(Upload).values(values).returning(*_COLUMNS)
    return UploadRow(*connection.execute(statement).one())


def find(connection: sa.Connection, uuid: str, key_id: int | None, now: dt.datetime) -> UploadRow | None:
    """Return what this key sent under this UUID; None if it never did, or if that has expired."""
    is_there = sa.or_(Upload.expires_at.is_(None), Upload.expires_at > now, _is_needed())
    statement = sa.select(*_COLUMNS).where(Upload.uuid == uuid, _is_of(key_id), is_there)
    found = connection.execute(statement).first()
    return None if found is None else UploadRow(*found)


def keep(connection: sa.Connection, uuid: str, asset_id: int, expires_at: dt.datetime | None = None) -> bool:
    """Note that an upload is this asset now, and until when it stays; return whether it is there."""
    statement = sa.update(Upload).where(Upload.uuid == uuid)
    return connection.execute(statement.values(asset_id=asset_id, expires_at=expires_at)).rowcount > 0


def sent(
    connection: sa.Connection, key_id: int | None, *, limit: int, before_id: int | None = None
) -> list[UploadRow]:
    """Return what this key sent and is there still, newest first, ``limit`` at a time."""
    statement = sa.select(*_COLUMNS).where(_is_of(key_id))
    if before_id is not None:
        statement = statement.where(Upload.id < before_id)
    return [UploadRow(*row) for row in connection.execute(statement.order_by(Upload.id.desc()).limit(limit))]


def has_sent(connection: sa.Connection, key_id: int | None, asset_id: int) -> bool:
    """Return whether this key sent this asset."""
    statement = sa.select(sa.exists().where(_is_of(key_id), Upload.asset_id == asset_id))
    return connection.execute(statement).scalar_one()


def total_bytes(connection: sa.Connection, key_id: int | None) -> int:
    """Return how many bytes lie there for this key."""
    statement = sa.select(sa.func.coalesce(sa.func.sum(Upload.size_bytes), 0)).where(_is_of(key_id))
    return int(connection.execute(statement).scalar_one())


def expired(connection: sa.Connection, now: dt.datetime, limit: int = 1000) -> list[UploadRow]:
    """Return uploads whose time is over, oldest first; none that a task still needs."""
    statement = (
        sa.select(*_COLUMNS)
        .where(Upload.expires_at.is_not(None), Upload.expires_at <= now, ~_is_needed())
        .order_by(Upload.expires_at)
        .limit(limit)
    )
    return [UploadRow(*row) for row in connection.execute(statement)]


def remove(connection: sa.Connection, ids: Collection[int]) -> int:
    """Delete the rows of uploads; return how many there were."""
    wanted = list(ids)
    connection.execute(sa.delete(TaskUpload).where(TaskUpload.upload_id.in_(wanted)))
    return connection.execute(sa.delete(Upload).where(Upload.id.in_(wanted))).rowcount
