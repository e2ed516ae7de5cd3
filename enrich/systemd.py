"""What the daemon tells systemd: that it is ready, what it is doing, and that it is alive.

The protocol of sd_notify(3): datagrams of ``NAME=value`` lines to the socket that ``NOTIFY_SOCKET``
names. Where there is none, nothing is sent.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable, MutableMapping

__all__ = ["Notifier"]

log = logging.getLogger(__name__)

#: A message waits so long at most: a service manager that is stuck must not stop the daemon too.
SEND_SECONDS = 1.0


class Notifier:
    """A service manager's ear. No method raises because nobody listens any more.

    Parameters
    ----------
    address : str or None
        The socket, a path or ``@`` and an abstract name; None where there is no service manager.
    ping_seconds : float or None
        How often ``ping`` is to be called; None where nobody waits for it.
    comes_back : callable
        Whether the process starts anew after its end.
    """

    def __init__(
        self,
        address: str | None,
        ping_seconds: float | None = None,
        *,
        comes_back: Callable[[], bool] = lambda: False,
    ) -> None:
        self._address = address
        self._comes_back = comes_back
        self._is_heard = True
        self.ping_seconds = ping_seconds

    @classmethod
    def from_environment(
        cls, environ: MutableMapping[str, str], *, comes_back: Callable[[], bool] = lambda: False
    ) -> Notifier:
        """Return the notifier that the environment names, and take its variables away.

        A child that inherited them would speak for this process.
        """
        address = environ.pop("NOTIFY_SOCKET", "")
        usec, pid = environ.pop("WATCHDOG_USEC", ""), environ.pop("WATCHDOG_PID", "")
        if address[:1] not in ("/", "@"):  # none, or of a kind (vsock) that only virtual machines have
            return cls(None)
        is_watched = usec.isdecimal() and int(usec) > 0 and pid in ("", str(os.getpid()))
        # Half the time systemd waits. Source: sd_watchdog_enabled(3).
        return cls(address, int(usec) / 2_000_000 if is_watched else None, comes_back=comes_back)

    def ready(self, status: str) -> None:
        """Say that the start is over, and what is being done."""
        self._send("READY=1", _status(status))

    def status(self, text: str) -> None:
        """Say in a line what is being done; `systemctl status` shows it."""
        self._send(_status(text))

    def stopping(self, extend_seconds: float = 0) -> None:
        """Say that the end has begun, and that it may take ``extend_seconds`` whatever the unit says.

        A process that comes back says that it reloads: it is not to be waited for until it is gone.
        """
        extend = [f"EXTEND_TIMEOUT_USEC={extend_seconds * 1_000_000:.0f}"] if extend_seconds else []
        if self._comes_back():
            self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}", *extend)
        else:
            self._send("STOPPING=1", *extend)

    def ping(self) -> None:
        """Say that the process is alive; call it every ``ping_seconds`` from where a hang would show."""
        self._send("WATCHDOG=1")

    def _send(self, *lines: str) -> None:
        if self._address is None:
            return
        address = self._address
        if address.startswith("@"):
            address = "\0" + address[1:]
        try:
            # A socket a message: whatever happened to the last one, systemd may listen again.
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as connection:
                connection.settimeout(SEND_SECONDS)
                connection.sendto("\n".join(lines).encode("utf-8", "replace"), address)
        except OSError as error:
            if self._is_heard:
                log.warning("the service manager does not listen at %s: %s", self._address, error)
            self._is_heard = False
        else:
            self._is_heard = True


def _status(text: str) -> str:
    return "STATUS=" + " ".join(text.split())  # a line break would begin another assignment
