"""Names to addresses, within a time and by few threads.

The operating system's resolver knows no time limit that a caller could set, so it is asked in threads that
may be left behind; how many there are at once is bounded.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable

from enrich.errors import FetchFailed
from enrich.outbound.addresses import plain

__all__ = ["LookUp", "Resolver", "look_up"]

#: Takes a host and a port and returns addresses, best first; raises OSError where there are none.
LookUp = Callable[[str, int], list[str]]

#: Look-ups at once; a name server that hangs costs no more threads than this.
MAX_THREADS = 16


def look_up(host: str, port: int) -> list[str]:
    """Ask the operating system for a name's addresses."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class Resolver:
    """Looks names up; addresses stand for themselves.

    Parameters
    ----------
    ask : callable
        The look-up itself.
    """

    def __init__(self, ask: LookUp = look_up) -> None:
        self._ask = ask
        self._free = threading.BoundedSemaphore(MAX_THREADS)

    def resolve(self, host: str, port: int, within_seconds: float) -> list[str]:
        """Return a host's addresses, best first.

        Raises
        ------
        FetchFailed
            The name is unknown, or was not found in time. Retryable.
        """
        if plain(host) is not None:
            return [host]
        end = time.monotonic() + within_seconds
        if not self._free.acquire(timeout=within_seconds):
            raise FetchFailed(f"{host}: too many names are being looked up", retryable=True)
        found: list[str] = []
        failed: list[BaseException] = []
        done = threading.Event()

        def run() -> None:
            try:
                found.extend(self._ask(host, port))
            # UnicodeError: the system's own idea of what a name may be.
            except (OSError, UnicodeError) as error:
                failed.append(error)
            finally:
                self._free.release()
                done.set()

        threading.Thread(target=run, name="look up", daemon=True).start()
        if not done.wait(end - time.monotonic()):
            raise FetchFailed(f"{host} was not looked up in time", retryable=True)
        if failed or not found:
            raise FetchFailed(f"{host}: no such host", retryable=True)
        return found
