"""The worker beside others: whose jobs it takes back, which it gives back, and which it never touches."""

import contextlib
import datetime as dt
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from workplace import Workplace

from enrich import app, breaker, settings
from enrich import worker as workers
from enrich.assembly import Listeners, Parts, assemble
from enrich.catalog import queue
from enrich.catalog.engine import writing
from enrich.lease import worker_name
from enrich.reading import look
from enrich.scan import Candidate

ELSEWHERE = "another-host/1/2/3"

#: Fails for everyone while a file says so.
MOODY = """
import pathlib
import enrich

MOOD = pathlib.Path(__file__).with_name("bad")

@enrich.hookimpl
def enrich_data(renditions, context):
    if MOOD.exists():
        raise ValueError("not today")
    return [{"seen": True} for _ in renditions]
"""


#: Cannot take pictures that have less red, or more, than it is told.
PICKY = """
import enrich

@enrich.hookimpl
@enrich.each
def enrich_data(rendition):
    if not LOW <= rendition.pixels[0, 0, 0] < HIGH:
        raise ValueError("too little red, or too much")
    return {"seen": True}
"""


@contextlib.contextmanager
def assembled(place: Workplace) -> Iterator[Parts]:
    """Put a daemon's parts together; nothing is started."""
    built = app.build(settings.load(place._write_config()))
    try:
        with assemble(
            built.settings,
            built.engine,
            built.host,
            built.steps,
            kind="watch",
            listeners=Listeners(),
            given_up=threading.Event(),
        ) as made:
            yield made
    finally:
        built.close()


def take_in(place: Workplace, parts: Parts) -> None:
    """Catalogue what is in the inbox; its jobs are pending."""
    parts.intake.start()
    for path in sorted(place.inbox.iterdir()):
        parts.intake.offer(look(Candidate(place.inbox, path, None)), 0)
    assert parts.intake.wait_idle(20)
    assert parts.intake.stop(20)


@pytest.fixture
def database() -> str:
    """Most of this is the same on every database, and takes its time."""
    return "sqlite"


both = pytest.mark.parametrize("database", ["sqlite", "postgresql"])


@pytest.fixture
def parts(place: Workplace) -> Iterator[Parts]:
    """A daemon's parts, not yet started, on a catalog with 40 pending jobs."""
    place.plugin("moody", MOODY)
    place.config |= {"steps": {"moody": {"plugin": "moody"}}, "lease_seconds": 1, "batch_size": 4}
    place.draw_many(40)
    with assembled(place) as made:
        take_in(place, made)
        yield made


def execute(place: Workplace, sql: str, **values: Any) -> None:
    with writing(place.engine).begin() as connection:
        connection.execute(sa.text(sql), values)


def hold(place: Workplace, worker: str, count: int, until: dt.datetime) -> None:
    """Let another worker claim some jobs, with a lease of its clock."""
    with writing(place.engine).begin() as connection:
        queue.claim(
            connection,
            worker=worker,
            steps=["moody"],
            limit=count,
            lease_seconds=(until - dt.datetime.now(dt.UTC)).total_seconds(),
            now=dt.datetime.now(dt.UTC),
        )


def wait_for(place: Workplace, states: dict[str, int], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while place.states("jobs") != states:
        assert time.monotonic() < end, place.states("jobs")
        time.sleep(0.05)


def stalled(parts: Parts) -> threading.Event:
    """Let batches wait until the event is set."""
    go = threading.Event()
    real = parts.worker._pipeline.run

    def slow(*arguments: Any) -> Any:
        go.wait(60)
        return real(*arguments)

    parts.worker._pipeline.run = slow  # type: ignore[method-assign]  # a plugin cannot be told when to go on
    return go


def hours(count: float) -> dt.datetime:
    return dt.datetime.now(dt.UTC) + dt.timedelta(hours=count)


@pytest.mark.parametrize("ahead_hours", [-5, 5])
def test_a_silent_worker_loses_its_jobs_whatever_its_clock_says(
    place: Workplace, parts: Parts, ahead_hours: float
) -> None:
    parts.worker.start()
    wait_for(place, {"done": 40})
    execute(place, "UPDATE jobs SET state = 'pending' WHERE id <= 6")
    execute(place, "UPDATE counters SET value = 34 WHERE step = 'moody' AND state = 'done'")
    execute(place, "UPDATE counters SET value = 6 WHERE step = 'moody' AND state = 'pending'")
    hold(place, ELSEWHERE, 6, hours(ahead_hours))
    wait_for(place, {"done": 40})
    assert parts.worker.stop()
    place.check_counters()


def test_a_worker_that_renews_keeps_its_jobs_whatever_our_clock_says(place: Workplace, parts: Parts) -> None:
    parts.worker.start()
    wait_for(place, {"done": 40})
    execute(place, "UPDATE jobs SET state = 'pending' WHERE id <= 6")
    execute(place, "UPDATE counters SET value = 34 WHERE step = 'moody' AND state = 'done'")
    execute(place, "UPDATE counters SET value = 6 WHERE step = 'moody' AND state = 'pending'")
    hold(place, ELSEWHERE, 6, hours(-5))
    end = time.monotonic() + 3
    late = hours(-5)
    while time.monotonic() < end:  # three leases long
        late += dt.timedelta(seconds=0.3)
        execute(
            place,
            "UPDATE jobs SET lease_expires_at = :end WHERE worker = :worker",
            end=_text(place, late),
            worker=ELSEWHERE,
        )
        time.sleep(0.3)
    assert place.states("jobs") == {"done": 34, "running": 6}
    assert parts.worker.stop()


def _text(place: Workplace, instant: dt.datetime) -> Any:
    return (
        instant
        if place.engine.dialect.name == "postgresql"
        else instant.isoformat(sep=" ", timespec="microseconds")
    )


@both
def test_a_claim_that_nobody_knows_of_is_given_back(place: Workplace, parts: Parts) -> None:
    """As after a connection that broke during the commit of a claim."""
    hold(place, worker_name(), 40, hours(1))
    assert place.states("jobs") == {"running": 40}
    parts.worker.start()
    wait_for(place, {"done": 40})
    assert place.column("SELECT DISTINCT attempts FROM jobs") == [1], "it cost no attempt"
    assert parts.worker.stop()
    place.check_counters()


def test_a_step_that_fails_for_everyone_is_paused_and_comes_back(
    place: Workplace, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(breaker, "PAUSE_SECONDS", 1.0)
    bad = place.folder / "plugins" / "bad"
    bad.touch()
    parts.worker.start()
    end = time.monotonic() + 20
    while not place.column("SELECT trouble FROM steps WHERE trouble IS NOT NULL"):
        assert time.monotonic() < end
        time.sleep(0.05)
    (row,) = place.rows("SELECT trouble, paused_until FROM steps")
    assert "not today" in row["trouble"]
    failed = place.states("jobs").get("failed", 0)
    assert failed < breaker.TRIP_FAILURES + 8, "two batches at most came to an end before it was noticed"
    bad.unlink()
    wait_for(place, {"done": 40 - failed, **({"failed": failed} if failed else {})})
    assert place.rows("SELECT trouble, paused_until FROM steps") == [{"trouble": None, "paused_until": None}]
    assert place.column("SELECT DISTINCT attempts FROM jobs WHERE state = 'done'") == [1]
    assert parts.worker.stop()
    place.check_counters()


def test_a_file_that_is_another_one_by_now_is_not_described_in_its_name(
    place: Workplace, parts: Parts
) -> None:
    changed = place.draw("0007.png", (99, 98, 97))
    gone = place.inbox / "0008.png"
    gone.unlink()
    parts.worker.start()
    wait_for(place, {"done": 38, "pending": 2})
    waiting = place.rows("SELECT attempts, error_kind FROM jobs WHERE state = 'pending'")
    assert waiting == [{"attempts": 0, "error_kind": "vanished"}] * 2
    assert changed.exists()
    assert parts.worker.stop()


def test_roots_that_are_not_there_are_left_alone(
    place: Workplace, parts: Parts, caplog: pytest.LogCaptureFixture
) -> None:
    place.inbox.rename(place.folder / "away")
    with caplog.at_level("WARNING"):
        parts.worker.start()
        time.sleep(2)
        assert place.states("jobs") == {"pending": 40}
    assert caplog.text.count("its assets wait") <= 2 * workers.LANES
    assert place.column("SELECT max(attempts) FROM jobs") == [0]
    assert parts.worker.stop()
    Path(place.folder / "away").rename(place.inbox)


def test_a_batch_that_takes_too_long_is_given_back(place: Workplace, parts: Parts) -> None:
    go = stalled(parts)
    parts.worker.start()
    wait_for(place, {"pending": 32, "running": 8})
    assert not parts.worker.stop(0.3)
    assert place.states("jobs") == {"pending": 40}
    go.set()
    time.sleep(0.5)
    assert place.column("SELECT count(*) FROM annotations") == [0], "what comes later is not recorded"
    place.check_counters()


@pytest.mark.parametrize(("low", "high"), [(12, 256), (24, 34)], ids=["the oldest", "both ends"])
def test_some_assets_that_no_plugin_can_take_stop_nobody_else(
    lite_place: Workplace, monkeypatch: pytest.MonkeyPatch, low: int, high: int
) -> None:
    """There are more of them than open the circuit, and a trial meets them first."""
    for name, seconds in (("PAUSE_SECONDS", 0.1), ("MAX_PAUSE_SECONDS", 0.2), ("TRIAL_SECONDS", 0.1)):
        monkeypatch.setattr(breaker, name, seconds)
    monkeypatch.setattr(workers, "IDLE_SECONDS", 0.05)
    lite_place.plugin("picky", PICKY.replace("LOW", str(low)).replace("HIGH", str(high)))
    lite_place.config |= {"steps": {"picky": {"plugin": "picky"}}, "batch_size": 4}
    lite_place.draw_many(40)
    with assembled(lite_place) as parts:
        take_in(lite_place, parts)
        parts.worker.start()
        end = time.monotonic() + 20
        while lite_place.states("jobs").get("done", 0) < min(high, 40) - low:
            assert time.monotonic() < end, lite_place.states("jobs")
            time.sleep(0.05)
        assert parts.worker.stop()
    lite_place.check_counters()


@pytest.mark.parametrize("ahead_hours", [-5, 5])
def test_a_living_worker_keeps_its_jobs_when_another_one_starts(
    place: Workplace, parts: Parts, ahead_hours: float
) -> None:
    """Whatever the two clocks say: a start is no reason to take what was not watched."""
    code = "from enrich.lease import worker_name; print(worker_name(), flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as living:
        assert living.stdout is not None
        name = living.stdout.readline().strip()
        hold(place, name, 6, hours(ahead_hours))
        parts.worker.start()
        assert place.column(f"SELECT count(*) FROM jobs WHERE worker = '{name}'") == [6]
        wait_for(place, {"done": 40}, 20)  # it was watched, and did not renew
        living.kill()
    assert parts.worker.stop()
    place.check_counters()


def test_its_own_jobs_are_never_taken_back(place: Workplace, parts: Parts) -> None:
    """However long a batch takes, and wherever the clock was set meanwhile."""
    go = stalled(parts)
    parts.worker.start()
    wait_for(place, {"pending": 32, "running": 8})
    execute(
        place, "UPDATE jobs SET lease_expires_at = :end WHERE state = 'running'", end=_text(place, hours(-5))
    )
    time.sleep(2.5)  # longer than two leases
    assert place.states("jobs") == {"pending": 32, "running": 8}
    assert place.rows("SELECT DISTINCT attempts, error_kind FROM jobs WHERE state = 'running'") == [
        {"attempts": 1, "error_kind": None}
    ]
    go.set()
    wait_for(place, {"done": 40})
    assert parts.worker.stop()
    place.check_counters()


@both
def test_told_to_end_it_records_what_it_has_and_gives_back_the_rest(place: Workplace, parts: Parts) -> None:
    go, has_begun = threading.Event(), threading.Event()
    real = parts.worker._pipeline.run

    def slow(*arguments: Any) -> Any:
        has_begun.set()
        go.wait(60)
        return real(*arguments)

    parts.worker._pipeline.run = slow  # type: ignore[method-assign]  # a plugin cannot be told when to go on
    parts.worker.start()
    assert has_begun.wait(20)
    threading.Timer(0.3, go.set).start()
    assert parts.worker.stop(20)
    done = place.states("jobs")["done"]
    assert place.states("jobs") == {"done": done, "pending": 40 - done}
    assert 4 <= done <= 4 * workers.LANES, "what was in flight, and nothing more"
    assert place.column("SELECT count(*) FROM annotations") == [done]
    place.check_counters()
