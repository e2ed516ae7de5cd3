import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from enrich.errors import InferenceError
from enrich.inference.batches import BUCKETS
from enrich.inference.scheduler import Scheduler


class Device:
    """Doubles what it is given; each run waits until it is let go, and negative items are refused."""

    def __init__(self, *, held: bool = False) -> None:
        self.batches: list[list[float]] = []
        self.gate = threading.Event()
        self.started = threading.Event()
        if not held:
            self.gate.set()

    def __call__(self, batch):
        self.batches.append(batch[:, 0].tolist())
        self.started.set()
        assert self.gate.wait(10)
        if (batch < 0).any():
            raise ArithmeticError("negative\n  items")
        return batch * 2


@pytest.fixture
def opened():
    """Make schedulers that are closed in the end."""
    made = []

    def open_scheduler(device, **options):
        made.append(Scheduler(device, options.pop("buckets", BUCKETS), name="double", **options))
        return made[-1]

    yield open_scheduler
    for scheduler in made:
        scheduler.close()


def items(*values):
    return [np.array([value], np.float32) for value in values]


def wait_for(condition):
    deadline = threading.Event()
    for _ in range(2000):
        if condition():
            return
        deadline.wait(0.005)
    raise AssertionError("it did not come about")


def test_rows_come_back_in_order(opened):
    scheduler = opened(Device())

    assert [row.item() for row in scheduler.run(items(*range(13)))] == [2 * n for n in range(13)]
    assert scheduler.stats.runs == {1: 1, 4: 1, 8: 1}
    assert scheduler.stats.items == 13


def test_an_array_is_as_good_as_a_list(opened):
    rows = opened(Device()).run(np.arange(6, dtype=np.float32).reshape(6, 1))

    assert [row.item() for row in rows] == [0, 2, 4, 6, 8, 10]


def test_nothing_costs_no_run(opened):
    scheduler = opened(Device())

    assert scheduler.run([]) == []
    assert scheduler.stats.runs == {}


def test_what_waits_is_merged_when_the_device_is_free(opened):
    device = Device(held=True)
    scheduler = opened(device)
    with ThreadPoolExecutor() as pool:
        first = pool.submit(scheduler.run, items(0))
        assert device.started.wait(10)
        others = []
        for start in (10, 20, 30):
            others.append(pool.submit(scheduler.run, items(start, start + 1, start + 2)))
            wait_for(lambda: scheduler.stats.waiting == 3 * len(others))
        device.gate.set()

        assert [row.item() for row in first.result()] == [0]
        for start, future in zip((10, 20, 30), others, strict=True):
            assert [row.item() for row in future.result()] == [2 * start, 2 * start + 2, 2 * start + 4]
    assert device.batches == [[0], [10, 11, 12, 20, 21, 22, 30, 31], [32]]


def test_only_bucket_sizes_are_run(opened):
    device = Device()
    scheduler = opened(device, buckets=(1, 3))
    scheduler.run(items(*range(8)))

    assert [len(batch) for batch in device.batches] == [3, 3, 1, 1]


def test_a_refused_caller_does_not_hurt_its_neighbours(opened):
    device = Device(held=True)
    scheduler = opened(device)
    with ThreadPoolExecutor() as pool:
        blocker = pool.submit(scheduler.run, items(0))
        assert device.started.wait(10)
        calls = []
        for values, waiting in (((1, 2), 2), ((-3, 4, 5), 5), ((6, 7, 8), 8)):
            calls.append(pool.submit(scheduler.run, items(*values)))
            wait_for(lambda waiting=waiting: scheduler.stats.waiting == waiting)
        device.gate.set()

        assert [row.item() for row in blocker.result()] == [0]
        assert [row.item() for row in calls[0].result()] == [2, 4]
        assert [row.item() for row in calls[2].result()] == [12, 14, 16]
        with pytest.raises(InferenceError, match=r"^double: a batch failed: negative items$") as caught:
            calls[1].result()
    assert isinstance(caught.value.__cause__, ArithmeticError)
    # All eight together, then each caller alone; what was left of the refused one is not run.
    assert device.batches[1:] == [[1, 2, -3, 4, 5, 6, 7, 8], [1, 2], [-3, 4], [6, 7], [8]]
    assert scheduler.stats.refused == 2


def test_the_rest_of_a_refused_call_leaves_the_queue(opened):
    device = Device()
    scheduler = opened(device, buckets=(1, 2))
    with pytest.raises(InferenceError):
        scheduler.run(items(-1, 2, 3, 4, 5))

    assert device.batches == [[-1, 2]]
    assert scheduler.stats.waiting == 0
    assert [row.item() for row in scheduler.run(items(6))] == [12]


def test_items_of_other_shapes_concern_their_caller_only(opened):
    device = Device(held=True)
    scheduler = opened(device)
    with ThreadPoolExecutor() as pool:
        blocker = pool.submit(scheduler.run, items(0))
        assert device.started.wait(10)
        good = pool.submit(scheduler.run, items(1))
        odd = pool.submit(scheduler.run, [np.zeros(shape, np.float32) for shape in (1, 2, 3)])
        wait_for(lambda: scheduler.stats.waiting == 4)
        device.gate.set()

        assert [row.item() for row in good.result()] == [2]
        with pytest.raises(InferenceError, match="same shape"):
            odd.result()
        blocker.result()


def test_too_few_rows_are_an_error_not_a_mix_up(opened):
    scheduler = opened(lambda batch: batch[:1])

    with pytest.raises(InferenceError, match="1 rows came for 2 items"):
        scheduler.run(items(1, 2))


def test_callers_are_held_back_while_the_queue_is_full(opened):
    device = Device(held=True)
    scheduler = opened(device, capacity=4)
    with ThreadPoolExecutor() as pool:
        futures = [pool.submit(scheduler.run, items(0))]
        assert device.started.wait(10)
        futures += [pool.submit(scheduler.run, items(n)) for n in range(1, 12)]
        wait_for(lambda: scheduler.stats.waiting == 4)
        # Seven more callers stand before the door, and stay there.
        assert not any(future.done() for future in futures)
        assert scheduler.stats.waiting == 4
        device.gate.set()

        assert [future.result()[0].item() for future in futures] == [2 * n for n in range(12)]


def test_who_somebody_waits_for_goes_first_and_passes_the_door(opened):
    device = Device(held=True)
    scheduler = opened(device, buckets=(1, 2, 4), capacity=6)
    with ThreadPoolExecutor() as pool:
        futures = [pool.submit(scheduler.run, items(0))]
        assert device.started.wait(10)
        futures.append(pool.submit(scheduler.run, items(*range(10, 16))))
        wait_for(lambda: scheduler.stats.waiting == 6)
        held = pool.submit(scheduler.run, items(20))
        person = pool.submit(scheduler.run, items(*range(30, 36)), interactive=True)
        wait_for(lambda: scheduler.stats.waiting == 12)
        device.gate.set()

        assert [row.item() for row in person.result(20)] == [2 * n for n in range(30, 36)]
        assert [row.item() for row in held.result(20)] == [40]
    # One place of each batch is left to the others.
    assert device.batches[1:4] == [[30, 31, 32, 10], [33, 34, 35, 11], [12, 13, 14, 15]]


def test_the_rest_of_a_refused_call_that_somebody_waits_for_leaves_too(opened):
    device = Device(held=True)
    scheduler = opened(device, buckets=(1, 2))
    with ThreadPoolExecutor() as pool:
        blocker = pool.submit(scheduler.run, items(0))
        assert device.started.wait(10)
        person = pool.submit(scheduler.run, items(-1, 1, 2, 3), interactive=True)
        wait_for(lambda: scheduler.stats.waiting == 4)
        device.gate.set()

        blocker.result(20)
        with pytest.raises(InferenceError, match="negative items"):
            person.result(20)
    assert scheduler.stats.waiting == 0
    assert device.batches == [[0], [-1, 1]]


def test_each_of_many_threads_gets_exactly_its_rows(opened):
    scheduler = opened(Device())

    def ask(thread):
        rng = np.random.default_rng(thread)
        for _ in range(200):
            values = rng.integers(0, 10**6, rng.integers(1, 9))
            rows = scheduler.run(items(*values))
            assert [row.item() for row in rows] == (2 * values).tolist()
        return True

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(8)))


def test_closing_finishes_what_waits_and_refuses_what_comes():
    device = Device(held=True)
    scheduler = Scheduler(device, BUCKETS, name="double")
    with ThreadPoolExecutor() as pool:
        running = pool.submit(scheduler.run, items(1))
        assert device.started.wait(10)
        waiting = pool.submit(scheduler.run, items(2, 3))
        wait_for(lambda: scheduler.stats.waiting == 2)
        closing = pool.submit(scheduler.close)
        device.gate.set()
        closing.result()

        assert [row.item() for row in running.result() + waiting.result()] == [2, 4, 6]
    with pytest.raises(InferenceError, match="the model double is closed"):
        scheduler.run(items(4))
    scheduler.close()


def test_a_caller_before_the_door_is_told_that_it_closed():
    device = Device(held=True)
    scheduler = Scheduler(device, BUCKETS, name="double", capacity=1)
    with ThreadPoolExecutor() as pool:
        pool.submit(scheduler.run, items(1))
        assert device.started.wait(10)
        pool.submit(scheduler.run, items(2))
        wait_for(lambda: scheduler.stats.waiting == 1)
        late = pool.submit(scheduler.run, items(3))
        closing = pool.submit(scheduler.close)
        with pytest.raises(InferenceError, match="closed"):
            late.result(10)
        device.gate.set()
        closing.result()
