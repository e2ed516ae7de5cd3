"""Engines for the two databases, and the errors that come out of them.

An engine made here is for reading; ``writing(engine)`` is the same pool with transactions that
take the write lock at their begin. There is one such lock a catalog, on PostgreSQL too: every writer
moves the same few counters and would wait for the others all the same, only later, and in circles.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from enrich.errors import CatalogBusy, CatalogError, CatalogMissing, ConfigError, ExtraMissing

__all__ = ["BUSY_TIMEOUT_SECONDS", "create_engine", "translated", "writing"]

#: How long a writer waits for another process's transaction.
BUSY_TIMEOUT_SECONDS = 60

#: What a PostgreSQL session is told; PostgreSQL's manual, 19.3.2 and 19.11.1.
_SESSION = {
    "idle_in_transaction_session_timeout": BUSY_TIMEOUT_SECONDS * 1000,
    "tcp_keepalives_idle": 30,
    "tcp_keepalives_interval": 10,
    "tcp_keepalives_count": 3,
}

#: What the client does about a server that vanishes without a word; PostgreSQL's manual, 34.1.2.
_CLIENT = {
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": BUSY_TIMEOUT_SECONDS * 1000,
}

#: Connection, rollback (a deadlock), resources, operator's intervention, a transaction that was
#: silent for too long; PostgreSQL's manual, appendix A.
_PASSING_STATES = r"08|40|53|57|25P03"

_POSTGRES_MISSING = "PostgreSQL needs a package that is not installed: pip install 'enrich-dam[postgres]'"


def create_engine(url: str) -> sa.Engine:
    """Return an engine for an SQLAlchemy URL; nothing is connected yet.

    Raises
    ------
    ConfigError
        The URL is wrong, or names a database that enrich does not know.
    ExtraMissing
        The extra ``postgres`` is not installed.
    CatalogMissing
        The folder of an SQLite catalog cannot be made.
    """
    try:
        parsed = sa.engine.make_url(url)
    except sa.exc.ArgumentError as error:
        raise ConfigError(f"catalog: {url!r} is not a database URL, such as sqlite:///catalog.db") from error
    backend = parsed.get_backend_name()
    if backend == "sqlite":
        return _sqlite(parsed)
    if backend == "postgresql":
        return _postgresql(parsed)
    raise ConfigError(f"catalog: {backend} is not a catalog; use sqlite:///... or postgresql+psycopg://...")


def writing(engine: sa.Engine) -> sa.Engine:
    """Return ``engine`` with transactions that write."""
    return engine.execution_options(enrich_writes=True)


def _sqlite(url: sa.URL) -> sa.Engine:
    if not url.database or url.database == ":memory:":
        raise ConfigError(
            "catalog: a catalog in memory would be lost; name a file, such as sqlite:///catalog.db"
        )
    try:
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CatalogMissing(f"no place for the catalog {url.database}: {error.strerror}") from error
    engine = sa.create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_SECONDS})

    @sa.event.listens_for(engine, "connect")
    def configure(connection: Any, record: object) -> None:
        # The driver's own BEGIN comes late and deferred; ours is below.
        connection.isolation_level = None
        for pragma in (
            "journal_mode=WAL",  # readers never wait for the writer; sqlite.org/wal.html
            "synchronous=NORMAL",  # never corrupt in WAL mode; a power cut may cost the last commits
            "foreign_keys=ON",
            "secure_delete=ON",  # what is forgotten is overwritten, wherever its page went before
            f"busy_timeout={BUSY_TIMEOUT_SECONDS * 1000}",
        ):
            connection.execute(f"PRAGMA {pragma}")

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        # A deferred transaction that reads and then writes fails at once when another has written
        # meanwhile, whatever the busy timeout: a writer takes the lock first.
        writes = connection.get_execution_options().get("enrich_writes")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _postgresql(url: sa.URL) -> sa.Engine:
    try:
        engine = sa.create_engine(
            url.set(drivername="postgresql+psycopg"),
            pool_pre_ping=True,
            connect_args={name: value for name, value in _CLIENT.items() if name not in url.query},
        )
    except ImportError as error:
        raise ExtraMissing(_POSTGRES_MISSING) from error

    @sa.event.listens_for(engine, "connect")
    def configure(connection: Any, record: object) -> None:
        # A process that is stopped, or a machine that is cut off, must not hold the write lock or a root
        # for ever: the server ends what is silent in a transaction, and asks whether anybody is there.
        with connection.cursor() as cursor:
            for name, value in _SESSION.items():
                cursor.execute(f"SET {name} = {value}")
        connection.commit()

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        if connection.get_execution_options().get("enrich_writes"):
            connection.exec_driver_sql("SELECT pg_advisory_xact_lock(hashtext('enrich writer'))")

    return engine


def _is_passing(error: sa.exc.DBAPIError) -> bool:
    """Whether the same statement may succeed later."""
    if error.connection_invalidated:
        return True
    if re.match(_PASSING_STATES, getattr(error.orig, "sqlstate", None) or ""):
        return True
    if not isinstance(error, (sa.exc.OperationalError, sa.exc.InterfaceError)):
        return False
    # SQLite files a wrong statement under the same class as a locked file.
    return not re.match(r"no such (column|function)|near |ambiguous ", str(error.orig))


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Turn SQLAlchemy's errors into ours.

    Raises
    ------
    CatalogBusy
        The database is locked, restarting or unreachable. Retryable.
    CatalogMissing
        It cannot be opened at all, or has no tables of ours.
    CatalogError
        It refused the statement, or cannot hold a value.
    """
    try:
        yield
    except sa.exc.DBAPIError as error:
        text = " ".join(str(error.orig).split())
        if "unable to open database" in text or "does not exist" in text or "no such table" in text:
            raise CatalogMissing(f"the catalog is not ready ({text}); say: enrich db upgrade") from error
        if "disk is full" in text or "No space left" in text:
            raise CatalogBusy(f"the catalog's disk is full ({text}): make room on it") from error
        if _is_passing(error):
            raise CatalogBusy(f"the catalog does not answer: {text}") from error
        raise CatalogError(f"the catalog refused a statement: {text}") from error
    except sa.exc.StatementError as error:
        # Not the error itself: its text holds every value of the statement.
        raise CatalogError(f"the catalog cannot hold a value: {' '.join(str(error.orig).split())}") from error
    except sa.exc.TimeoutError as error:
        raise CatalogBusy("all connections to the catalog are in use") from error
