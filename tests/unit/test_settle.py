"""A file is complete once it was left alone for settle_seconds."""

from pathlib import Path

import pytest

from enrich.settle import CautiousClock, Settle, Stamp

FILE = Path("a.jpg")
NOW_NS = 1_000_000 * 10**9


def stamp(size_bytes: int = 1, age_seconds: float = 0) -> Stamp:
    return Stamp(size_bytes, 0, NOW_NS - int(age_seconds * 1e9))


def test_an_old_file_is_complete_at_the_first_look() -> None:
    settle = Settle(2)
    assert settle.wait_seconds(FILE, stamp(age_seconds=2), monotonic=5, wall_ns=NOW_NS) == 0


def test_a_young_file_waits_and_is_complete_when_unchanged() -> None:
    settle = Settle(2)
    assert settle.wait_seconds(FILE, stamp(age_seconds=1), monotonic=5, wall_ns=NOW_NS) == 2
    assert settle.wait_seconds(FILE, stamp(age_seconds=1), monotonic=6.5, wall_ns=NOW_NS) == 0.5
    assert settle.wait_seconds(FILE, stamp(age_seconds=1), monotonic=7, wall_ns=NOW_NS) == 0


def test_growth_starts_the_wait_again() -> None:
    settle = Settle(2)
    settle.wait_seconds(FILE, stamp(1), monotonic=5, wall_ns=NOW_NS)
    assert settle.wait_seconds(FILE, stamp(2), monotonic=6.9, wall_ns=NOW_NS) == 2


def test_an_old_change_time_does_not_shorten_the_wait_of_a_file_seen_changing() -> None:
    settle = Settle(2)
    settle.wait_seconds(FILE, stamp(1), monotonic=5, wall_ns=NOW_NS)
    assert settle.wait_seconds(FILE, stamp(2, age_seconds=99), monotonic=6, wall_ns=NOW_NS) == 2


def test_a_wall_clock_set_back_only_costs_time() -> None:
    settle = Settle(2)
    assert settle.wait_seconds(FILE, stamp(age_seconds=-3600), monotonic=5, wall_ns=NOW_NS) == 2
    assert settle.wait_seconds(FILE, stamp(age_seconds=-3600), monotonic=7, wall_ns=NOW_NS) == 0


def test_a_forgotten_file_is_new_again() -> None:
    settle = Settle(2)
    settle.wait_seconds(FILE, stamp(), monotonic=5, wall_ns=NOW_NS)
    settle.forget(FILE)
    assert settle.wait_seconds(FILE, stamp(), monotonic=7, wall_ns=NOW_NS) == 2


class Clocks:
    def __init__(self) -> None:
        self.wall, self.monotonic = 10**18, 5 * 10**9

    def pass_by(self, seconds: float) -> None:
        self.wall += int(seconds * 1e9)
        self.monotonic += int(seconds * 1e9)


def test_the_cautious_clock_is_the_wall_clock_while_nobody_sets_it() -> None:
    clocks = Clocks()
    clock = CautiousClock(lambda: clocks.wall, lambda: clocks.monotonic)
    clocks.pass_by(3600)
    assert clock.now_ns() == clocks.wall


@pytest.mark.parametrize("jump_seconds", [-7200.0, 7200.0])
def test_a_file_that_is_being_written_never_looks_old_by_a_clock_that_was_set(jump_seconds: float) -> None:
    clocks = Clocks()
    clock = CautiousClock(lambda: clocks.wall, lambda: clocks.monotonic)
    before = clocks.wall  # written to now ...
    clocks.wall += int(jump_seconds * 1e9)  # ... and now the clock is set
    after = clocks.wall
    clocks.pass_by(0.1)
    for changed_ns in (before, after):
        settle = Settle(2)
        wait = settle.wait_seconds(
            FILE, Stamp(1, changed_ns, changed_ns), monotonic=5, wall_ns=clock.now_ns()
        )
        assert wait == 2
