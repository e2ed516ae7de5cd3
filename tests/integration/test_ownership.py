"""One owner a root, by a lock that dies with its process."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from enrich.catalog.engine import create_engine
from enrich.catalog.ownership import Ownership
from enrich.errors import CatalogBusy, CatalogMissing

ROOT = Path("/pictures/of others")

HOLD = """
import sys
from pathlib import Path
from enrich.catalog.engine import create_engine
from enrich.catalog.ownership import Ownership
own = Ownership(create_engine(sys.argv[1]), Path(sys.argv[2]))
print(own.acquire(), flush=True)
input()
"""


@contextmanager
def holder(url: str, root: Path = ROOT) -> Iterator[subprocess.Popen[str]]:
    """Another process that takes the root and keeps it."""
    command = [sys.executable, "-c", HOLD, url, str(root)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "True\n"
        yield process
        process.kill()


def acquired(ownership: Ownership, seconds: float = 20) -> bool:
    end = time.monotonic() + seconds
    while not ownership.acquire():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def test_one_process_has_a_root_and_another_one_the_next(catalog_url: str) -> None:
    engine = create_engine(catalog_url)
    mine, other = Ownership(engine, ROOT), Ownership(engine, Path("/pictures/of mine"))
    with holder(catalog_url) as process:
        assert not mine.acquire()
        assert not mine.is_held()
        assert other.acquire(), "another root is nobody's business"
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert acquired(mine), "a killed process holds nothing"
    assert mine.is_held()
    mine.release()
    assert not mine.is_held()
    with holder(catalog_url):
        assert not mine.acquire()
    other.release()
    engine.dispose()


def test_two_catalogs_own_for_themselves(tmp_path: Path) -> None:
    with holder(f"sqlite:///{tmp_path / 'one.db'}"):
        engine = create_engine(f"sqlite:///{tmp_path / 'two.db'}")
        mine = Ownership(engine, ROOT)
        assert mine.acquire()
        mine.release()
        engine.dispose()


def test_a_server_that_forgot_is_noticed(catalog_url: str) -> None:
    engine = create_engine(catalog_url)
    mine = Ownership(engine, ROOT)
    assert mine.acquire()
    if engine.dialect.name == "postgresql":
        with engine.connect() as connection:
            ended = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted"
            assert connection.execute(sa.text(ended)).all()
        assert not mine.is_held()
        with holder(catalog_url):
            assert not mine.acquire()
    assert acquired(mine)
    mine.release()
    engine.dispose()


def test_one_process_has_a_root_once(catalog_url: str) -> None:
    """Two keepers of one root, by whatever mistake, are one too many; nor may the second free the first's."""
    engine = create_engine(catalog_url)
    one, two = Ownership(engine, ROOT), Ownership(engine, ROOT)
    assert one.acquire()
    assert not two.acquire()
    two.release()
    with holder(catalog_url, Path("/pictures/other")):
        assert not two.acquire()
    assert one.is_held()
    one.release()
    one.release()
    assert two.acquire()
    two.release()
    engine.dispose()


def test_a_connection_that_holds_nothing_is_not_kept(catalog_url: str) -> None:
    """A root of another process is asked for every two seconds, for months."""
    engine = create_engine(catalog_url)
    with holder(catalog_url):
        mine = Ownership(engine, ROOT)
        before = set(os.listdir("/proc/self/fd"))
        for _ in range(20):
            assert not mine.acquire()
        assert len(set(os.listdir("/proc/self/fd")) - before) <= 1
    engine.dispose()


def test_names_that_are_no_text_have_an_owner_too(catalog_url: str) -> None:
    engine = create_engine(catalog_url)
    odd = Ownership(engine, Path(os.fsdecode(b"/pictures/\xff'\n")))
    assert odd.acquire()
    odd.release()
    engine.dispose()


def test_a_lock_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'away' / 'c.db'}")
    (tmp_path / "away").rmdir()
    with pytest.raises(CatalogMissing, match="cannot be made: No such file"):
        Ownership(engine, ROOT).acquire()
    engine.dispose()


def test_a_server_that_is_not_there_is_waited_for() -> None:
    engine = create_engine("postgresql://nobody@127.0.0.1:1/none")
    with pytest.raises(CatalogBusy):
        Ownership(engine, ROOT).acquire()
    engine.dispose()
