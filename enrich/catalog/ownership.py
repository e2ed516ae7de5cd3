"""Who looks after a root: one process a catalog, by a lock that dies with it.

On PostgreSQL a session's advisory lock, which holds across machines; on SQLite, whose processes
share one machine, a lock on a file beside the catalog.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path

import sqlalchemy as sa

from enrich.catalog.clean import path_digest
from enrich.catalog.engine import translated
from enrich.errors import CatalogError, CatalogMissing

__all__ = ["Ownership"]


class Ownership:
    """The right to look after one root.

    Parameters
    ----------
    engine : sqlalchemy.Engine
        The catalog.
    root : Path
        The root.
    """

    def __init__(self, engine: sa.Engine, root: Path) -> None:
        self._engine = engine
        self._digest = path_digest(root)
        self._connection: sa.Connection | None = None
        self._descriptor: int | None = None

    def acquire(self) -> bool:
        """Take the right if nobody has it; return whether this process has it now.

        Raises
        ------
        CatalogBusy
            The database does not answer. Retryable.
        CatalogMissing
            The lock's file cannot be made.
        """
        if self.is_held():
            return True
        if self._engine.dialect.name == "postgresql":
            return self._acquire_session()
        return self._acquire_file()

    def is_held(self) -> bool:
        """Whether this process still has it: a database that was started again forgot."""
        if self._connection is None:
            return self._descriptor is not None
        try:
            with translated():
                self._connection.execute(sa.text("SELECT 1"))
        except CatalogError:
            self.release()
            return False
        return True

    def release(self) -> None:
        """Give it up."""
        connection, self._connection = self._connection, None
        if connection is not None:
            # The server frees the lock of a closed connection too, but only some moments later.
            with contextlib.suppress(sa.exc.SQLAlchemyError):
                connection.execute(sa.text("SELECT pg_advisory_unlock_all()"))
            with contextlib.suppress(sa.exc.SQLAlchemyError):
                connection.close()
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def _acquire_session(self) -> bool:
        # Two numbers of 32 bits: what the lock is for, and the root.
        lock = sa.text("SELECT pg_try_advisory_lock(hashtext('enrich root'), hashtext(:digest))")
        with translated():
            connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
            connection.detach()  # it ends with the lock, and never goes back to the pool with it
            try:
                is_mine = bool(connection.execute(lock, {"digest": self._digest}).scalar())
            except sa.exc.SQLAlchemyError:
                connection.close()
                raise
        if is_mine:
            self._connection = connection
        else:
            connection.close()
        return is_mine

    def _acquire_file(self) -> bool:
        # The name begins like the catalog's: a scan leaves it alone should it stand inside a root.
        path = Path(f"{self._engine.url.database}-root-{self._digest[:16]}.lock")
        try:
            # Never removed: a second process could hold a lock on the removed file, and a third on a new one.
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise CatalogMissing(f"{path} cannot be made: {error.strerror}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        except OSError as error:
            os.close(descriptor)
            raise CatalogMissing(f"{path} cannot be locked: {error.strerror}") from error
        self._descriptor = descriptor
        return True
