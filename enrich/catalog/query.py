"""One read-only statement of a user's, with a time and a row limit.

Read-only is certain, not parsed: SQLite opens the file with ``mode=ro`` and asks an authorizer
about every action; PostgreSQL declares a cursor, which takes queries only, in a read-only
transaction and over the extended protocol, which takes one statement only.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa

from enrich.catalog.engine import translated
from enrich.errors import CatalogBusy, CatalogMissing, QueryError

__all__ = ["Rows", "query"]

#: What SQLite's authorizer lets through: reading tables, and calling functions but one.
_ALLOWED = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}
_FORBIDDEN_FUNCTIONS = {"load_extension", "fts3_tokenizer", "readfile", "writefile", "edit"}

#: SQLite asks whether to go on each time it did so many steps of its virtual machine.
_STEPS_BETWEEN_LOOKS = 10_000

#: No value is longer: one function call, which SQLite does not interrupt, then ends soon.
_MAX_VALUE_BYTES = 32_000_000


@dataclass(frozen=True, slots=True)
class Rows:
    """A query's answer; ``is_cut`` where the row limit left some out."""

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    is_cut: bool


def query(engine: sa.Engine, statement: str, *, max_rows: int, max_seconds: float) -> Rows:
    """Run one statement that reads.

    Raises
    ------
    QueryError
        The statement is wrong, would write, or takes too long. Not retryable.
    CatalogMissing, CatalogBusy
        There is no catalog, or it does not answer.
    """
    statement = statement.strip().rstrip(";")
    if not statement:
        raise QueryError("no statement; for example: SELECT * FROM overview")
    if "\0" in statement:
        raise QueryError("the statement holds a NUL character")
    if engine.dialect.name == "sqlite":
        return _sqlite(engine.url.database or "", statement, max_rows, max_seconds)
    return _postgresql(engine, statement, max_rows, max_seconds)


def _sqlite(path: str, statement: str, max_rows: int, max_seconds: float) -> Rows:
    if not Path(path).is_file():
        raise CatalogMissing(f"no catalog at {path}; `enrich run` makes one")
    try:
        connection = sqlite3.connect(f"file:{quote(path)}?mode=ro", uri=True, isolation_level=None)
    except sqlite3.Error as error:
        raise CatalogMissing(f"{path} cannot be opened: {error}") from error
    try:
        end = time.monotonic() + max_seconds
        connection.set_progress_handler(lambda: time.monotonic() > end, _STEPS_BETWEEN_LOOKS)
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _MAX_VALUE_BYTES)
        connection.set_authorizer(_authorize)
        cursor = connection.execute(statement)
        found = cursor.fetchmany(max_rows + 1)
        columns = [item[0] for item in cursor.description or ()]
    except sqlite3.Error as error:
        raise _sqlite_trouble(error, max_seconds) from error
    finally:
        connection.close()
    return _rows(columns, found, max_rows)


def _authorize(action: int, first: str | None, second: str | None, *_: str | None) -> int:
    is_forbidden = action == sqlite3.SQLITE_FUNCTION and second in _FORBIDDEN_FUNCTIONS
    return sqlite3.SQLITE_OK if action in _ALLOWED and not is_forbidden else sqlite3.SQLITE_DENY


def _sqlite_trouble(error: sqlite3.Error, max_seconds: float) -> QueryError | CatalogBusy:
    text = str(error)
    if text == "interrupted":
        return QueryError(_too_slow(max_seconds))
    if "locked" in text:
        return CatalogBusy(f"the catalog does not answer: {text}")
    if "authoriz" in text or "prohibited" in text or "readonly" in text:
        return QueryError(f"refused: `enrich query` only reads ({text})")
    if "one statement" in text:
        return QueryError("one statement at a time, please")
    return QueryError(f"{text}; docs/catalog.md lists tables and views")


def _postgresql(engine: sa.Engine, statement: str, max_rows: int, max_seconds: float) -> Rows:
    with translated(), engine.connect() as connection:
        connection = connection.execution_options(postgresql_readonly=True)
        connection.exec_driver_sql(f"SET LOCAL statement_timeout = {int(max_seconds * 1000)}")
        # A named cursor of the driver, not a DECLARE of our own: that would go over the simple
        # protocol, where `SELECT 1; COMMIT; DROP ...` leaves the read-only transaction.
        with contextlib.closing(connection.connection.cursor("asked")) as cursor:
            try:
                cursor.execute(statement)
                found = cursor.fetchmany(max_rows + 1)
            except engine.dialect.loaded_dbapi.Error as error:
                raise _postgresql_trouble(error, engine.dialect.loaded_dbapi, max_seconds) from error
            return _rows([item[0] for item in cursor.description or ()], list(found), max_rows)


def _postgresql_trouble(error: Any, dbapi: Any, max_seconds: float) -> QueryError | CatalogBusy:
    """Return our error for psycopg's, told by PostgreSQL's own codes (appendix A of its manual)."""
    text = " ".join((error.diag.message_primary or str(error)).split())
    if error.sqlstate == "57014":  # query_canceled
        return QueryError(_too_slow(max_seconds))
    if error.sqlstate == "25006":  # read_only_sql_transaction
        return QueryError(f"refused: `enrich query` only reads ({text})")
    if "multiple commands" in text:
        return QueryError("one statement at a time, please")
    if isinstance(error, dbapi.OperationalError) and (error.sqlstate or "08")[:2] in (
        "08",
        "57",
    ):  # connection, shutdown
        return CatalogBusy(f"the catalog does not answer: {text}")
    return QueryError(f"{text}; docs/catalog.md lists tables and views")


def _too_slow(max_seconds: float) -> str:
    return f"the query took more than {max_seconds:g} s; narrow it down, or raise --timeout"


def _rows(columns: Sequence[str], found: list[Any], max_rows: int) -> Rows:
    return Rows(tuple(columns), [tuple(row) for row in found[:max_rows]], len(found) > max_rows)
