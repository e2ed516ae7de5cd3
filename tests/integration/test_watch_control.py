"""A daemon that is paused, whose plugin fails for everyone, or that is told to end."""

import signal
import time
from pathlib import Path
from typing import Any

import forks
import pytest
import sqlalchemy as sa
from described import STEPS, bring, check_done_once, owner, prepare, slow_plugin
from watching import Watch, watching
from workplace import Workplace

from enrich.catalog import report


@pytest.fixture(autouse=True)
def prepared(request: pytest.FixtureRequest) -> None:
    prepare(request.getfixturevalue("lite_place" if "lite_place" in request.fixturenames else "place"))


def test_paused_and_resumed(lite_place: Workplace) -> None:
    lite_place.plugin("slow", slow_plugin(0.05))
    with watching(lite_place) as watch:
        bring(lite_place, "some", 12)
        watch.wait_until(lambda: len(lite_place.said()) > 3)
        assert lite_place.enrich("pause").returncode == 0
        watch.wait_for("SELECT count(*) FROM jobs WHERE state = 'running'", 0, 20)  # what was begun ends
        said = len(lite_place.said())
        bring(lite_place, "more", 12)
        watch.wait_for("SELECT count(*) FROM files WHERE state = 'present'", 24)
        time.sleep(2.5)  # an idle worker looks every two seconds
        assert len(lite_place.said()) == said
        assert lite_place.states("jobs") == {"done": said, "pending": 48 - said}
        assert report.status(lite_place.engine)["paused_at"] is not None
        assert lite_place.enrich("resume").returncode == 0
        watch.wait_for("SELECT count(*) FROM jobs WHERE state <> 'done'", 0)
        assert watch.stop()[0] == 0
    check_done_once(lite_place, STEPS)
    assert len(lite_place.said()) == 48, "none was described twice"


#: Fails until a file says that it is well.
AILING = """
import pathlib
import enrich

@enrich.hookimpl
def enrich_data(renditions, context):
    if not pathlib.Path(__file__).with_name("well").exists():
        raise RuntimeError("out of order")
    return [{"seen": True} for _ in renditions]
"""


def is_watched_by(place: Workplace, pid: int) -> bool:
    try:
        return owner(place) == pid
    except sa.exc.DBAPIError:
        return False  # it has made no tables yet


def test_a_plugin_that_fails_for_everyone(place: Workplace) -> None:
    place.plugin("ailing", AILING)
    place.config |= {"steps": {"first": {"plugin": "slow"}, "ailing": {"plugin": "ailing"}}, "batch_size": 4}

    def ailing() -> dict[str, Any]:
        (step,) = [step for step in report.status(place.engine)["steps"] if step["step"] == "ailing"]
        return dict(step)

    # The product pauses for half a minute at first.
    often = {"enrich.breaker.PAUSE_SECONDS": 0.5, "enrich.breaker.TRIAL_SECONDS": 0.5}
    with forks.shared().running(place, "watch", constants=often) as attempt:
        attempt.wait_until(lambda: is_watched_by(place, attempt.pid), 20, "the root's owner")
        bring(place, "some", 30)
        attempt.wait_until(lambda: ailing()["trouble"] is not None)
        assert "out of order" in ailing()["trouble"]
        assert ailing()["paused_until"] is not None
        assert "step ailing fails for everyone and is paused" in attempt.said
        sql = "SELECT count(*) FROM jobs WHERE step = 'first' AND state = 'done'"
        attempt.wait_until(lambda: place.column(sql) == [30], 30, "the other step goes on")
        counts = ailing()
        assert counts["pending"] + counts["running"] == 30 - counts["failed"]
        (place.folder / "plugins" / "well").touch()
        attempt.wait_until(lambda: ailing()["pending"] + ailing()["running"] == 0, 30)
        attempt.wait_until(lambda: ailing()["trouble"] is None, 10)
        counts = ailing()
        assert counts["failed"] < 10, "those before it was clear that none of them is to blame, and a trial's"
        assert counts["done"] == 30 - counts["failed"]
        assert "step ailing works again" in attempt.said
        retried = place.enrich("retry")
        assert retried.returncode == 0, retried.stderr
        assert attempt.stop() == 0
    check_done_once(place, ["first", "ailing"])


@pytest.fixture
def hold(tmp_path: Path) -> Path:
    """A file that, while it is there, keeps batches from their end."""
    path = tmp_path / "hold"
    path.touch()
    return path


def wait_until_held(watch: Watch) -> None:
    watch.wait_until(lambda: any(line.startswith("holding") for line in watch.place.said()))


def test_sigterm_lets_what_was_begun_end(place: Workplace, hold: Path) -> None:
    with watching(place, environment={"HOLD": str(hold)}) as watch:
        bring(place, "some", 40)
        watch.wait_for("SELECT count(*) FROM files", 40)
        wait_until_held(watch)
        watch.process.send_signal(signal.SIGTERM)
        watch.wait_until(lambda: "STOPPING=1" in watch.told)
        time.sleep(0.5)
        assert watch.process.poll() is None, "it waits for what was begun"
        held = place.states("jobs")["running"]
        hold.unlink()
        assert watch.process.wait(30) == 0
        assert watch.said == ""
    states = place.states("jobs")
    assert set(states) == {"done", "pending"}
    assert states["done"] == held, "what was begun, and nothing else"
    assert place.column("SELECT ended_at IS NOT NULL FROM runs") == [True]
    assert place.column("SELECT DISTINCT attempts FROM jobs ORDER BY attempts") == [0, 1]
    assert place.enrich("run").returncode == 0
    check_done_once(place, STEPS)
    assert len([line for line in place.said() if not line.startswith("holding")]) == 80, "none twice"


def test_sigterm_waits_no_longer_than_it_may(lite_place: Workplace, hold: Path) -> None:
    lite_place.config["drain_seconds"] = 1
    with watching(lite_place, environment={"HOLD": str(hold)}) as watch:
        bring(lite_place, "some", 10)
        wait_until_held(watch)
        code, said = watch.stop(seconds=20)
    assert code == 0
    assert "not everything ended within 1 s" in said
    hold.unlink()
    assert set(lite_place.states("jobs")) == {"pending"}, "given back, whatever the plugin still does"
    assert lite_place.enrich("run").returncode == 0
    check_done_once(lite_place, STEPS)


def test_a_second_signal_ends_at_once(lite_place: Workplace, hold: Path) -> None:
    with watching(lite_place, environment={"HOLD": str(hold)}) as watch:
        bring(lite_place, "some", 10)
        wait_until_held(watch)
        watch.process.send_signal(signal.SIGTERM)
        watch.wait_until(lambda: "STOPPING=1" in watch.told)
        assert watch.process.poll() is None
        started = time.monotonic()
        assert watch.stop(signal.SIGINT)[0] == 130
        assert time.monotonic() - started < 5
    hold.unlink()
    assert lite_place.states("jobs")["running"] > 0, "as if it had been killed"
    done = lite_place.enrich("run")
    assert done.returncode == 0, done.stderr
    check_done_once(lite_place, STEPS)
