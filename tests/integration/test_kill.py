"""Killed in the middle, and several at once: afterwards every job was done once."""

import random
import signal
import time
from collections import Counter

import forks
import pytest
from workplace import LOUD, Workplace

ASSETS = 300
STEPS = ("first", "second")


@pytest.fixture
def loud(place: Workplace) -> Workplace:
    place.plugin("loud", LOUD)
    place.config |= {"steps": {name: {"plugin": "loud"} for name in STEPS}, "batch_size": 8}
    place.draw_many(ASSETS)
    return place


def check_all_done_once(place: Workplace) -> None:
    place.check_counters()
    assert place.states("jobs") == {"done": ASSETS * len(STEPS)}
    said = place.rows("SELECT asset_id, step, count(*) AS n FROM annotations GROUP BY asset_id, step")
    assert len(said) == ASSETS * len(STEPS)
    assert {row["n"] for row in said} == {1}, "none twice, superseded ones included"
    assert place.states("files") == {"present": ASSETS}
    assert place.column("SELECT count(*) FROM assets") == [ASSETS]


def test_killed_at_random_moments(loud: Workplace, database: str) -> None:
    chance = random.Random(11)
    kills = {"sqlite": 10, "postgresql": 2}[database]
    for _ in range(kills):
        goal = len(loud.said()) + chance.randrange(1, 45)
        with forks.shared().running(loud, "run") as attempt:
            attempt.wait_until(lambda goal=goal: len(loud.said()) >= goal)
            time.sleep(chance.uniform(0, 0.05))
            assert attempt.stop(signal.SIGKILL) == -signal.SIGKILL, attempt.said
    assert loud.states("jobs") != {"done": ASSETS * len(STEPS)}, "it was killed before its end"
    assert loud.column("SELECT count(*) FROM runs WHERE ended_at IS NULL") == [kills]

    done = loud.enrich("run")
    assert done.returncode == 0, done.stderr
    check_all_done_once(loud)
    assert len(loud.said()) >= ASSETS * len(STEPS)


def test_two_at_once_do_no_job_twice(loud: Workplace) -> None:
    server = forks.shared()
    with server.running(loud, "run") as one, server.running(loud, "run") as two:
        for attempt in (one, two):
            assert attempt.wait(100) == 0, attempt.said
            assert "trying again" not in attempt.said, "they wait for each other, and never in circles"
    assert set(Counter(loud.said()).values()) == {1}, "no rendition was described twice"
    check_all_done_once(loud)
    assert loud.column("SELECT DISTINCT attempts FROM jobs") == [1]
