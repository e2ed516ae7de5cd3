"""SIGINT and SIGTERM, heard by a thread of their own.

A handler runs between two steps of the main thread, which may just hold the lock of the very event
that the handler wants to set: then both wait for ever. So handlers here do nothing, and the signal's
number, which Python writes to a pipe, is read by a thread.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from enrich.recycling import Recycling

__all__ = ["interruptible", "leave"]

_NUMBERS = (signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def interruptible(stop: threading.Event) -> Iterator[list[int]]:
    """Let a first SIGINT or SIGTERM set ``stop``, and a second one end the process at once with 130.

    Yields the signals that came. Only the main thread may ask for this.
    """
    came: list[int] = []
    reading, writing = os.pipe()
    os.set_blocking(writing, False)

    def listen() -> None:
        while number := os.read(reading, 1)[0]:
            if number in _NUMBERS:
                came.append(number)
                stop.set()
                if len(came) > 1:
                    leave(130)

    listener = threading.Thread(target=listen, name="signals", daemon=True)
    handlers = {number: signal.signal(number, lambda number, frame: None) for number in _NUMBERS}
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    listener.start()
    try:
        yield came
    finally:
        signal.set_wakeup_fd(before)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        os.write(writing, b"\0")
        listener.join()
        os.close(reading)
        os.close(writing)


def leave(code: int, *, recycling: Recycling | None = None) -> None:
    """End the process at once, whatever its threads do: the catalog stands that. Or start it anew."""
    if recycling is not None and recycling.is_due():
        recycling.start_anew()
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)
