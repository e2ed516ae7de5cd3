"""What is said of the catalog's state, and what lacks which annotation and why."""

import dataclasses
import datetime as dt
import json
import os
import pty
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from catalog_kit import NOW, ROOT, Catalog, file, step
from workplace import Workplace, stop

from enrich.catalog import control, files, report, roots, steps
from enrich.catalog.engine import writing
from enrich.catalog.record import JobResult

PLUGGED, AWAY = ROOT / "plugged", ROOT / "away"


def said(path: Path, **facts: Any) -> roots.RootReport:
    plain = {"state": "online", "reason": None, "mode": "events", "device": 7, "owner": "here/1/23/45"}
    more = {"folders": 3, "watches": 3, "scanned_at": NOW, "events_seen": 5}
    return roots.RootReport(path, **{**plain, **more, **facts})


def lacking(catalog: Catalog) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for row in report.lacking(catalog.engine)]


# What is counted


def test_an_empty_catalog(catalog: Catalog) -> None:
    found = report.status(catalog.engine)
    assert (found["assets"], found["files"], found["steps"], found["roots"]) == (0, {}, [], [])
    assert found["paused_at"] is None
    assert lacking(catalog) == []


def test_assets_are_counted_with_steps_and_without(catalog: Catalog) -> None:
    catalog.ingest(file("a.png", "one"), file("b.png", "two"), file("c.txt"))
    assert report.status(catalog.engine)["assets"] == 2
    catalog.sync(step("a"), step("b"))
    for asset in catalog.claim(limit=1):
        catalog.finish(asset)
    found = report.status(catalog.engine)
    assert (found["assets"], found["files"]) == (2, {"present": 2, "ignored": 1})
    assert [(row["step"], row["pending"], row["done"]) for row in found["steps"]] == [
        ("a", 1, 1),
        ("b", 1, 1),
    ]
    catalog.write(control.pause, NOW)
    assert report.status(catalog.engine)["paused_at"] == NOW


# What lacks what


@pytest.fixture
def held_up(catalog: Catalog) -> Catalog:
    """One asset for each reason, and a second one that is done; all of the step ``a``."""
    (generator_id,) = catalog.sync(step("a")).values()
    records = {
        name: file(f"{name}.png", name) for name in ("done", "skip", "fail", "retry", "far", "lease", "due")
    }
    there = dataclasses.replace(file("plugged/two.png", "two"), root=PLUGGED)
    away = dataclasses.replace(file("away/two.png", "two"), root=AWAY)
    alone = dataclasses.replace(file("away/off.png", "off"), root=AWAY)
    catalog.ingest(*records.values(), there, away, alone, file("gone.png", "gone"))
    (gone_id,) = catalog.column("SELECT id FROM files WHERE path = '/pictures/gone.png'")
    now = dt.datetime.now(dt.UTC)
    results = {
        "done": {"state": "done"},
        "skip": {"state": "skipped", "reason": "outside_domain"},
        "fail": {"state": "failed", "error_kind": "plugin_failed", "error": "it raised"},
        "retry": {"state": "pending", "retry_at": now + dt.timedelta(minutes=10)},
        "far": {"state": "pending", "retry_at": now + dt.timedelta(days=300)},
        "lease": None,
    }
    for asset in catalog.claim(names=["a"], limit=6):
        facts = results[asset.path.stem]
        if facts is not None:
            (job,) = asset.jobs
            catalog.record(JobResult(job.id, asset.id, "a", 1, generator_id=generator_id, **facts))
    catalog.write(files.mark_missing, [gone_id], NOW)
    catalog.write(roots.record, said(PLUGGED), NOW)
    catalog.write(roots.record, said(AWAY, state="offline", reason="is not there"), NOW)
    return catalog


def test_every_asset_without_an_annotation_has_its_reason(held_up: Catalog) -> None:
    found = report.lacking(held_up.engine)
    (later,) = [row.pop("until") for row in found if row["why"] == "to be tried again"]
    assert 0 < (later - dt.datetime.now(dt.UTC)).total_seconds() <= 600
    assert [row.pop("until", None) for row in found] == [None] * len(found)
    assert found == [
        # One was put off by 300 days, so by another clock; two.png is there besides; one was never held up.
        {"step": "a", "state": "pending", "why": "due", "count": 3},
        {"step": "a", "state": "pending", "why": "its root is offline", "count": 1},
        {"step": "a", "state": "pending", "why": "no present file", "count": 1},
        {"step": "a", "state": "pending", "why": "to be tried again", "count": 1},
        {"step": "a", "state": "running", "why": "under way", "count": 1},
        {"step": "a", "state": "skipped", "why": "outside_domain", "count": 1},
        {"step": "a", "state": "failed", "why": "plugin_failed", "count": 1},
    ]
    due = held_up.claim(names=["a"], now=dt.datetime.now(dt.UTC))
    assert {asset.path.name for asset in due} == {"far.png", "two.png", "due.png"}, "as claims see it"


def test_a_paused_step_and_a_paused_catalog_come_first(held_up: Catalog) -> None:
    until = NOW + dt.timedelta(minutes=5)
    held_up.sync(step("a"), step("b"))
    held_up.write(steps.set_trouble, "a", "the model is broken", until)
    assert lacking(held_up) == [
        ("a", "pending", "the step is paused", 6, until),
        ("a", "running", "under way", 1, None),
        ("a", "skipped", "outside_domain", 1, None),
        ("a", "failed", "plugin_failed", 1, None),
        ("b", "pending", "due", 8, None),
        ("b", "pending", "its root is offline", 1, None),
        ("b", "pending", "no present file", 1, None),
    ]
    held_up.write(control.pause, NOW)
    assert [row for row in lacking(held_up) if row[1] == "pending"] == [
        ("a", "pending", "the catalog is paused", 6, None),
        ("b", "pending", "the catalog is paused", 10, None),
    ]


def test_a_removed_step_lacks_nothing(held_up: Catalog) -> None:
    held_up.sync(step("b"))
    assert {row[0] for row in lacking(held_up)} == {"b"}


ASSETS, STEPS = 40_000, ("a", "b", "c", "d", "e")


def fill(engine: sa.Engine) -> None:
    """Write as many jobs as a busy catalog has, with nothing but SQL."""
    numbers = f"WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {ASSETS}) SELECT"
    at = "CAST(:now AS TIMESTAMP WITH TIME ZONE)" if engine.dialect.name == "postgresql" else ":now"
    now = NOW.isoformat(" ", "microseconds")
    place = "CASE n % 4 WHEN 0 THEN '/away' ELSE '/here' END"
    state = "CASE n % 10 WHEN 3 THEN 'missing' ELSE 'present' END"
    skipped = "CASE n % 5 WHEN 0 THEN 'skipped' ELSE 'pending' END, CASE n % 5 WHEN 0 THEN 'no_text' END"
    statements = [
        "INSERT INTO assets (image_hash, media_type, width_px, height_px, pages, ingested_at) "
        f"{numbers} 'h' || n, 'image/png', 8, 6, 1, {at} FROM s",
        "INSERT INTO files (asset_id, root, path, path_digest, folder, size_bytes, modified_ns, changed_ns, "
        f"inode, state, seen_at) {numbers} n, {place}, '/x' || n, 'd' || n, '/x', 1, 1, 1, 1, {state}, {at} "
        "FROM s",
    ]
    for name in STEPS:
        statements += [
            "INSERT INTO jobs (asset_id, step, state, reason, attempts, priority, created_at, updated_at) "
            f"{numbers} n, '{name}', {skipped}, 0, 0, {at}, {at} FROM s",
            f"INSERT INTO counters VALUES ('{name}', 'pending', 0, {ASSETS * 4 // 5}), "
            f"('{name}', 'skipped', 0, {ASSETS // 5})",
        ]
    with writing(engine).begin() as connection:
        for statement in statements:
            connection.execute(sa.text(statement), {"now": now} if ":now" in statement else {})


@pytest.mark.timeout(60)
def test_two_hundred_thousand_jobs_are_looked_through(catalog: Catalog) -> None:
    catalog.sync(*map(step, STEPS))
    catalog.write(roots.record, said(Path("/away"), state="offline"), NOW)
    fill(catalog.engine)
    pending = [n for n in range(1, ASSETS + 1) if n % 5]
    missing = sum(n % 10 == 3 for n in pending)
    away = sum(n % 4 == 0 for n in pending if n % 10 != 3)
    assert lacking(catalog) == [
        row
        for name in STEPS
        for row in (
            (name, "pending", "due", len(pending) - missing - away, None),
            (name, "pending", "its root is offline", away, None),
            (name, "pending", "no present file", missing, None),
            (name, "skipped", "no_text", ASSETS // 5, None),
        )
    ]


# The command


def record(place: Workplace, report: roots.RootReport) -> None:
    with writing(place.engine).begin() as connection:
        roots.record(connection, report, dt.datetime.now(dt.UTC))


def test_status_shows_all_of_it(place: Workplace) -> None:
    place.draw_many(2)
    place.run()
    record(place, said(place.inbox, events_lost=4, rescued=9, watches=2))
    record(place, said(AWAY, state="offline", reason="is not there", mode=None, owner="odd", watches=None))
    with writing(place.engine).begin() as connection:
        control.pause(connection, NOW)
        steps.set_trouble(connection, "light", "it fails\x1b[2J", NOW)

    done = place.enrich("status", "--json")
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    assert {"assets", "files", "steps", "roots", "paused_at", "runs", "lacking", "failures"} == set(shown)
    assert [(root["path"], root["state"]) for root in shown["roots"]] == sorted(
        [(str(AWAY), "offline"), (str(place.inbox), "online")]
    )
    assert dt.datetime.fromisoformat(shown["paused_at"]) == NOW
    assert shown["lacking"] == []

    text = place.enrich("status").stdout
    assert "paused since 2026-01-02 03:04:05 UTC" in text
    assert "it fails\\x1b[2J (paused until 03:04:05 UTC)" in text
    (online,) = [line.split() for line in text.splitlines() if line.strip().startswith(str(place.inbox))]
    assert online[1:9] == ["online", "events", "2", "of", "3", "5", "4", "9"]
    assert online[9:11] == ["here", "23"], "the host and the process"
    (offline,) = [line for line in text.splitlines() if line.strip().startswith(str(AWAY))]
    assert "offline: is not there" in offline
    assert "- of 3" in offline


def test_status_says_what_is_lacking(lite_place: Workplace) -> None:
    lite_place.plugin(
        "picky", "import enrich\n@enrich.hookimpl\ndef enrich_tag(renditions):\n    return 1 / 0\n"
    )
    lite_place.config["steps"]["picky"] = {"plugin": "picky"}
    lite_place.draw_many(3)
    assert lite_place.enrich("run").returncode == 1
    text = lite_place.enrich("status").stdout
    (lacking,) = [line.split() for line in text.splitlines() if line.split()[:2] == ["picky", "failed"]]
    assert lacking == ["picky", "failed", "plugin_failed", "3"]


# Followed


class Follower:
    """A running ``enrich status --follow`` and the lines that it prints."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def line(self) -> str:
        """The next line."""
        return self._lines.get(timeout=60)

    def is_quiet(self, seconds: float) -> bool:
        time.sleep(seconds)
        return self._lines.empty()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)

    def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        code = self.process.wait(timeout=60)
        self._thread.join()
        return code


@contextmanager
def following(place: Workplace, *options: str) -> Iterator[Follower]:
    with place.enriching("status", "--follow", "--interval", "0.1", *options) as process:
        yield Follower(process)


def test_a_line_for_each_change(lite_place: Workplace) -> None:
    lite_place.draw_many(2)
    lite_place.run()
    with following(lite_place) as follower:
        assert "2 assets; files: 2 present; light: 2 done" in follower.line()
        assert follower.is_quiet(0.5), "nothing changed"
        assert lite_place.enrich("pause").returncode == 0
        assert follower.line().rstrip().endswith("light: 2 done; paused")
        record(lite_place, said(AWAY, state="offline", reason="is not there"))
        assert f"; {AWAY} offline: is not there; paused" in follower.line()
        assert follower.end(signal.SIGINT) == 130


def test_json_lines(place: Workplace) -> None:
    place.draw_many(2)
    place.run()
    record(place, said(AWAY))
    with following(place, "--json") as follower:
        first = json.loads(follower.line())
        assert (first["assets"], first["error"], first["steps"][0]["done"]) == (2, None, 2)
        assert "lacking" not in first
        record(place, said(AWAY, events_seen=0))
        assert follower.is_quiet(0.5), "only that it was heard of"
        record(place, said(AWAY, rescued=1))
        second = json.loads(follower.line())
        assert [root["rescued"] for root in second["roots"]] == [1]
        assert dt.datetime.fromisoformat(second["at"]) > dt.datetime.fromisoformat(first["at"])
        assert follower.end(signal.SIGTERM) == 0


def test_a_catalog_that_is_away_for_a_while(place: Workplace) -> None:
    place.run()
    (made,) = view_of(place)
    with following(place, "--json") as follower:
        assert json.loads(follower.line())["error"] is None
        execute(place, "DROP VIEW coverage")
        assert "coverage" in json.loads(follower.line())["error"]
        execute(place, made)
        again = json.loads(follower.line())
        assert (again["error"], again["assets"]) == (None, 0)
        assert follower.end(signal.SIGINT) == 130


@pytest.mark.parametrize("database", ["postgresql"])
def test_a_server_that_breaks_its_connections(place: Workplace) -> None:
    place.run()
    server = sa.create_engine(place.engine.url.set(database="postgres"), isolation_level="AUTOCOMMIT")
    with following(place) as follower, server.connect() as connection:
        before = follower.line()
        connection.execute(sa.text("ALTER DATABASE empty ALLOW_CONNECTIONS false"))
        kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'empty'"
        connection.execute(sa.text(kill))
        assert "does not answer" in follower.line()
        connection.execute(sa.text("ALTER DATABASE empty ALLOW_CONNECTIONS true"))
        while "does not answer" in (line := follower.line()):
            pass
        assert line.split()[1:] == before.split()[1:]
        assert follower.end(signal.SIGINT) == 130
    server.dispose()


def view_of(place: Workplace) -> list[str]:
    if place.engine.dialect.name == "sqlite":
        return place.column("SELECT sql FROM sqlite_master WHERE name = 'coverage'")
    return place.column("SELECT 'CREATE VIEW coverage AS ' || pg_get_viewdef('coverage')")


def execute(place: Workplace, statement: str) -> None:
    with writing(place.engine).begin() as connection:
        connection.exec_driver_sql(statement)


def read_until(descriptor: int, is_enough: Callable[[str], bool]) -> str:
    """Read a terminal until what was written on it is enough."""
    text = ""
    while not is_enough(text):
        text += os.read(descriptor, 65_536).decode()
    return text


def test_a_terminal_is_redrawn(lite_place: Workplace) -> None:
    lite_place.draw_many(2)
    lite_place.run()
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "200", "LINES": "50"}
    command = [sys.executable, "-m", "enrich", "status", "--follow", "--interval", "0.1"]
    with subprocess.Popen(
        command, cwd=lite_place.folder, stdout=theirs, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        os.close(theirs)
        try:
            first = read_until(ours, lambda text: "light" in text and "Ctrl-C" in text)
            assert "2 assets; files: 2 present" in first
            assert lite_place.enrich("pause").returncode == 0
            assert "\x1b[" in read_until(ours, lambda text: "paused since" in text), "the cursor went up"
            code, errors = stop(process, signal.SIGINT)
        finally:
            process.kill()
    os.close(ours)
    assert code == 130, errors
