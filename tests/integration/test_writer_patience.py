"""A database that is away is waited for, for as long as one is asked to, and nothing is lost."""

import threading
import time
from concurrent.futures import Future
from pathlib import Path

import pytest
import sqlalchemy as sa

from enrich.catalog import engine as engines
from enrich.catalog import writer as writers
from enrich.catalog.engine import create_engine, writing
from enrich.catalog.writer import Writer
from enrich.errors import CatalogBusy


class Away:
    """An engine whose transactions fail as a server does that is not there, until it is told otherwise."""

    def __init__(self, path: Path) -> None:
        self.engine = create_engine(f"sqlite:///{path}")
        with writing(self.engine).begin() as connection:
            connection.execute(sa.text("CREATE TABLE said (number INTEGER PRIMARY KEY)"))
        self.is_away = True
        sa.event.listen(self.engine, "begin", self._refuse)

    def _refuse(self, connection: sa.Connection) -> None:
        if self.is_away:
            raise sa.exc.OperationalError("BEGIN", {}, Exception("connection refused"))

    def numbers(self) -> list[int]:
        with self.engine.connect() as connection:
            return list(connection.execute(sa.text("SELECT number FROM said ORDER BY number")).scalars())


def say(number: int, connection: sa.Connection) -> int:
    connection.execute(sa.text("INSERT INTO said VALUES (:number)"), {"number": number})
    return number


def test_it_waits_says_so_once_and_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    away = Away(tmp_path / "c.db")
    writer = Writer(away.engine, patience_seconds=float("inf"))
    with caplog.at_level("WARNING"):
        futures = [writer.submit(lambda connection, n=n: say(n, connection)) for n in range(50)]
        time.sleep(1.2)
        assert writer.waits_because is not None
        assert "connection refused" in writer.waits_because
        assert not any(future.done() for future in futures)
        away.is_away = False
        assert [future.result(20) for future in futures] == list(range(50))
    writer.close()
    assert writer.waits_because is None
    assert away.numbers() == list(range(50))
    assert caplog.text.count("waiting for it, nothing is lost") == 1
    assert caplog.text.count("the catalog answers again") == 1


def test_patience_ends_when_it_is_told_to(tmp_path: Path) -> None:
    given_up = threading.Event()
    away = Away(tmp_path / "c.db")
    writer = Writer(away.engine, patience_seconds=float("inf"), given_up=given_up)
    threading.Timer(0.3, given_up.set).start()
    with pytest.raises(CatalogBusy, match="connection refused"):
        writer.write(lambda connection: say(1, connection))
    with pytest.raises(CatalogBusy):
        writer.write(lambda connection: say(2, connection))
    writer.close()


def test_little_patience_ends_by_itself(tmp_path: Path) -> None:
    writer = Writer(Away(tmp_path / "c.db").engine, patience_seconds=0.5)
    with pytest.raises(CatalogBusy):
        writer.write(lambda connection: say(1, connection))
    writer.close()


def test_an_absent_database_is_everybodys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that waits fails at once, and not one after the other, each after the whole wait."""
    monkeypatch.setattr(engines, "BUSY_TIMEOUT_SECONDS", 0.3)
    url = f"sqlite:///{tmp_path / 'c.db'}"
    engine, other = create_engine(url), create_engine(url)
    writer = Writer(engine, patience_seconds=0)
    started = time.monotonic()
    with writing(other).connect() as connection, connection.begin():
        futures = [writer.submit(lambda connection, n=n: say(n, connection)) for n in range(30)]
        for future in futures:
            with pytest.raises(CatalogBusy):
                future.result(30)
    assert time.monotonic() - started < 30 * 0.3
    writer.close()
    for one in (engine, other):
        one.dispose()


def test_more_than_fits_waits_outside(tmp_path: Path) -> None:
    """Whoever hands over more while the database is away waits, and is let go when the writer gives up."""
    given_up = threading.Event()
    away = Away(tmp_path / "c.db")
    writer = Writer(away.engine, patience_seconds=float("inf"), given_up=given_up)
    futures: list[Future[int]] = []

    def hand_over() -> None:
        for number in range(3_000):
            futures.append(writer.submit(lambda connection, n=number: say(n, connection)))

    handing = threading.Thread(target=hand_over)
    handing.start()
    handing.join(1)
    assert handing.is_alive()
    assert len(futures) <= 6 * writers.MAX_WAITING
    given_up.set()
    handing.join(20)
    assert not handing.is_alive()
    writer.close()
    assert all(isinstance(future.exception(0), CatalogBusy) for future in futures)
    assert len(futures) == 3_000


def test_what_was_written_before_it_went_away_is_not_written_again(tmp_path: Path) -> None:
    """A group is one transaction: it is repeated as a whole, or there as a whole."""
    away = Away(tmp_path / "c.db")
    away.is_away = False
    writer = Writer(away.engine, patience_seconds=float("inf"))
    calls: list[int] = []

    def say_and_fail_once(connection: sa.Connection) -> int:
        calls.append(1)
        say(2, connection)
        if len(calls) == 1:
            raise sa.exc.OperationalError("COMMIT", {}, Exception("server closed the connection"))
        return 2

    futures = [
        writer.submit(lambda connection: say(1, connection)),
        writer.submit(say_and_fail_once),
        writer.submit(lambda connection: say(3, connection)),
    ]
    assert [future.result(20) for future in futures] == [1, 2, 3]
    writer.close()
    assert away.numbers() == [1, 2, 3]
    assert len(calls) == 2
