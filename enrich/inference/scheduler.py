"""One thread per model that merges what concurrent callers want into batches.

There is no waiting window: whenever the device is free, the largest bucket that the waiting items
fill is run. A lone caller never waits for company, and under load batches fill by themselves.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from enrich.errors import EnrichError, InferenceError
from enrich.inference.batches import decompose

__all__ = ["Scheduler", "Stats"]

Infer = Callable[[NDArray[Any]], NDArray[Any]]
Items = Sequence[NDArray[Any]] | NDArray[Any]


@dataclass(frozen=True, slots=True)
class Stats:
    """What a scheduler did so far.

    Parameters
    ----------
    runs : mapping of int to int
        Runs by bucket, the refused ones too.
    refused : int
        Runs that raised.
    waiting : int
        Items that wait now.
    """

    runs: Mapping[int, int]
    refused: int
    waiting: int

    @property
    def items(self) -> int:
        """Items that were run."""
        return sum(bucket * count for bucket, count in self.runs.items())

    def __add__(self, later: Stats) -> Stats:
        """Return what two schedulers did, the second one after the first ended."""
        runs = Counter(self.runs)
        runs.update(later.runs)
        return Stats(dict(sorted(runs.items())), self.refused + later.refused, later.waiting)


class _Call:
    def __init__(self, items: Items) -> None:
        self.items = items
        self.rows: dict[int, NDArray[Any]] = {}
        self.future: Future[list[NDArray[Any]]] = Future()

    def deliver(self, index: int, row: NDArray[Any]) -> None:
        self.rows[index] = row
        if len(self.rows) == len(self.items):
            self.future.set_result([self.rows[index] for index in range(len(self.items))])


# An item in the queue: its call, and which of the call's items it is.
_Slot = tuple[_Call, int]


class Scheduler:
    """Runs batches of merged calls on a thread of its own, and hands each caller exactly its rows.

    Parameters
    ----------
    infer : callable
        Takes items stacked to (B, ...), B out of ``buckets``, and returns B rows.
    buckets : sequence of int
        The batch sizes, ascending, from 1.
    name : str
        The model's name, for the thread and for messages.
    capacity : int
        Callers are held back while so many items wait.
    """

    def __init__(self, infer: Infer, buckets: Sequence[int], *, name: str, capacity: int = 64) -> None:
        self._infer = infer
        self._buckets = tuple(buckets)
        self._name = name
        self._capacity = capacity
        # Those that somebody waits for, and all others.
        self._urgent: deque[_Slot] = deque()
        self._waiting: deque[_Slot] = deque()
        self._changed = threading.Condition()
        self._is_closed = False
        self._runs: Counter[int] = Counter()
        self._refused = 0
        self._thread = threading.Thread(target=self._serve, name=f"model-{name}", daemon=True)
        self._thread.start()

    @property
    def stats(self) -> Stats:
        with self._changed:
            return Stats(
                dict(sorted(self._runs.items())), self._refused, len(self._urgent) + len(self._waiting)
            )

    def run(self, items: Items, *, interactive: bool = False) -> list[NDArray[Any]]:
        """Wait for one row per item, in order.

        Parameters
        ----------
        items : sequence of ndarray, or ndarray
            Equal shapes; an array's first axis is the items.
        interactive : bool
            Somebody waits: goes before all others, and is never held back.

        Raises
        ------
        InferenceError
            The runtime refused these items, alone too; or the model is closed. Not retryable.
        """
        if not len(items):
            return []
        call = _Call(items)
        with self._changed:
            self._changed.wait_for(
                lambda: self._is_closed or interactive or len(self._waiting) < self._capacity
            )
            if self._is_closed:
                raise self._closed_error()
            queue = self._urgent if interactive else self._waiting
            queue.extend((call, index) for index in range(len(items)))
            self._changed.notify_all()
        return call.future.result()

    def close(self) -> None:
        """Finish what waits, refuse what comes, and end the thread."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        self._thread.join()

    def _serve(self) -> None:
        batch: list[_Slot] = []
        try:
            while batch := self._take():
                self._run(batch)
        finally:
            # However the thread ends, nobody waits for it in vain.
            with self._changed:
                self._is_closed = True
                for call, _ in (*batch, *self._urgent, *self._waiting):
                    if not call.future.done():
                        call.future.set_exception(self._closed_error())
                self._changed.notify_all()

    def _take(self) -> list[_Slot]:
        with self._changed:
            self._changed.wait_for(lambda: self._urgent or self._waiting or self._is_closed)
            count = len(self._urgent) + len(self._waiting)
            if not count:
                return []
            size = decompose(count, self._buckets)[0]
            # A place is left to the others, or they might never have their turn.
            kept = 1 if self._waiting and size > 1 else 0
            urgent = min(len(self._urgent), size - kept)
            batch = [self._urgent.popleft() for _ in range(urgent)]
            batch += [self._waiting.popleft() for _ in range(size - urgent)]
            self._changed.notify_all()
            return batch

    def _run(self, batch: Sequence[_Slot]) -> None:
        try:
            rows = self._infer(np.stack([call.items[index] for call, index in batch]))
            if len(rows) != len(batch):
                raise InferenceError(f"{self._name}: {len(rows)} rows came for {len(batch)} items")
        # Whatever a run raises belongs to the callers of this batch, never to this thread.
        except Exception as error:  # noqa: BLE001
            self._count(len(batch), refused=True)
            self._refuse(batch, error)
        else:
            self._count(len(batch), refused=False)
            for (call, index), row in zip(batch, rows, strict=True):
                call.deliver(index, row)

    def _refuse(self, batch: Sequence[_Slot], error: Exception) -> None:
        calls = list(dict.fromkeys(call for call, _ in batch))
        if len(calls) == 1:
            self._fail(calls[0], error)
            return
        for call in calls:  # each alone, so that nobody suffers from a neighbour
            own = [slot for slot in batch if slot[0] is call]
            for size in decompose(len(own), self._buckets):
                part, own = own[:size], own[size:]
                if not call.future.done():
                    self._run(part)

    def _fail(self, call: _Call, error: Exception) -> None:
        with self._changed:
            for queue in (self._urgent, self._waiting):
                left = [slot for slot in queue if slot[0] is not call]
                queue.clear()
                queue.extend(left)
            self._changed.notify_all()
        if not isinstance(error, EnrichError):
            message = " ".join(str(error).split())
            error, cause = InferenceError(f"{self._name}: a batch failed: {message}"), error
            error.__cause__ = cause
        call.future.set_exception(error)

    def _count(self, bucket: int, *, refused: bool) -> None:
        with self._changed:
            self._runs[bucket] += 1
            self._refused += refused

    def _closed_error(self) -> InferenceError:
        return InferenceError(f"the model {self._name} is closed")
