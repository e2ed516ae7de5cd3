"""A daemon that ends its work and starts itself anew, because memory stayed in use that nothing needs."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Sequence

__all__ = ["Recycling"]


class Recycling:
    """The way of one daemon to its next life, in the same process: its number and its output stay.

    Make it before anything takes variables out of the environment.

    Parameters
    ----------
    stop : threading.Event
        What ends the daemon.
    """

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop
        self._environment = dict(os.environ)
        self._is_asked = threading.Event()
        #: The signals that came: whoever is told to end does not come back.
        self.signals: Sequence[int] = ()

    def ask(self) -> None:
        """Let the daemon end, and start anew."""
        self._is_asked.set()
        self._stop.set()

    def is_due(self) -> bool:
        """Tell whether the end, once it has begun, is followed by a new start."""
        return self._is_asked.is_set() and not self.signals

    def start_anew(self) -> None:
        """Put a new program in the place of this one, whatever its threads do.

        Raises
        ------
        OSError
            The Python that runs this is gone.
        """
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        # What was started is started again, in the same words.
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], self._environment)  # noqa: S606
