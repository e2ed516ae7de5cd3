"""Who is silent for too long: told by what changes, and by no two clocks."""

import datetime as dt
import os

import pytest

from enrich.lease import Leases, is_gone, worker_name

LEASE = 60.0
END = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)


def later(seconds: float) -> dt.datetime:
    return END + dt.timedelta(seconds=seconds)


def beat(leases: Leases, ends: dict[str, dt.datetime], start: float, seconds: float) -> list[str]:
    """Look every quarter of a lease, as a heart does; return who was silent at the last look."""
    silent: list[str] = []
    for number in range(int(seconds / (LEASE / 4)) + 1):
        silent = leases.silent(ends, start + number * LEASE / 4)
    return silent


def test_whoever_renews_is_not_silent() -> None:
    leases = Leases(LEASE)
    for number in range(40):
        assert leases.silent({"other": later(15 * number)}, 1000 + 15 * number) == []


def test_whoever_does_not_renew_for_a_lease_is_silent() -> None:
    leases = Leases(LEASE)
    assert beat(leases, {"other": END}, 1000, LEASE - 15) == []
    assert leases.silent({"other": END}, 1000 + LEASE) == ["other"]
    assert leases.silent({"other": END}, 1000 + 10 * LEASE) == ["other"]


def test_a_wall_clock_that_was_set_says_nothing() -> None:
    """A lease far in the past or the future: only that it does not change counts, and that it does."""
    for hours in (-5, 5):
        leases = Leases(LEASE)
        end = END + dt.timedelta(hours=hours)
        assert leases.silent({"other": end}, 0) == []
        assert leases.silent({"other": end}, LEASE - 1) == []
        assert leases.silent({"other": end - dt.timedelta(hours=1)}, LEASE + 1) == [], "renewed, and set back"
        assert beat(leases, {"other": end - dt.timedelta(hours=1)}, LEASE + 1, LEASE) == ["other"]


def test_each_for_itself_and_from_its_first_job() -> None:
    leases = Leases(LEASE)
    leases.silent({"one": END}, 0)
    leases.silent({"one": END, "two": END}, 30)
    leases.silent({"one": END, "two": END}, 45)
    assert leases.silent({"one": END, "two": END}, 60) == ["one"]
    assert leases.silent({"two": END}, 75) == []
    assert leases.silent({"one": END, "two": END}, 90) == ["two"], "the one came back, and is watched anew"


def test_what_was_not_looked_at_is_not_silence() -> None:
    """The catalog was away, or this process was stopped: nobody could renew, or nobody looked."""
    leases = Leases(LEASE)
    leases.silent({"other": END}, 0)
    leases.silent({"other": END}, 15)
    assert leases.silent({"other": END}, 1000) == [], "it is given the time to renew"
    assert beat(leases, {"other": END}, 1015, LEASE) == ["other"]


def test_names_are_of_one_process_only() -> None:
    name = worker_name()
    assert name == worker_name()
    assert name.rsplit("/", 2)[1] == str(os.getpid())
    assert not is_gone(name)


def test_names_that_were_written_by_others_are_no_trouble() -> None:
    host, space, pid, started = worker_name().rsplit("/", 3)
    for odd in ("", "one", "a/b", "///", "a/b/c/d/e", f"{host}/{space}", f"{host}/?/{pid}/{started}"):
        assert not is_gone(odd)


def test_a_process_that_proc_hides_is_not_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """As hidepid does with other users' processes; it can still be asked whether there is one."""
    host, space, pid, _ = worker_name().rsplit("/", 3)
    another, nobody = f"{host}/{space}/{pid}/0", f"{host}/{space}/{2**22 + 1}/0"
    assert is_gone(another)
    assert is_gone(nobody)
    monkeypatch.setattr(os.path, "exists", lambda path: False)
    assert not is_gone(another)
    assert is_gone(nobody)
