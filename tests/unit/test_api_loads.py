"""What is let in is counted, and what would only wait is refused."""

import threading

import pytest

from enrich.api.errors import Busy
from enrich.api.loads import Loads


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_so_many_are_let_in_and_no_more() -> None:
    loads = Loads(2)
    with loads.admit(), loads.admit():
        assert loads.requests == 2
        with pytest.raises(Busy) as caught, loads.admit():
            raise AssertionError("let in")
        assert caught.value.retryable
    assert (loads.requests, loads.refused) == (0, 1)
    with loads.admit():
        pass


def test_so_many_bytes_are_let_in_and_one_request_however_large() -> None:
    loads = Loads(10, max_bytes=100)
    with loads.admit(500), pytest.raises(Busy), loads.admit(1):
        raise AssertionError("let in")
    with loads.admit(60), loads.admit(40), pytest.raises(Busy), loads.admit(1):
        raise AssertionError("let in")
    with loads.admit(100):
        pass


def test_what_failed_makes_room_too() -> None:
    loads = Loads(1)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), loads.admit(7):
            _ = 1 / 0
    assert loads.requests == 0


@pytest.mark.parametrize(("seconds", "told"), [(0.001, 1.0), (1.0, 10.0), (30.0, 60.0)])
def test_who_is_refused_is_told_when_to_come_again(seconds: float, told: float) -> None:
    clock = Clock()
    loads = Loads(101, clock=clock)
    for _ in range(101):
        loads.enter()
    for _ in range(200):
        clock.now += seconds
        loads.leave()
        loads.enter()
    with pytest.raises(Busy) as caught:
        loads.enter()
    assert caught.value.retry_after_seconds == pytest.approx(told, abs=1.01)


def test_a_pause_is_not_how_long_requests_take() -> None:
    clock = Clock()
    loads = Loads(1, clock=clock)
    for _ in range(50):
        clock.now += 3600
        loads.enter()
        loads.leave()
    loads.enter()
    with pytest.raises(Busy) as caught:
        loads.enter()
    assert caught.value.retry_after_seconds == 1.0


def test_the_end_waits_for_what_was_let_in() -> None:
    loads = Loads(5)
    loads.enter()
    assert not loads.close(0.0)
    with pytest.raises(Busy):
        loads.enter()
    threading.Timer(0.05, loads.leave).start()
    assert loads.close(30)


def test_no_count_is_lost_between_threads() -> None:
    loads = Loads(4)
    most = []

    def knock() -> None:
        for _ in range(300):
            try:
                with loads.admit(1):
                    most.append(loads.requests)
            except Busy:
                pass

    threads = [threading.Thread(target=knock) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) <= 4
    assert loads.requests == 0
    assert loads.refused + len(most) == 2400
