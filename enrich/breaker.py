"""A circuit breaker per step: what fails for everyone is paused, tried again now and then, and says so.

Pure: the clock is passed in. Closed, a step is claimed as usual. Once nothing but failures came for
``TRIP_FAILURES`` assets it opens: for a while it is not claimed. Then a few are let through, and
one success among them closes the step; else it opens for longer.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

__all__ = ["Breaker", "Verdict"]

#: Failures in a row, over different assets, that are no longer the assets' fault.
TRIP_FAILURES = 10
#: A step is paused for so long, and each time twice as long, at most for an hour's quarter.
PAUSE_SECONDS = 30.0
MAX_PAUSE_SECONDS = 900.0
#: A trial that found no asset, or whose outcome never came, is repeated after so long.
TRIAL_SECONDS = 60.0


@dataclass(slots=True)
class _Circuit:
    failed: set[int] = field(default_factory=set)
    pauses: int = 0
    open_until: float | None = None
    trial_until: float = 0.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to make of a batch's failures.

    ``pause_seconds`` is set where they are the step's fault: its jobs are not to blame, and due
    again after so long. ``is_change`` says that the step was opened, or closed again, just now;
    ``is_trial`` that a trial failed.
    """

    pause_seconds: float | None = None
    is_change: bool = False
    is_trial: bool = False


class Breaker:
    """Watches over steps; may be asked by several threads.

    Parameters
    ----------
    steps : sequence of str
        The steps' names.
    monotonic : callable
        Seconds since some instant.
    """

    def __init__(self, steps: Sequence[str], monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._circuits = {step: _Circuit() for step in steps}
        self._strangers = itertools.count(-1, -1)
        self._lock = threading.Lock()

    def closed(self) -> list[str]:
        """Return the steps that work."""
        with self._lock:
            return [step for step, circuit in self._circuits.items() if circuit.open_until is None]

    def trial(self) -> str | None:
        """Return a step whose pause is over, to be tried with a few assets; to one caller only."""
        now = self._monotonic()
        with self._lock:
            for step, circuit in self._circuits.items():
                if circuit.open_until is not None and max(circuit.open_until, circuit.trial_until) <= now:
                    circuit.trial_until = now + TRIAL_SECONDS
                    return step
        return None

    def judge(self, step: str, worked: Sequence[bool], assets: Sequence[int] | None = None) -> Verdict:
        """Take in how a step did on some assets, in order; say what their failures mean.

        An asset that fails again and again is one failure; without ``assets`` each is another one.
        """
        with self._lock:
            circuit = self._circuits[step]
            was_open = circuit.open_until is not None
            for position, did_work in enumerate(worked):
                if did_work:
                    circuit = self._circuits[step] = _Circuit()
                else:
                    circuit.failed.add(next(self._strangers) if assets is None else assets[position])
            if any(worked) or not worked:
                return Verdict(is_change=was_open and bool(worked))
            if circuit.open_until is None and len(circuit.failed) < TRIP_FAILURES:
                return Verdict()
            return self._open(circuit)

    def _open(self, circuit: _Circuit) -> Verdict:
        now = self._monotonic()
        if circuit.open_until is not None and circuit.open_until > now:
            # A batch that was under way when the step was paused.
            return Verdict(pause_seconds=circuit.open_until - now)
        pause = min(MAX_PAUSE_SECONDS, PAUSE_SECONDS * 2**circuit.pauses)
        circuit.open_until = now + pause
        circuit.trial_until = 0.0
        circuit.pauses += 1
        circuit.failed = set()  # they are no longer needed, and a pause may last
        return Verdict(pause_seconds=pause, is_change=True, is_trial=circuit.pauses > 1)
