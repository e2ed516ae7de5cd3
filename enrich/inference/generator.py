"""One thread per decoder that writes many texts at once, however they come and go.

Texts run in *cohorts*. New ones are read in as soon as there is room. Where the decoder can leave out
the past of single rows, all cohorts are joined at once. Most exported decoders cannot, so that rows of
one run must have read equally many tokens: then the cohort that read least goes first, until it has
caught up with the next one and both run on as one. None is passed over for long.
"""

from __future__ import annotations

import concurrent.futures
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence

from enrich.errors import EnrichError, InferenceError
from enrich.inference.cohort import Cohort, Place, Reader
from enrich.inference.scheduler import Stats
from enrich.inference.text import Tokenizer
from enrich.inference.writing import Ending, Request, start_writing
from enrich.types import Generated

__all__ = ["ROWS_MAX", "Generator"]

#: Rows of one run. Further ones cost nearly as much again.
ROWS_MAX = 16
#: While many wait, they are read in when this share of the rows is free: one alone would keep all
#: others waiting until it has caught up, and all at once would wait for the longest text.
_FREE_SHARE = 3 / 4
#: A cohort that was passed over so often has a turn, and from then on about every third run.
_PATIENCE = 16


class Generator:
    """Writes texts with one decoder, on a thread of its own, for callers on any thread.

    Parameters
    ----------
    reader : Reader
        The decoder.
    tokenizer : Tokenizer
        The model's.
    ending : Ending
        How its texts end.
    name : str
        The model's name, for the thread and for messages.
    rows_max : int
        Rows of one run. Callers that somebody waits for have as many again to themselves.
    capacity : int
        Other callers are held back while so many texts wait.
    clock : callable
        Returns the instant to which deadlines refer.
    """

    def __init__(
        self,
        reader: Reader,
        tokenizer: Tokenizer,
        ending: Ending,
        *,
        name: str,
        rows_max: int = ROWS_MAX,
        capacity: int = 64,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._reader, self._tokenizer, self._ending = reader, tokenizer, ending
        # With such a reader nobody has to catch up: each joins the others at once.
        self._pads: bool = getattr(reader, "pads", False)
        self._name, self._rows_max, self._capacity, self._clock = name, rows_max, capacity, clock
        self._waiting: list[Place] = []
        self._cohorts: list[Cohort] = []
        self._changed = threading.Condition()
        self._is_closed = False
        self._runs: Counter[int] = Counter()
        self._refused = 0
        self._thread = threading.Thread(target=self._serve, name=f"writer-{name}", daemon=True)
        self._thread.start()

    @property
    def stats(self) -> Stats:
        """Runs of the decoder by their rows; texts that wait to be read in."""
        with self._changed:
            return Stats(dict(sorted(self._runs.items())), self._refused, len(self._waiting))

    def run(self, requests: Sequence[Request]) -> list[Generated]:
        """Wait for one text per request, in order. If one fails, the others are given up.

        Raises
        ------
        UsageError
            The model cannot tell a request's choices apart. Not retryable.
        InferenceError
            The runtime refused a request, alone too; its deadline passed; or the model is closed. Not
            retryable. What ``on_text`` raises is raised as it is.
        """
        places = [
            Place(request, start_writing(request, self._tokenizer, self._ending)) for request in requests
        ]
        if not places:
            return []
        try:
            self._enter(places)
            concurrent.futures.wait(
                [place.future for place in places], return_when=concurrent.futures.FIRST_EXCEPTION
            )
            for place in places:
                # Of those that are done: one that failed ends the call.
                if place.future.done():
                    place.future.result()
            return [place.future.result() for place in places]
        finally:
            for place in places:
                # Of what is done, nothing is left to cancel.
                place.is_cancelled = True

    def close(self) -> None:
        """Finish what waits, refuse what comes, and end the thread."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        self._thread.join()

    def _enter(self, places: Sequence[Place]) -> None:
        is_interactive = any(place.request.interactive for place in places)
        deadlines = [place.request.deadline for place in places if place.request.deadline is not None]
        with self._changed:
            self._changed.wait_for(
                lambda: self._is_closed or is_interactive or len(self._waiting) < self._capacity,
                timeout=max(0.0, min(deadlines) - self._clock()) if deadlines else None,
            )
            if self._is_closed:
                raise self._closed_error()
            self._waiting += places
            self._changed.notify_all()

    def _serve(self) -> None:
        try:
            while self._has_work():
                self._let_go()
                group = self._admit()
                if group:
                    self._read_in(group)
                elif self._cohorts:
                    self._step(self._next())
                self._join()
        finally:
            # However the thread ends, nobody waits for it in vain.
            with self._changed:
                self._is_closed = True
                left = [*self._waiting, *(place for cohort in self._cohorts for place in cohort.places)]
                self._changed.notify_all()
            for place in left:
                self._fail(place, self._closed_error())

    def _has_work(self) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._cohorts or self._is_closed)
            return bool(self._waiting or self._cohorts)

    def _let_go(self) -> None:
        """Let those leave that nobody wants any more."""
        with self._changed:
            gone = [place for place in self._waiting if not self._is_wanted(place)]
            if gone:
                self._waiting = [place for place in self._waiting if place not in gone]
                self._changed.notify_all()
        for place in gone:
            self._fail(place, self._late_error())
        cohorts, self._cohorts = self._cohorts, []
        for cohort in cohorts:
            kept = [place for place in cohort.places if self._is_wanted(place)]
            for place in cohort.places:
                if place not in kept:
                    self._fail(place, self._late_error())
            self._keep(self._only(cohort, kept), cohort.passed_over)

    def _is_wanted(self, place: Place) -> bool:
        deadline, cancel = place.request.deadline, place.request.cancel
        if place.is_cancelled or (cancel is not None and cancel.is_set()):
            return False
        return deadline is None or self._clock() < deadline

    def _admit(self) -> list[Place]:
        """Take those from the queue that are read in now, together: of one kind, in their order."""
        with self._changed:
            for is_interactive in (True, False):
                queue = [place for place in self._waiting if place.request.interactive is is_interactive]
                group = self._fitting(queue, self._room(is_interactive))
                if group:
                    self._waiting = [place for place in self._waiting if place not in group]
                    self._changed.notify_all()
                    return group
        return []

    def _room(self, is_interactive: bool) -> int:
        places = (place for cohort in self._cohorts for place in cohort.places)
        taken = sum(self._need(place) for place in places if place.request.interactive is is_interactive)
        return self._rows_max - taken

    def _fitting(self, queue: Sequence[Place], room: int) -> list[Place]:
        fit_all = sum(self._need(place) for place in queue) <= room
        if not (fit_all or self._pads or room >= self._rows_max * _FREE_SHARE):
            return []
        group: list[Place] = []
        for place in queue:
            if place.kind == queue[0].kind and self._need(place) <= room:
                group.append(place)
                room -= self._need(place)
            elif not group:
                # The first one waits until there is room for it, and is not overtaken.
                break
        return group

    def _need(self, place: Place) -> int:
        """Return how many rows are kept free for a place: choices may take more later on."""
        return min(place.writing.rows_max, self._rows_max)

    def _read_in(self, group: Sequence[Place]) -> None:
        try:
            cohort = Cohort.read_in(group, self._reader, self._fail)
        # Whatever a run raises belongs to these places, never to this thread.
        except Exception as error:  # noqa: BLE001
            self._count(len(group), refused=True)
            if len(group) == 1:
                self._fail(group[0], self._translated(error))
                return
            for place in group:  # each alone, so that nobody suffers from a neighbour
                self._read_in([place])
        else:
            self._count(len(group), refused=False)
            self._keep(cohort, 0)

    def _next(self) -> Cohort:
        longest = max(self._cohorts, key=lambda cohort: cohort.passed_over)
        if longest.passed_over > _PATIENCE:
            return longest
        return min(self._cohorts, key=lambda cohort: (not cohort.is_interactive, cohort.length))

    def _step(self, cohort: Cohort) -> None:
        self._cohorts.remove(cohort)
        for other in self._cohorts:
            other.passed_over += 1
        self._step_on(cohort)

    def _step_on(self, cohort: Cohort) -> None:
        rows = cohort.rows
        try:
            after = cohort.step(self._reader, self._fail)
        # Whatever a run raises belongs to these places, never to this thread.
        except Exception as error:  # noqa: BLE001
            self._count(rows, refused=True)
            if len(cohort.places) == 1:
                self._fail(cohort.places[0], self._translated(error))
                return
            for place in list(cohort.places):  # each alone, so that nobody suffers from a neighbour
                alone = self._only(cohort, [place])
                if alone is not None:
                    self._step_on(alone)
        else:
            self._count(rows, refused=False)
            self._keep(after, max(0, cohort.passed_over - 2))

    def _only(self, cohort: Cohort, places: Sequence[Place]) -> Cohort | None:
        try:
            return cohort.only(places, self._reader)
        # Copying rows takes memory; where there is none, it ends these places only.
        except Exception as error:  # noqa: BLE001
            for place in places:
                self._fail(place, self._translated(error))
            return None

    def _keep(self, cohort: Cohort | None, passed_over: int) -> None:
        if cohort is not None:
            cohort.passed_over = passed_over
            self._cohorts.append(cohort)

    def _join(self) -> None:
        """Make one cohort of those that have come to one length."""
        alike: defaultdict[object, list[Cohort]] = defaultdict(list)
        for cohort in self._cohorts:
            alike[cohort.kind].append(cohort)
        self._cohorts = []
        for cohorts in alike.values():
            parts: list[list[Cohort]] = [[]]
            for cohort in cohorts:
                if sum(one.rows for one in parts[-1]) + cohort.rows > self._rows_max:
                    parts.append([])
                parts[-1].append(cohort)
            for part in filter(None, parts):
                passed_over = max(cohort.passed_over for cohort in part)
                for cohort in self._joined(part):
                    self._keep(cohort, passed_over)

    def _joined(self, cohorts: list[Cohort]) -> list[Cohort]:
        if len(cohorts) == 1:
            return cohorts
        try:
            return [Cohort.joined(cohorts, self._reader)]
        # Copying rows takes memory; where there is none, they go on as they are.
        except Exception:  # noqa: BLE001
            return cohorts

    def _fail(self, place: Place, error: Exception) -> None:
        if not place.future.done():
            place.future.set_exception(error)

    def _translated(self, error: Exception) -> Exception:
        if isinstance(error, EnrichError):
            return error
        translated = InferenceError(f"{self._name}: a run failed: {' '.join(str(error).split())}")
        translated.__cause__ = error
        return translated

    def _count(self, rows: int, *, refused: bool) -> None:
        with self._changed:
            self._runs[rows] += 1
            self._refused += refused

    def _closed_error(self) -> InferenceError:
        return InferenceError(f"the model {self._name} is closed")

    def _late_error(self) -> InferenceError:
        return InferenceError(
            f"{self._name}: nobody waits any more: the deadline has passed, or the call was cancelled"
        )
