"""Decodes share a memory budget."""

import threading
import time

import pytest

from enrich.errors import PictureTooLarge
from enrich.rendition import DecodeBudget


def test_more_than_the_whole_is_refused_at_once() -> None:
    with (
        pytest.raises(PictureTooLarge, match="about 2 MiB of memory, allowed are 1 MiB"),
        DecodeBudget(2**20).hold(2**21),
    ):
        pass


def test_what_fits_runs_side_by_side_and_the_rest_waits_its_turn() -> None:
    budget = DecodeBudget(100)
    order: list[str] = []
    release = threading.Event()

    def work(name: str, size_bytes: int) -> None:
        with budget.hold(size_bytes):
            order.append(name)
            assert release.wait(10)

    def start(name: str, size_bytes: int) -> threading.Thread:
        thread = threading.Thread(target=work, args=(name, size_bytes))
        thread.start()
        # So that they stand in line in this order.
        deadline = time.monotonic() + 5
        while name not in order and len(budget._waiting) < waiting and time.monotonic() < deadline:
            time.sleep(0.001)
        return thread

    waiting = 1
    threads = [start("a", 60), start("b", 40), start("large", 100)]
    waiting = 2
    threads.append(start("small", 1))
    assert order == ["a", "b"]
    release.set()
    for thread in threads:
        thread.join(10)
    # The small one came later and does not overtake the large one.
    assert order == ["a", "b", "large", "small"]


def test_the_budget_is_given_back_after_a_failure() -> None:
    budget = DecodeBudget(100)
    for _ in range(3):
        with pytest.raises(RuntimeError), budget.hold(100):
            raise RuntimeError
