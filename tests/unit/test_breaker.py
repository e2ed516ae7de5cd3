"""A step that fails for everyone is paused, tried now and then, and works again."""

import pytest

from enrich.breaker import (
    MAX_PAUSE_SECONDS,
    PAUSE_SECONDS,
    TRIAL_SECONDS,
    TRIP_FAILURES,
    Breaker,
    Verdict,
)

NOTHING = Verdict()


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    return Breaker(["a", "b"], clock)


def trip(breaker: Breaker, step: str = "a") -> Verdict:
    return breaker.judge(step, [False] * TRIP_FAILURES)


def test_single_failures_are_their_assets_fault(breaker: Breaker) -> None:
    for _ in range(5 * TRIP_FAILURES):
        assert breaker.judge("a", [False] * (TRIP_FAILURES - 1)) == NOTHING
        assert breaker.judge("a", [True]) == NOTHING
    assert breaker.judge("a", [False] * 99 + [True]) == NOTHING, "it works for someone"
    assert breaker.closed() == ["a", "b"]
    assert breaker.trial() is None


@pytest.mark.parametrize("batch", [1, 3, TRIP_FAILURES, 100])
def test_nothing_but_failures_open_it(breaker: Breaker, batch: int) -> None:
    count = 0
    while count + batch < TRIP_FAILURES:
        assert breaker.judge("a", [False] * batch) == NOTHING
        count += batch
    assert breaker.judge("a", [False] * batch) == Verdict(PAUSE_SECONDS, is_change=True)
    assert breaker.closed() == ["b"]


def test_failures_after_the_last_success_of_a_batch_count_on(breaker: Breaker) -> None:
    assert breaker.judge("a", [False, True] + [False] * (TRIP_FAILURES - 1)) == NOTHING
    assert breaker.judge("a", [False]).is_change
    assert breaker.judge("b", []) == NOTHING


def test_one_is_let_through_when_the_pause_is_over(breaker: Breaker, clock: Clock) -> None:
    trip(breaker)
    clock.now += PAUSE_SECONDS - 0.1
    assert breaker.trial() is None
    clock.now += 0.1
    assert breaker.trial() == "a"
    assert breaker.trial() is None, "to one lane only"
    assert breaker.closed() == ["b"], "not for everyone yet"
    assert breaker.judge("a", [True]) == Verdict(is_change=True)
    assert breaker.closed() == ["a", "b"]
    assert breaker.trial() is None
    assert trip(breaker) == Verdict(PAUSE_SECONDS, is_change=True), "its past is forgotten"


def test_each_trial_that_fails_doubles_the_pause_up_to_a_bound(breaker: Breaker, clock: Clock) -> None:
    pause, pauses = trip(breaker).pause_seconds, []
    while len(pauses) < 10:
        assert pause is not None
        pauses.append(pause)
        clock.now += pause
        assert breaker.trial() == "a"
        pause = breaker.judge("a", [False]).pause_seconds
    doubled = [PAUSE_SECONDS * 2**n for n in range(10)]
    assert pauses == [min(MAX_PAUSE_SECONDS, seconds) for seconds in doubled]
    assert pauses[-1] == MAX_PAUSE_SECONDS


def test_what_was_under_way_when_it_opened_is_not_counted_again(breaker: Breaker, clock: Clock) -> None:
    trip(breaker)
    clock.now += 10
    assert breaker.judge("a", [False] * 16) == Verdict(PAUSE_SECONDS - 10)
    clock.now += PAUSE_SECONDS - 10
    assert breaker.trial() == "a"
    assert breaker.judge("a", [False]).pause_seconds == 2 * PAUSE_SECONDS


def test_what_was_under_way_and_works_closes_it(breaker: Breaker) -> None:
    trip(breaker)
    assert breaker.judge("a", [False, True]) == Verdict(is_change=True)
    assert breaker.closed() == ["a", "b"]


def test_a_trial_that_says_nothing_is_repeated(breaker: Breaker, clock: Clock) -> None:
    """It found no asset, or its file could not be read, or its lane died."""
    trip(breaker)
    clock.now += PAUSE_SECONDS
    assert breaker.trial() == "a"
    assert breaker.judge("a", []) == NOTHING
    clock.now += TRIAL_SECONDS - 0.1
    assert breaker.trial() is None
    clock.now += 0.1
    assert breaker.trial() == "a"


def test_steps_do_not_answer_for_each_other(breaker: Breaker, clock: Clock) -> None:
    trip(breaker, "a")
    clock.now += 5
    trip(breaker, "b")
    assert breaker.closed() == []
    clock.now += PAUSE_SECONDS
    assert {breaker.trial(), breaker.trial()} == {"a", "b"}
    assert breaker.trial() is None
    breaker.judge("b", [True])
    assert breaker.closed() == ["b"]
