"""Erasing all that is known of some assets: the only way by which rows are deleted."""

from __future__ import annotations

import sqlite3
from collections import Counter as Tally
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from enrich.catalog import counters
from enrich.catalog.engine import BUSY_TIMEOUT_SECONDS, translated, writing
from enrich.catalog.files import MAX_PARAMETERS
from enrich.catalog.tables import (
    Annotation,
    ApiTask,
    Asset,
    Delivery,
    Embedding,
    File,
    Job,
    Tag,
    TaskUpload,
    Upload,
)

__all__ = ["Forgotten", "forget"]

#: How long to wait for readers that keep SQLite's log from being emptied.
SCRUB_SECONDS = 5.0

_READ = "somebody reads the catalog, so its -wal file still holds the texts, until the last reader ends"


@dataclass(slots=True)
class Forgotten:
    """What was erased: how many rows of which table, and the files by escaped path with root and state.

    ``uploads`` is what clients had sent, by path below the uploads folder: whoever asked deletes the files.
    ``unscrubbed`` says why texts of it may still stand in SQLite's files, and until when; empty if none do.
    """

    rows: Tally[str] = field(default_factory=Tally)
    files: dict[str, tuple[str, str]] = field(default_factory=dict)
    uploads: list[str] = field(default_factory=list)
    unscrubbed: str = ""


def forget(engine: sa.Engine, asset_ids: Iterable[int], file_ids: Iterable[int] = ()) -> Forgotten:
    """Erase assets with everything about them, and files that are no assets.

    One transaction: all of it or nothing. A job of theirs that is under way finds its fence closed.
    SQLite's file is then written anew, and the log that still holds what was erased is emptied.
    PostgreSQL keeps the bytes until it vacuums the tables and uses their place again.

    Parameters
    ----------
    engine : sqlalchemy.Engine
        The catalog.
    asset_ids : iterable of int
        The assets.
    file_ids : iterable of int
        Files, whose assets, if they have any, stay.

    Raises
    ------
    CatalogBusy
        The database does not answer. Retryable.
    """
    forgotten = Forgotten()
    with translated(), writing(engine).connect() as connection:
        is_sqlite = connection.dialect.name == "sqlite"
        if is_sqlite:  # most of it is gone then, whatever keeps the file from being written anew
            _execute(connection, "PRAGMA secure_delete=ON")
        with connection.begin():
            for ids in _portions(asset_ids):
                _erase_assets(connection, ids, forgotten)
            for ids in _portions(file_ids):
                _erase_files(connection, File.id.in_(ids), forgotten)
        if is_sqlite and forgotten.rows.total():
            forgotten.unscrubbed = _scrub(connection)
    return forgotten


def _scrub(connection: sa.Connection) -> str:
    """Write SQLite's file anew and empty its log; return why not, if something is in the way.

    Zeros in the place of deleted rows (``secure_delete``) are not enough: where SQLite divides a full
    page, what moved to the next one is left behind in the page's free space.
    """
    try:
        _execute(connection, "VACUUM")
    except sqlite3.Error as error:
        return f"SQLite's file may hold words of it ({error}); make room, then let sqlite3 say VACUUM in it"
    return "" if _empty_log(connection) else _READ


def _empty_log(connection: sa.Connection) -> bool:
    """Move SQLite's log into the database and cut it off; return whether readers let that happen."""
    _execute(connection, f"PRAGMA busy_timeout={int(SCRUB_SECONDS * 1000)}")
    try:
        is_busy, _, _ = _execute(connection, "PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        _execute(connection, f"PRAGMA busy_timeout={BUSY_TIMEOUT_SECONDS * 1000}")
    return not is_busy


def _execute(connection: sa.Connection, statement: str) -> Any:
    # Past SQLAlchemy, which would begin a transaction first; neither statement works inside one.
    driver = connection.connection.driver_connection
    assert driver is not None
    return driver.execute(statement).fetchone()


def _portions(ids: Iterable[int]) -> Iterator[list[int]]:
    wanted = sorted(set(ids))
    for start in range(0, len(wanted), MAX_PARAMETERS):
        yield wanted[start : start + MAX_PARAMETERS]


def _erase_assets(connection: sa.Connection, ids: list[int], forgotten: Forgotten) -> None:
    annotations = sa.select(Annotation.id).where(Annotation.asset_id.in_(ids))
    _delete(connection, Tag, Tag.annotation_id.in_(annotations), forgotten)
    _delete(connection, Embedding, Embedding.annotation_id.in_(annotations), forgotten)
    _delete(connection, Annotation, Annotation.asset_id.in_(ids), forgotten)
    deltas: Tally[tuple[str, str, int]] = Tally()
    of_assets = sa.select(Job.step, Job.state, Job.generator_id).where(Job.asset_id.in_(ids))
    for step, state, generator_id in connection.execute(of_assets):
        deltas[step, state, counters.generator_of(state, generator_id)] -= 1
    counters.add(connection, deltas)
    _delete(connection, Job, Job.asset_id.in_(ids), forgotten)
    _erase_sent(connection, ids, forgotten)
    _erase_files(connection, File.asset_id.in_(ids), forgotten)
    _delete(connection, Asset, Asset.id.in_(ids), forgotten)


def _erase_sent(connection: sa.Connection, ids: list[int], forgotten: Forgotten) -> None:
    """Erase what clients sent of assets (known as theirs, or of the same bytes), and what they were told."""
    told = Delivery.asset_id.in_(ids)
    # Asked first: a report names tables of the HTTP API only where they held something.
    if connection.execute(sa.select(sa.exists().where(told))).scalar():
        _delete(connection, Delivery, told, forgotten)
    of_files = sa.select(File.sha256).where(File.asset_id.in_(ids))
    is_sent = sa.or_(Upload.asset_id.in_(ids), Upload.sha256.in_(of_files))
    for uploads in _portions(connection.execute(sa.select(Upload.id).where(is_sent)).scalars()):
        about = sa.select(TaskUpload.task_id).where(TaskUpload.upload_id.in_(uploads))
        for tasks in _portions(connection.execute(about).scalars()):
            _delete(connection, Delivery, Delivery.task_id.in_(tasks), forgotten)
            _delete(connection, TaskUpload, TaskUpload.task_id.in_(tasks), forgotten)
            _delete(connection, ApiTask, ApiTask.id.in_(tasks), forgotten)
        is_one = Upload.id.in_(uploads)
        forgotten.uploads.extend(connection.execute(sa.select(Upload.path).where(is_one)).scalars())
        _delete(connection, Upload, is_one, forgotten)


def _erase_files(connection: sa.Connection, condition: sa.ColumnElement[bool], forgotten: Forgotten) -> None:
    deltas: Tally[tuple[str, str, int]] = Tally()
    for root, path, state in connection.execute(sa.select(File.root, File.path, File.state).where(condition)):
        forgotten.files[path] = (root, state)
        deltas[counters.FILES, state, 0] -= 1
    counters.add(connection, deltas)
    _delete(connection, File, condition, forgotten)


def _delete(
    connection: sa.Connection, table: Any, condition: sa.ColumnElement[bool], forgotten: Forgotten
) -> None:
    forgotten.rows[table.__tablename__] += connection.execute(sa.delete(table).where(condition)).rowcount
