"""Connections that are checked before the first packet and again before the first byte.

The name is looked up here and nowhere else, and the very address that was checked is connected: there is no
second look-up that could be answered otherwise. Proxy variables play no part.
"""

from __future__ import annotations

import contextlib
import io
import socket
import ssl
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from enrich.errors import FetchFailed, FetchRefused
from enrich.outbound.addresses import is_public, plain
from enrich.outbound.names import LookUp, Resolver, look_up

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

    from enrich.outbound.allowlist import AllowList
    from enrich.outbound.deadline import Deadline
    from enrich.outbound.targets import Target

__all__ = ["Dialler", "Wire", "dial"]

#: A host's addresses that are tried, each for its part of the time.
MAX_ADDRESSES = 4

#: Takes an address, a port and seconds; returns a connected socket.
Dial = Callable[[str, int, float], socket.socket]


def dial(address: str, port: int, seconds: float) -> socket.socket:
    """Connect an address, which is never a name."""
    return socket.create_connection((address, port), timeout=seconds)


class Wire:
    """A connected socket whose every read and write ends at the deadline; as ``http.client`` wants one.

    What goes wrong on it is a FetchFailed, so that an OSError around an exchange is the caller's own.
    """

    def __init__(self, target: Target, sock: socket.socket, deadline: Deadline) -> None:
        self._target = target
        self._sock = sock
        self._deadline = deadline

    def sendall(self, data: ReadableBuffer) -> None:
        with self._translated():
            self._sock.settimeout(self._deadline.left())
            self._sock.sendall(data)

    def receive_into(self, buffer: WriteableBuffer) -> int:
        with self._translated():
            self._sock.settimeout(self._deadline.left())
            return self._sock.recv_into(buffer)

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Reader(self))

    def close(self) -> None:
        """Leave it open: ``http.client`` lets go of it before all is read, and ``connected`` closes it."""

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except TimeoutError as error:
            raise FetchFailed(f"{self._target} did not answer in time", retryable=True) from error
        except OSError as error:
            raise FetchFailed(f"{self._target} hung up", retryable=True) from error


class _Reader(io.RawIOBase):
    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        return self._wire.receive_into(buffer)


class Dialler:
    """Connects targets.

    Parameters
    ----------
    allowed : AllowList
        What may be connected besides public addresses.
    connect_seconds : float
        How long one address is tried.
    ask : callable
        Looks a name up.
    dial : callable
        Connects an address.
    context : ssl.SSLContext or None
        How certificates are checked; None: as the system does.
    """

    def __init__(
        self,
        allowed: AllowList,
        *,
        connect_seconds: float,
        ask: LookUp = look_up,
        dial: Dial = dial,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self._allowed = allowed
        self._connect_seconds = connect_seconds
        self._resolver = Resolver(ask)
        self._dial = dial
        self._context = context

    @contextlib.contextmanager
    def connected(self, target: Target, deadline: Deadline) -> Iterator[Wire]:
        """Connect a target; the connection is closed at the end.

        Raises
        ------
        FetchRefused
            Its port is closed, it has no address that may be used, or it is connected elsewhere. Not
            retryable.
        FetchFailed
            There is no such host, it does not answer, or its certificate is wrong. Retryable.
        """
        sock = self._connect(target, deadline)
        try:
            self._check_peer(target, sock)
            if target.scheme == "https":
                sock = self._secured(target, sock, deadline)
            yield Wire(target, sock, deadline)
        finally:
            sock.close()

    def _connect(self, target: Target, deadline: Deadline) -> socket.socket:
        self._allowed.check_port(target)
        found = self._resolver.resolve(target.host, target.port, deadline.left())
        addresses = self._allowed.permitted(target, found)
        if not self._allowed.opens(target):
            addresses = [address for address in addresses if not _is_own(address)]
            if not addresses:
                raise FetchRefused(f"{target} is this machine itself; allow_hosts can open it")
        for address in addresses[:MAX_ADDRESSES]:
            with contextlib.suppress(OSError):  # the next one may answer
                return self._dial(address, target.port, deadline.left(self._connect_seconds))
        raise FetchFailed(f"{target} does not answer", retryable=True)

    def _check_peer(self, target: Target, sock: socket.socket) -> None:
        try:
            peer = str(sock.getpeername()[0])
        except OSError as error:
            raise FetchFailed(f"{target} hung up", retryable=True) from error
        if not self._allowed.opens(target) and not is_public(peer):
            raise FetchRefused(f"{target} was connected at no public address")

    def _secured(self, target: Target, sock: socket.socket, deadline: Deadline) -> ssl.SSLSocket:
        if self._context is None:  # reading all the system's certificates takes its time
            self._context = ssl.create_default_context()
        sock.settimeout(deadline.left(2 * self._connect_seconds))
        try:
            return self._context.wrap_socket(sock, server_hostname=target.host)
        except ssl.SSLCertVerificationError as error:
            raise FetchFailed(f"{target}: its certificate is wrong: {error.verify_message}") from error
        except (OSError, ValueError) as error:  # ValueError: a name that no certificate can hold
            raise FetchFailed(f"{target} speaks no TLS", retryable=True) from error


def _is_own(address: str) -> bool:
    """Whether an address is this machine's own: a public one, too, leads past the firewall in front of it."""
    parsed = plain(address)
    if parsed is None:
        return False
    family = socket.AF_INET if parsed.version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((str(parsed), 9))  # a datagram socket: nothing is sent
        except OSError:
            return False
        return plain(str(probe.getsockname()[0])) == parsed
