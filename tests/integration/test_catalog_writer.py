"""The writer: many hands, one transaction, and nobody pays for a neighbour."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from enrich.catalog import writer as writers
from enrich.catalog.engine import create_engine
from enrich.catalog.writer import Writer
from enrich.errors import CatalogError


@pytest.fixture
def engine(catalog_url: str) -> Iterator[sa.Engine]:
    """Any database will do; it need not be a catalog."""
    engine = create_engine(catalog_url)
    yield engine
    engine.dispose()


@pytest.fixture
def writer(engine: sa.Engine) -> Iterator[Writer]:
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE said (number INTEGER PRIMARY KEY)"))
    writer = Writer(engine)
    yield writer
    writer.close()


class Say:
    """Writes a number, and remembers in which transaction."""

    def __init__(self, number: int, transactions: list[object] | None = None) -> None:
        self.number = number
        self.transactions = transactions

    def __call__(self, connection: sa.Connection) -> int:
        if self.transactions is not None:
            self.transactions.append(connection.get_transaction())
        connection.execute(sa.text("INSERT INTO said VALUES (:number)"), {"number": self.number})
        return self.number


def fail(connection: sa.Connection) -> None:
    connection.execute(sa.text("INSERT INTO said VALUES (99999)"))
    raise ZeroDivisionError("mine")


def numbers(engine: sa.Engine) -> list[int]:
    with engine.connect() as connection:
        return list(connection.execute(sa.text("SELECT number FROM said ORDER BY number")).scalars())


def test_many_threads_get_their_own_results(engine: sa.Engine, writer: Writer) -> None:
    def work(number: int) -> int:
        say = Say(number)
        return writer.write(say) if number % 3 else writer.submit(say).result()

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(work, range(300))) == list(range(300))
    assert numbers(engine) == list(range(300))


def test_waiting_work_shares_a_transaction_in_its_order(writer: Writer) -> None:
    transactions: list[object] = []
    futures = [writer.submit(Say(number, transactions)) for number in range(20)]
    assert writer.write(Say(20, transactions)) == 20
    assert [future.result() for future in futures] == list(range(20))
    assert len({id(transaction) for transaction in transactions}) <= 2


def test_an_urgent_write_waits_for_no_company(writer: Writer) -> None:
    writer.write(Say(0))
    started = time.monotonic()
    for number in range(1, 11):
        writer.write(Say(number))
    assert time.monotonic() - started < 10 * writers.FLUSH_SECONDS


def test_a_failure_is_nobody_elses(engine: sa.Engine, writer: Writer) -> None:
    before, failing, after = writer.submit(Say(1)), writer.submit(fail), writer.submit(Say(2))
    assert (before.result(), after.result()) == (1, 2)
    with pytest.raises(ZeroDivisionError, match="mine"):
        failing.result()
    assert numbers(engine) == [1, 2], "what the failing one wrote is undone"
    with pytest.raises(CatalogError, match="refused"):
        writer.write(Say(1))
    assert writer.write(Say(3)) == 3


def test_a_result_is_told_after_its_commit(engine: sa.Engine, writer: Writer) -> None:
    seen: list[list[int]] = []
    future: Future[int] = writer.submit(Say(7))
    future.add_done_callback(lambda done: seen.append(numbers(engine)))
    writer.write(Say(8))
    assert seen == [[7, 8]] or seen == [[7]]


def test_close_writes_what_waits_and_takes_no_more(engine: sa.Engine, writer: Writer) -> None:
    futures = [writer.submit(Say(number)) for number in range(500)]
    writer.close()
    writer.close()
    assert [future.result(timeout=0) for future in futures] == list(range(500))
    assert len(numbers(engine)) == 500
    with pytest.raises(CatalogError, match="closed"):
        writer.submit(Say(1000))


def test_whoever_submits_while_it_closes_gets_an_answer(writer: Writer) -> None:
    answers: list[str] = []

    def hurry(start: int) -> None:
        try:
            for number in range(start, start + 100_000):
                writer.submit(Say(number)).result(timeout=20)
        except CatalogError:
            answers.append("closed")

    threads = [threading.Thread(target=hurry, args=(start * 100_000,)) for start in range(8)]
    for thread in threads:
        thread.start()
    time.sleep(0.05)
    writer.close()
    for thread in threads:
        thread.join()
    assert answers == ["closed"] * 8


def test_a_locked_catalog_is_waited_for(engine: sa.Engine, writer: Writer) -> None:
    if engine.dialect.name == "postgresql":
        pytest.skip("a PostgreSQL writer waits inside the server")
    with engine.connect() as connection, ThreadPoolExecutor(1) as pool:
        connection.exec_driver_sql("COMMIT")
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        waiting = pool.submit(writer.write, Say(1))
        time.sleep(0.3)
        assert not waiting.done()
        connection.exec_driver_sql("ROLLBACK")
        assert waiting.result(timeout=20) == 1
