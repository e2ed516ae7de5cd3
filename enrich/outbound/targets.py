"""URLs that strangers give, read strictly: one host, one port, no two ways to understand them."""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from enrich.errors import FetchRefused
from enrich.outbound.addresses import plain
from enrich.outbound.allowlist import DEFAULT_PORTS, AllowList, canonical_host

__all__ = ["Target", "check_url", "parse"]

#: Longer URLs are refused; servers take no longer ones either.
MAX_URL_LENGTH = 8192

# What no part of a URL may hold: controls could cut a request in two, a backslash is a slash to some.
_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f-\x9f\\]")

# Without this, `[::1]evil.example` would be ::1 to Python and something else to others.
_NETLOC = re.compile(r"(\[[^\[\]@]*\]|[^\[\]:@]*)(:[0-9]*)?")

#: Kept as they are in a path and query; the rest becomes percent escapes.
_KEPT = "%/:=&?~#+!$,;'@()*[]|"


@dataclass(frozen=True, slots=True)
class Target:
    """Where a URL leads: ``host`` is lower case and ASCII, ``path`` starts with a slash and holds the query.

    Its text leaves path and query out, which may be secret: it is fit for messages.
    """

    scheme: Literal["http", "https"]
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """The host as a request names it: with its port where that is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}"

    __repr__ = __str__

    def follow(self, location: str) -> Target:
        """Return where a redirect leads.

        Raises
        ------
        FetchRefused
            As ``parse`` does. Not retryable.
        """
        if _FORBIDDEN.search(location):
            raise FetchRefused(f"{self} redirects to something that is no URL")
        try:
            joined = urllib.parse.urljoin(f"{self}{self.path}", location)
        except ValueError:
            raise FetchRefused(f"{self} redirects to something that is no URL") from None
        return parse(joined)


def parse(url: str) -> Target:
    """Read a URL.

    Raises
    ------
    FetchRefused
        It is not http or https, names a user, or can be understood in two ways. Not retryable.
    """
    if len(url) > MAX_URL_LENGTH or _FORBIDDEN.search(url):
        raise FetchRefused("the URL is too long, or has backslashes or control characters in it")
    try:
        parts = urllib.parse.urlsplit(url.strip(" "))
        port = parts.port
    except ValueError:  # its message holds the URL
        raise FetchRefused("this is no URL") from None
    scheme = parts.scheme.lower()
    if scheme not in ("http", "https"):
        raise FetchRefused("only http and https URLs are fetched")
    if not _NETLOC.fullmatch(parts.netloc.rpartition("@")[2]):
        raise FetchRefused("the URL's host is no host name and no address")
    if "@" in parts.netloc:
        raise FetchRefused("a URL with a user or password in it is refused")
    if parts.netloc.endswith(":") or port == 0:
        raise FetchRefused("the URL's port is no port")
    host = _host(parts.hostname or "")
    path = urllib.parse.quote(parts.path or "/", safe=_KEPT)
    query = f"?{urllib.parse.quote(parts.query, safe=_KEPT)}" if parts.query else ""
    known: Literal["http", "https"] = "https" if scheme == "https" else "http"
    return Target(known, host, DEFAULT_PORTS[known] if port is None else port, f"{path}{query}")


def check_url(url: str, allow_hosts: AllowList | Iterable[str] = ()) -> None:
    """Refuse at once a URL that nothing will ever be sent to, without looking its host up.

    Raises
    ------
    FetchRefused
        Its form, its port or the address it names is refused. Not retryable.
    """
    allowed = allow_hosts if isinstance(allow_hosts, AllowList) else AllowList(allow_hosts)
    target = parse(url)
    allowed.check_port(target)
    if plain(target.host) is not None:
        allowed.permitted(target, [target.host])


def _host(host: str) -> str:
    canonical = canonical_host(host)
    if canonical is None:
        raise FetchRefused("the URL's host is no host name and no address")
    return canonical
