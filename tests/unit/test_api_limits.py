"""A minute's and an hour's limit, with a clock of the test's own."""

from concurrent.futures import ThreadPoolExecutor

from enrich.api.limits import Limits


def test_what_is_over_the_limit_is_told_when_to_come_again() -> None:
    limits = Limits()
    assert [limits.take(1, (3, 100), 1, 1000.0) for _ in range(3)] == [0, 0, 0]
    wait = limits.take(1, (3, 100), 1, 1000.0)
    assert 59 <= wait <= 61
    assert limits.take(1, (3, 100), 1, 1000.0 + wait) == 0


def test_keys_do_not_suffer_from_each_other() -> None:
    limits = Limits()
    assert limits.take(1, (1, 1), 1, 0.0) == 0
    assert limits.take(1, (1, 1), 1, 0.0) > 0
    assert limits.take(2, (1, 1), 1, 0.0) == 0


def test_an_hour_is_counted_beside_a_minute() -> None:
    limits = Limits()
    now = 10_000.0
    for _ in range(4):
        assert limits.take(1, (2, 8), 2, now) == 0
        now += 120
    wait = limits.take(1, (2, 8), 1, now)
    assert 3600 - 480 <= wait <= 3661
    assert limits.take(1, (2, 8), 1, now + wait) == 0


def test_never_more_than_the_limit_within_any_minute() -> None:
    limits = Limits()
    taken = [at / 7 for at in range(7 * 300) if limits.take(1, (5, None), 1, at / 7) == 0]
    assert len(taken) > 15
    for first, sixth in zip(taken, taken[5:], strict=False):
        assert sixth - first >= 60


def test_what_was_refused_does_not_count() -> None:
    limits = Limits()
    assert limits.take(1, (5, None), 6, 0.0) > 0
    assert limits.take(1, (5, None), 5, 0.0) == 0


def test_no_limit_is_no_limit() -> None:
    limits = Limits()
    assert all(limits.take(1, (None, None), 1000, 0.0) == 0 for _ in range(10))


def test_many_at_once_are_counted_one_by_one() -> None:
    limits = Limits()
    with ThreadPoolExecutor(8) as threads:
        waits = list(threads.map(lambda _: limits.take(1, (50, None), 1, 0.0), range(400)))
    assert waits.count(0) == 50
