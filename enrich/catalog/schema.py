"""The catalog's schema: Alembic from the first revision, on SQLite and PostgreSQL alike."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from enrich.catalog.engine import translated, writing
from enrich.errors import CatalogBusy, CatalogMissing

if TYPE_CHECKING:
    import alembic.config

__all__ = ["HEAD", "differences", "ensure", "revision", "upgrade"]

#: The newest revision; a test holds it equal to the migrations' head. Kept here so that a
#: start need not import Alembic only to learn that there is nothing to do.
HEAD = "0004"


def revision(engine: sa.Engine) -> str | None:
    """Return the schema's revision; None for an empty database.

    Raises
    ------
    CatalogMissing
        There is no such database, or nothing answers there. At the first contact waiting is no help.
    """
    try:
        with translated(), engine.connect() as connection:
            if not sa.inspect(connection).has_table("alembic_version"):
                return None
            return connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
    except CatalogBusy as error:
        raise CatalogMissing(f"{error}; is `catalog` right, and its server running?") from error


def ensure(engine: sa.Engine) -> None:
    """Make an empty database ready; leave one of this version alone.

    Raises
    ------
    CatalogMissing
        The schema is of another version; ``enrich db upgrade`` mends an older one.
    """
    found = revision(engine)
    if found is None:
        upgrade(engine)
    elif found != HEAD:
        raise CatalogMissing(
            f"the catalog's schema is at {found}, this version needs {HEAD}; say: enrich db upgrade"
        )


def upgrade(engine: sa.Engine) -> None:
    """Bring the schema to the newest revision; two processes at once do it once."""
    import alembic.command

    with (
        translated(),
        writing(engine).connect() as connection,
        _without_foreign_keys(connection),
        connection.begin(),
    ):
        alembic.command.upgrade(_config(connection), "head")


@contextlib.contextmanager
def _without_foreign_keys(connection: sa.Connection) -> Iterator[None]:
    """Let tables of SQLite be made anew: it can change little of one that is there."""
    if connection.dialect.name != "sqlite":
        yield
        return
    # Past SQLAlchemy, which would begin a transaction first; inside one the pragma does nothing.
    driver = connection.connection.driver_connection
    assert driver is not None
    driver.execute("PRAGMA foreign_keys=OFF")
    try:
        yield
    finally:
        driver.execute("PRAGMA foreign_keys=ON")


def differences(engine: sa.Engine) -> list[str]:
    """Return where the tables in the database differ from the models, one line each."""
    import alembic.autogenerate
    import alembic.migration

    from enrich.catalog.tables import Base

    with translated(), engine.connect() as connection:
        context = alembic.migration.MigrationContext.configure(connection, opts={"compare_type": True})
        return [repr(change) for change in alembic.autogenerate.compare_metadata(context, Base.metadata)]


def _config(connection: sa.Connection) -> alembic.config.Config:
    import alembic.config

    import enrich.migrations

    config = alembic.config.Config()
    config.set_main_option("script_location", str(Path(enrich.migrations.__file__).parent))
    config.attributes["connection"] = connection
    return config
