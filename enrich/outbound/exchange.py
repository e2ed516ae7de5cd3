"""One HTTP/1.1 request over a checked connection, and its answer."""

from __future__ import annotations

import contextlib
import http.client
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from enrich import __version__
from enrich.errors import FetchFailed

if TYPE_CHECKING:
    from enrich.outbound.connections import Dialler
    from enrich.outbound.deadline import Deadline
    from enrich.outbound.targets import Target

__all__ = ["exchange"]


@contextlib.contextmanager
def exchange(
    dialler: Dialler,
    target: Target,
    deadline: Deadline,
    *,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
) -> Iterator[http.client.HTTPResponse]:
    """Send a request and yield the answer, whose body is not read yet.

    Raises
    ------
    FetchRefused
        As ``Dialler.connected`` does. Not retryable.
    FetchFailed
        There was no answer, or not in time, or none that can be understood; also while the body is read.
        Retryable.
    """
    with dialler.connected(target, deadline) as wire:
        connection = http.client.HTTPConnection(target.host, target.port)
        connection.auto_open = 0  # it must never connect anything by itself
        connection.sock = wire  # it has what http.client uses of a socket
        try:
            connection.putrequest(method, target.path, skip_host=True, skip_accept_encoding=True)
            given = {"Host": target.authority, "User-Agent": f"enrich/{__version__}", "Connection": "close"}
            if body is not None:
                given["Content-Length"] = str(len(body))
            for name, value in {**given, **(headers or {})}.items():
                connection.putheader(name, value)
            connection.endheaders(body)
            with connection.getresponse() as response:
                yield response
        except http.client.HTTPException as error:
            raise FetchFailed(f"{target} does not speak HTTP as it should", retryable=True) from error
        finally:
            connection.close()
