"""The daemon killed at random moments, at every commit, and one of two: nothing is lost, nothing is twice.

``make soak`` runs the full form of the first; docs/reliability.md has its figures.
"""

import functools
import itertools
import os
import random
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from described import check_annotated_once, check_done_once, owner, slow_plugin
from faults import deaths
from forks import Attempt, ForkServer, When, shared
from watching import watching
from workplace import Workplace

IS_SOAK = os.environ.get("ENRICH_SOAK") == "1"
KILLS = {"sqlite": 100, "postgresql": 100} if IS_SOAK else {"sqlite": 25, "postgresql": 8}
ASSETS = {"sqlite": 500, "postgresql": 500} if IS_SOAK else {"sqlite": 120, "postgresql": 40}

STEPS = ("first", "second")

#: Tables that only one kind of commit writes to.
COMMITS = ("annotations", "files", "roots", "runs")


@pytest.fixture(scope="module")
def server() -> ForkServer:
    return shared()


@pytest.fixture
def slow(place: Workplace) -> Workplace:
    prepare(place)
    return place


def prepare(place: Workplace) -> None:
    place.plugin("slow", slow_plugin(0.008))
    place.config |= {"steps": {name: {"plugin": "slow"} for name in STEPS}, "batch_size": 4}
    place.config["roots"] = [{"path": "inbox", "settle_seconds": 0.05, "rescan_seconds": 10_000}]


def is_done(place: Workplace, files: int) -> bool:
    return place.states("files") == {"present": files} and place.states("jobs") == {
        "done": files * len(STEPS)
    }


def is_at_work(place: Workplace, files: int) -> bool:
    return place.states("jobs").get("running", 0) > 0 or is_done(place, files)


def finish(place: Workplace, server: ForkServer, files: int, command: str = "watch") -> None:
    """Let a daemon, or a run, that nobody kills do what is left."""
    with server.running(place, command) as attempt:
        if command == "watch":
            # What is told to end before it could say how, ends at once.
            attempt.wait_until(lambda: owner(place) == attempt.pid, 20, "the root's owner")
            attempt.wait_until(lambda: is_done(place, files), 100, "all to be done")
            attempt.send_signal(signal.SIGTERM)
        assert attempt.wait(100) == 0, attempt.said
    check_done_once(place, STEPS)


@pytest.mark.timeout(1_200 if IS_SOAK else 120)
def test_killed_at_random_moments(slow: Workplace, server: ForkServer, database: str) -> None:
    chance = random.Random(23)
    kills, assets = KILLS[database], ASSETS[database]
    pictures = iter(range(assets))
    in_mid_job = 0
    assert slow.enrich("db", "upgrade").returncode == 0
    for number in range(kills):
        more = assets * (number + 1) // kills - assets * number // kills
        early = chance.randrange(more + 1)
        bring(slow, itertools.islice(pictures, early))
        with server.running(slow, "watch") as attempt:
            time.sleep(chance.uniform(0, 0.45))
            bring(slow, itertools.islice(pictures, more - early))
            time.sleep(chance.uniform(0, 0.25))
            if number % 2 and number < kills - 1:  # however slow the machine is, some are at work
                working = functools.partial(is_at_work, slow, assets * (number + 1) // kills)
                attempt.wait_until(working, 30, "jobs that run")
            assert attempt.stop(signal.SIGKILL) == -signal.SIGKILL, attempt.said
        slow.check_counters()
        check_annotated_once(slow)
        in_mid_job += slow.states("jobs").get("running", 0) > 0
    assert in_mid_job >= kills // 8, "it was killed at work"
    assert not is_done(slow, assets), "it was killed before its end"
    finish(slow, server, assets)
    print(
        f"\n{kills} kills, {in_mid_job} of them in mid-job; {assets} assets, {len(STEPS)} steps;"
        f" {len(slow.said()) - assets * len(STEPS)} descriptions were made again"
    )


def bring(place: Workplace, numbers: Iterator[int]) -> None:
    for number in numbers:
        place.draw(f"{number % 7}/{number:04}.png", (number % 256, number // 256, 200))


@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_at_every_commit(tmp_path: Path, server: ForkServer, ready_file: Path, when: When) -> None:
    """From a catalog without anything, each commit of a daemon's life up to the last of its drain."""
    about: list[set[str]] = []

    def dies(number: int, table: str = "") -> bool:
        folder = tmp_path / f"{number} {table}"
        folder.mkdir()
        place = Workplace(folder, f"sqlite:///{shutil.copy(ready_file, folder)}")
        prepare(place)
        place.draw_many(6)
        with server.running(place, "watch", kill_at=number, when=when, about=table) as attempt:
            attempt.wait_until(lambda: attempt.poll() is not None or is_done(place, 6), 30)
            code = attempt.stop()
        assert code in (-signal.SIGKILL, 0), attempt.said
        if code:
            place.check_counters()
            check_annotated_once(place)
            finish(place, server, 6, "run" if number % 2 else "watch")
        about.extend(deaths(place))
        place.engine.dispose()
        return bool(code)

    last = next(number for number in itertools.count(1) if not dies(number)) - 1
    assert last > len(COMMITS)
    print(f"\nkilled {when} each of the {last} commits of a daemon's life with 6 assets, {len(STEPS)} steps")
    # Threads commit, so the same number is not always the same commit.
    for table in uncovered(about):
        assert dies(1, table)


def uncovered(about: list[set[str]]) -> list[str]:
    """Return the tables of ``COMMITS`` to which no killed process wrote at its last."""
    return [table for table in COMMITS if not any(table in tables for tables in about)]


def test_killed_at_commit_after_commit(slow: Workplace, server: ForkServer, database: str) -> None:
    """The same catalog all the time: each daemon starts with what the one before left behind."""
    names = itertools.count(1)

    def live(number: int, when: When, table: str = "") -> int:
        slow.draw(f"{(files := next(names))}.png", (files, 0, 0))
        with server.running(slow, "watch", kill_at=number, when=when, about=table) as attempt:
            # One that has nothing left to do comes to its last commits when it is told to end.
            attempt.wait_until(lambda: died_or_done(slow, attempt, files), 30)
            assert attempt.stop() in (-signal.SIGKILL, 0), attempt.said
        return files

    # The first of all makes the tables, and the next first one begins to work.
    for number in (1, *range(1, {"sqlite": 14, "postgresql": 8}[database])):
        live(number, "before")
        live(number, "after")
    for table in uncovered(deaths(slow)):
        live(1, "before", table)
    assert uncovered(deaths(slow)) == []
    finish(slow, server, live(1, "after", "annotations"))


def died_or_done(place: Workplace, attempt: Attempt, files: int) -> bool:
    if attempt.poll() is not None:
        return True
    try:
        return is_done(place, files)
    except Exception as error:  # the first of them make the tables
        if "files" in str(error):
            return False
        raise


def test_two_daemons_share_the_work_and_not_the_root(slow: Workplace) -> None:
    slow.plugin("slow", slow_plugin(0.03))
    with watching(slow) as one:
        one.wait_until(lambda: owner(slow) == one.process.pid, 20, "the root's owner")
        with watching(slow) as two:
            assert "is looked after by another process" in two.said
            slow.draw_many(100)
            two.wait_for("SELECT state FROM jobs GROUP BY state", ["done"], 60)
            assert slow.column("SELECT count(DISTINCT run_id) FROM annotations") == [2], "both worked"
            assert owner(slow) == one.process.pid
            check_done_once(slow, STEPS)

            one.process.kill()
            one.process.wait()
            slow.draw("late.png", (200, 0, 0))
            two.wait_for("SELECT count(*) FROM files", 101, 20)
            assert owner(slow) == two.process.pid
            assert "is looked after by this process now" in two.said
            two.wait_for("SELECT state FROM jobs GROUP BY state", ["done"])
            assert two.stop()[0] == 0
    assert owner(slow) is None
    check_done_once(slow, STEPS)
    assert slow.column("SELECT count(*) FROM files") == [101]
