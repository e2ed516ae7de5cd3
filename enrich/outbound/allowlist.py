"""Which hosts and ports may be reached: public addresses, and what config.yaml opens by name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from enrich.errors import FetchRefused
from enrich.outbound.addresses import is_public, plain

if TYPE_CHECKING:
    from enrich.outbound.targets import Target

__all__ = ["DEFAULT_PORTS", "AllowList", "canonical_host"]

DEFAULT_PORTS = {"http": 80, "https": 443}

_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")

# "2130706433", "0x7f.1" and "127.1" are addresses to some resolvers: nothing that ends in a number is a name.
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")

_ENTRY = re.compile(r"(?P<host>\*\.[^:\[\]*]+|\[[^\]*]+\]|[^:\[\]*]+)(?::(?P<port>[0-9]{1,5}))?")


class AllowList:
    """The hosts that config.yaml opens, whatever their addresses and ports.

    Parameters
    ----------
    entries : iterable of str
        ``host`` (all its ports), ``host:port``, ``*.example.org`` (what is below it), ``[::1]:8080``. A host
        is matched as a URL names it: no name opens what lies behind another name.

    Raises
    ------
    ValueError
        An entry is none of these; the message says which.
    """

    def __init__(self, entries: Iterable[str] = ()) -> None:
        self._opened = frozenset(_entry(entry) for entry in entries)

    def opens(self, target: Target) -> bool:
        """Return whether a target's host and port are opened by name."""
        labels = target.host.split(".")
        names = [target.host]
        if plain(target.host) is None:
            names += ["*." + ".".join(labels[depth:]) for depth in range(1, len(labels))]
        return any((name, port) in self._opened for name in names for port in (None, target.port))

    def check_port(self, target: Target) -> None:
        """Refuse a port that is neither a web server's nor opened.

        Raises
        ------
        FetchRefused
            It is. Not retryable.
        """
        if target.port not in DEFAULT_PORTS.values() and not self.opens(target):
            raise FetchRefused(f"{target}: its port is closed; allow_hosts can open it")

    def permitted(self, target: Target, addresses: Sequence[str]) -> list[str]:
        """Return those of a target's addresses that may be connected.

        Raises
        ------
        FetchRefused
            None may. Not retryable.
        """
        found = [address for address in addresses if self.opens(target) or is_public(address)]
        if not found:
            raise FetchRefused(f"{target} is at no public address; allow_hosts can open it")
        return found


def canonical_host(host: str) -> str | None:
    """Return a host name in lower case and ASCII, or an address in its shortest form; None for neither."""
    if ":" in host or "%" in host:
        address = plain(host)
        return None if address is None else str(address)
    try:
        # Python's codec also maps full-width digits and dots, so what follows sees what they stand for.
        name = host.encode("idna").decode("ascii").lower().removesuffix(".")
    except UnicodeError:
        return None
    labels = name.split(".")
    if _NUMBER.fullmatch(labels[-1]):
        address = plain(name)
        return None if address is None else str(address)
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        return None
    return name


def _entry(entry: str) -> tuple[str, int | None]:
    match = _ENTRY.fullmatch(entry.strip())
    if match is not None:
        host, port = match["host"].strip("[]"), match["port"]
        star = "*." if host.startswith("*.") else ""
        name = canonical_host(host.removeprefix("*."))
        is_name = name is not None and not (star and plain(name) is not None)
        if is_name and (port is None or 0 < int(port) < 65536):
            return f"{star}{name}", None if port is None else int(port)
    raise ValueError(f"{entry!r} is no host; write host, host:port or *.example.org")
