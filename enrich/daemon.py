"""``enrich watch``: keepers look after the roots, the intake takes in, the worker works off, for months.

What ends by itself is noticed: a daemon of which a part is dead does not go on as if it lived, it
ends with an error, and whoever started it starts it again. Nothing is lost by that.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from enrich.errors import CatalogError, EnrichError

if TYPE_CHECKING:
    from enrich.assembly import Parts
    from enrich.keeper import Keeper
    from enrich.systemd import Notifier

__all__ = ["Daemon"]

log = logging.getLogger(__name__)

#: How often the daemon looks at itself.
TICK_SECONDS = 1.0
#: A root whose file system hangs is not waited for any longer before the daemon says it is ready.
READY_SECONDS = 10.0
#: What ends after the drain (observers, the last writes) takes no longer.
STOPPING_SECONDS = 15.0
#: How often the metrics file is written.
METRICS_SECONDS = 15.0


class Daemon:
    """Runs until it is told to stop.

    Parameters
    ----------
    parts : Parts
        Takes in and works off.
    keepers : sequence of Keeper
        One per root.
    look_at_doubts : callable
        Looks at files that were not as catalogued; waits for the first so many seconds.
    notifier : Notifier
        Tells the service manager.
    write_metrics : callable or None
        Writes the metrics file.
    drain_seconds : float
        How long the end may take.
    """

    def __init__(
        self,
        parts: Parts,
        keepers: Sequence[Keeper],
        look_at_doubts: Callable[[float], None],
        *,
        notifier: Notifier,
        drain_seconds: float,
        write_metrics: Callable[[], None] | None = None,
    ) -> None:
        self._parts = parts
        self._keepers = keepers
        self._look_at_doubts = look_at_doubts
        self._notifier = notifier
        self._drain_seconds = drain_seconds
        self._write_metrics = write_metrics
        self._stop = threading.Event()
        self._looked_at = 0.0
        self._pinging = threading.Thread(target=self._ping, name="ping", daemon=True)
        self._doubting = threading.Thread(target=self._doubt, name="doubts", daemon=True)

    def run(self, stop: threading.Event, on_ready: Callable[[], None] = lambda: None) -> bool:
        """Work until ``stop`` is set, then finish what was begun; return whether that was possible in time.

        Raises
        ------
        EnrichError
            A part of the daemon ended by itself.
        """
        self._stop = stop
        self._looked_at = time.monotonic()
        self._parts.intake.start()
        self._parts.worker.start()
        self._doubting.start()
        for keeper in self._keepers:
            keeper.start()
        end = time.monotonic() + READY_SECONDS
        for keeper in self._keepers:
            while not stop.is_set() and time.monotonic() < end and not keeper.settled.wait(0.05):
                pass
        self._pinging.start()
        self._notifier.ready(self._status())
        log.info("ready: %s", self._status())
        on_ready()
        try:
            self._wait(stop)
        finally:
            stop.set()
            is_drained = self._drain()
        return is_drained

    def _wait(self, stop: threading.Event) -> None:
        metrics_at = time.monotonic()
        status = self._status()
        while not stop.wait(TICK_SECONDS):
            self._check()
            now = time.monotonic()
            if self._write_metrics is not None and now >= metrics_at:
                self._write_metrics()
                metrics_at = now + METRICS_SECONDS
            before, status = status, self._status()
            if status != before:
                self._notifier.status(status)
            self._looked_at = now

    def _ping(self) -> None:
        """Tell the service manager that the daemon lives, as long as it looks at itself, or drains."""
        seconds = self._notifier.ping_seconds
        while seconds is not None:
            if self._stop.is_set() or time.monotonic() - self._looked_at < 10 * TICK_SECONDS:
                self._notifier.ping()
            time.sleep(seconds)

    def _status(self) -> str:
        because = self._parts.writer.waits_because
        if because is not None:
            return f"waiting: {because}"
        count = len(self._keepers)
        return f"watching {count} root{'s' * (count != 1)}"

    def _check(self) -> None:
        alive = {
            "the catalog's writer": self._parts.writer.is_alive,
            "the intake": self._parts.intake.is_alive,
            "the worker": self._parts.worker.is_alive,
            "the courier": self._parts.courier.is_alive,
            "the look at doubted files": self._doubting.is_alive(),
            **{f"the keeper of {keeper.root.path}": keeper.is_alive for keeper in self._keepers},
        }
        dead = [name for name, lives in alive.items() if not lives]
        if dead:
            raise EnrichError(f"{', '.join(dead)} ended by itself, which is a bug; start the daemon again")

    def _drain(self) -> bool:
        self._notifier.stopping(self._drain_seconds + STOPPING_SECONDS)
        end = time.monotonic() + self._drain_seconds
        self._parts.worker.finish()
        self._parts.intake.refuse()
        for keeper in self._keepers:
            keeper.wake()
        is_drained = True
        try:
            is_drained = self._parts.intake.stop(max(1.0, end - time.monotonic()))
        except CatalogError as error:
            log.warning("what was read last was not recorded, the next start finds it again: %s", error)
            is_drained = False
        is_drained &= self._parts.worker.stop(max(0.0, end - time.monotonic()))
        # Last: one that hangs on a dead share takes nobody's time.
        is_drained &= all(keeper.join(max(0.0, end - time.monotonic())) for keeper in self._keepers)
        if not is_drained:
            log.warning("not everything ended within %.0f s; what is left stays pending", self._drain_seconds)
        return is_drained

    def _doubt(self) -> None:
        while not self._stop.is_set():
            try:
                self._look_at_doubts(TICK_SECONDS)
            except EnrichError as error:
                log.warning("doubted files were not looked at: %s", error)
