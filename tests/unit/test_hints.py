"""Hints are taken once, in time and never without bound; what went away is believed a little later."""

import math
import threading
import time

import pytest

from enrich import hints
from enrich.hints import GONE_SECONDS, MAX_GONE_SECONDS, Departures, Hints, News


@pytest.fixture(autouse=True)
def gather_quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hints, "GATHER_SECONDS", 0.01)


def test_nothing_new_when_the_time_is_up() -> None:
    assert Hints().take(0) == News()
    started = time.monotonic()
    assert Hints().take(0.05) == News()
    assert time.monotonic() - started >= 0.05


def test_each_path_once_in_the_order_they_came() -> None:
    news = Hints()
    for path, is_folder in (("b", True), ("a", False), ("b", True)):
        news.add(path, is_folder)
    taken = news.take(10)
    assert taken == News({"b": True, "a": False}, seen=3)
    assert list(taken.paths) == ["b", "a"]
    assert news.take(0) == News(), "taken is taken"


def test_more_than_fit_are_lost_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hints, "MAX_PATHS", 3)
    news = Hints()
    for number in range(5):
        news.add(str(number), False)
    news.add("1", False)
    taken = news.take(10)
    assert (list(taken.paths), taken.seen, taken.lost) == (["0", "1", "2"], 6, 2)
    news.add("4", False)
    assert list(news.take(10).paths) == ["4"], "there is room again"


def test_a_loss_alone_is_news() -> None:
    news = Hints()
    news.lose()
    assert news.take(10) == News(lost=1)


def test_whoever_waits_is_woken() -> None:
    for wake, expected in (
        (Hints.wake, News()),
        (Hints.lose, News(lost=1)),
        (lambda news: news.add("a", False), News({"a": False}, seen=1)),
    ):
        news, taken = Hints(), list[News]()
        waiting = threading.Thread(target=lambda news=news, taken=taken: taken.append(news.take(30)))
        waiting.start()
        time.sleep(0.02)
        wake(news)
        waiting.join(10)
        assert taken == [expected]


def test_a_wake_up_call_is_not_lost_and_comes_once() -> None:
    news = Hints()
    news.wake()
    started = time.monotonic()
    assert news.take(10) == News()
    assert time.monotonic() - started < 5
    started = time.monotonic()
    news.take(0.05)
    assert time.monotonic() - started >= 0.05


def test_hints_that_come_while_they_are_gathered_are_in() -> None:
    news = Hints()
    news.add("first", False)
    later = threading.Timer(0.02, news.add, ("second", False))
    hints.GATHER_SECONDS = 0.2  # put back by the fixture
    later.start()
    assert list(news.take(10).paths) == ["first", "second"]


def test_no_hint_is_lost_between_threads() -> None:
    news, taken = Hints(), News()

    def add(start: int) -> None:
        for number in range(start, start + 2000):
            news.add(str(number), False)

    threads = [threading.Thread(target=add, args=(start,)) for start in range(0, 8000, 2000)]
    for thread in threads:
        thread.start()
    end = time.monotonic() + 20
    while taken.seen < 8000 and time.monotonic() < end:
        some = news.take(0.1)
        assert not taken.paths.keys() & some.paths.keys()
        taken.paths |= some.paths
        taken.seen += some.seen
    for thread in threads:
        thread.join()
    assert len(taken.paths) == taken.seen == 8000


def test_what_went_away_is_believed_once_nothing_more_does() -> None:
    departures = Departures()
    assert departures.due_at == math.inf
    departures.add("a", False, 100)
    assert departures.due_at == 100 + GONE_SECONDS
    departures.add("b", True, 100.9)
    assert departures.due_at == 100.9 + GONE_SECONDS
    assert departures.take(101) == {}
    assert departures.take(101.9) == {"a": False, "b": True}
    assert departures.due_at == math.inf
    assert departures.take(math.inf) == {}


def test_what_goes_away_all_the_time_is_believed_at_last() -> None:
    departures = Departures()
    for number in range(200):
        departures.add(str(number), False, 100 + number / 10)
    assert departures.due_at == 100 + MAX_GONE_SECONDS
    assert len(departures.take(100 + MAX_GONE_SECONDS)) == 200
    departures.add("next", False, 200)
    assert departures.due_at == 200 + GONE_SECONDS, "the next ones begin anew"
