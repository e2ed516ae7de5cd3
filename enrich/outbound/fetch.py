"""Fetches what a URL leads to, from public addresses and what config.yaml opens, within limits."""

from __future__ import annotations

import ssl
import urllib.parse
from collections.abc import Iterable
from dataclasses import dataclass
from http.client import HTTPResponse
from typing import BinaryIO

from enrich.errors import FetchFailed
from enrich.outbound.allowlist import AllowList
from enrich.outbound.bodies import receive
from enrich.outbound.connections import Dial, Dialler, dial
from enrich.outbound.deadline import Deadline
from enrich.outbound.exchange import exchange
from enrich.outbound.names import LookUp, look_up
from enrich.outbound.targets import Target, parse

__all__ = ["Fetched", "Fetcher", "Limits"]

_REDIRECTS = (301, 302, 303, 307, 308)

#: Answers that may be others soon; RFC 9110 section 15 and RFC 6585.
_PASSING = (408, 425, 429, 500, 502, 503, 504)

_HEADERS = {"Accept": "image/*, */*;q=0.5", "Accept-Encoding": "identity"}

#: As long as a file system takes a name.
MAX_NAME_BYTES = 255


@dataclass(frozen=True, slots=True)
class Limits:
    """What one fetch may cost, with all its redirects; ``max_bytes`` counts on the way and unpacked."""

    total_seconds: float = 20.0
    connect_seconds: float = 5.0
    max_bytes: int = 20_000_000
    max_redirects: int = 3


@dataclass(frozen=True, slots=True)
class Fetched:
    """What came.

    Parameters
    ----------
    media_type : str
        As the server said, lower case and without parameters; "" where it said nothing.
    file_name : str
        The last part of the URL's path that was asked for, or of where it led; "" where neither has one.
    size_bytes : int
        What was written.
    origin : str
        Where it came from in the end, without path and query: fit for logs.
    """

    media_type: str
    file_name: str
    size_bytes: int
    origin: str


class Fetcher:
    """Fetches URLs; may be used by many threads.

    Parameters
    ----------
    allow_hosts : iterable of str
        What may be fetched besides public addresses at ports 80 and 443, see ``AllowList``.
    limits : Limits
        What one fetch may cost.
    ask, dial : callable
        How a name is looked up, and an address connected.
    context : ssl.SSLContext or None
        How certificates are checked; None: as the system does.
    """

    def __init__(
        self,
        allow_hosts: Iterable[str] = (),
        *,
        limits: Limits | None = None,
        ask: LookUp = look_up,
        dial: Dial = dial,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self._limits = limits or Limits()
        self._dialler = Dialler(
            AllowList(allow_hosts),
            connect_seconds=self._limits.connect_seconds,
            ask=ask,
            dial=dial,
            context=context,
        )

    def fetch(
        self, url: str, into: BinaryIO, *, max_bytes: int | None = None, seconds: float | None = None
    ) -> Fetched:
        """Write what a URL leads to into a file; after an error the file holds some of it.

        ``max_bytes`` and ``seconds`` narrow the limits for this once.

        Raises
        ------
        FetchRefused
            The URL, a port, an address or a redirect is not to be used. Not retryable.
        FetchTooLarge
            It is larger than it may be. Not retryable.
        FetchFailed
            It could not be had; retryable where that may pass.
        """
        limits = self._limits
        max_bytes = limits.max_bytes if max_bytes is None else min(max_bytes, limits.max_bytes)
        seconds = limits.total_seconds if seconds is None else min(seconds, limits.total_seconds)
        deadline = Deadline(seconds)
        asked = target = parse(url)
        for _ in range(limits.max_redirects + 1):
            with exchange(self._dialler, target, deadline, headers=_HEADERS) as response:
                if response.status in _REDIRECTS:
                    target = _next(target, response)
                    continue
                _check_status(target, response)
                size_bytes = receive(target, response, into, max_bytes)
                media_type = (response.headers.get("Content-Type") or "").partition(";")[0].strip().lower()
                return Fetched(media_type, _file_name(asked) or _file_name(target), size_bytes, str(target))
        raise FetchFailed(f"{asked} redirects more than {limits.max_redirects} times")


def _next(target: Target, response: HTTPResponse) -> Target:
    location = response.headers.get("Location")
    if not location:
        raise FetchFailed(f"{target} redirects to nowhere")
    # http.client reads headers as Latin-1; browsers read this one as UTF-8.
    return target.follow(location.encode("latin-1", "replace").decode("utf-8", "replace"))


def _check_status(target: Target, response: HTTPResponse) -> None:
    if response.status != 200:
        raise FetchFailed(f"{target} answered {response.status}", retryable=response.status in _PASSING)


def _file_name(target: Target) -> str:
    """Return the last part of a path as a name that is safe to show and to store."""
    last = target.path.partition("?")[0].rpartition("/")[2]
    name = urllib.parse.unquote(last, errors="replace").replace("\\", "/").rpartition("/")[2]
    name = "".join(character for character in name if character.isprintable()).strip()
    if name.strip(".") == "":
        return ""
    return name.encode()[:MAX_NAME_BYTES].decode(errors="ignore")
