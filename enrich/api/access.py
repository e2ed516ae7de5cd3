"""Who may ask, how often and for how much; without any key, only who sits at this machine."""

from __future__ import annotations

import contextlib
import ipaddress
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from enrich.api.errors import InsufficientCredits, InvalidKey, NotAllowed, NotAuthorized, TooManyRequests
from enrich.api.limits import Limits
from enrich.api.requests import Caller
from enrich.catalog import keys
from enrich.catalog.engine import translated

if TYPE_CHECKING:
    import sqlalchemy as sa

    from enrich.catalog.writer import Writer
    from enrich.sections import RateLimit

__all__ = ["Access", "bearer", "check_local", "is_loopback"]

#: Nothing longer is a key of ours.
_SECRET_MAX = 200
#: So long it is believed that there is no key yet; that there is one is never forgotten.
_KEYLESS_SECONDS = 1.0


class Access:
    """Knows callers by their keys; may be called from any thread.

    Parameters
    ----------
    engine : sqlalchemy.Engine
        The catalog, to look up.
    writer : Writer
        Its writer.
    rate_limit : RateLimit
        For keys that have no limits of their own.
    is_local : bool
        The server is bound to a loopback address, so that it may do without keys.
    clock : callable
        ``time.monotonic``.
    """

    def __init__(
        self,
        engine: sa.Engine,
        writer: Writer,
        rate_limit: RateLimit,
        *,
        is_local: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = engine
        self._writer = writer
        self._rate_limit = rate_limit
        self._is_local = is_local
        self._clock = clock
        self._limits = Limits()
        self._keyless_until = 0.0
        self._is_keyed = False

    @property
    def is_keyless(self) -> bool:
        """Whether no key was ever made: then whoever reaches the server may do everything."""
        if not self._is_keyed and self._clock() >= self._keyless_until:
            with translated(), self._engine.connect() as connection:
                self._is_keyed = keys.any_configured(connection)
            self._keyless_until = self._clock() + _KEYLESS_SECONDS
        return not self._is_keyed

    def check_origin(self, headers: Mapping[str, str]) -> None:
        """Refuse what a web page of somebody else sent to a server without keys.

        Raises
        ------
        NotAllowed
            The request is addressed to another name than this machine's own, or comes from a page
            of another origin. Not retryable.
        """
        if self.is_keyless:
            check_local(headers)

    def identify(self, secret: str | None) -> Caller:
        """Return whose key this is.

        Raises
        ------
        NotAuthorized, InvalidKey
            There is none, or it is not known. Not retryable.
        """
        if self.is_keyless:
            if not self._is_local:
                raise NotAuthorized(
                    "no key is configured, so nobody is let in; make one: enrich keys create NAME"
                )
            return Caller()
        if not secret:
            raise NotAuthorized("a key is needed: Authorization: Bearer KEY")
        row = None
        if len(secret) <= _SECRET_MAX and secret.isascii() and secret.isprintable():
            with translated(), self._engine.connect() as connection:
                row = keys.find(connection, secret)
        if row is None:
            raise InvalidKey("the key is not known")
        return Caller(row.id, row.name, row.scopes, row.minute_limit, row.hour_limit)

    def admit(self, caller: Caller, scope: str, count: int = 0) -> None:
        """Let a caller do ``count`` things of a scope.

        Raises
        ------
        NotAllowed
            The key has not that scope. Not retryable.
        TooManyRequests
            It has asked for too much lately. Retryable.
        """
        if scope not in caller.scopes:
            raise NotAllowed(f"the key has not the scope {scope}")
        if caller.key_id is None or count == 0:
            return
        limits = (
            self._rate_limit.minute if caller.minute_limit is None else caller.minute_limit,
            self._rate_limit.hour if caller.hour_limit is None else caller.hour_limit,
        )
        wait_seconds = self._limits.take(caller.key_id, limits, count, self._clock())
        if wait_seconds > 0:
            raise TooManyRequests(
                f"the key may ask {limits[0]} times a minute and {limits[1]} times an hour", wait_seconds
            )

    @contextlib.contextmanager
    def spending(self, caller: Caller, amount: float) -> Iterator[Callable[[], None]]:
        """Take what work costs off the caller's credits; give it back if the work fails.

        Yields a function that gives it back where the work cost nothing after all.

        Raises
        ------
        InsufficientCredits
            They do not suffice. Not retryable.
        """
        key_id = caller.key_id
        if key_id is None or amount <= 0:
            yield lambda: None
            return
        if not self._writer.write(lambda connection: keys.charge(connection, key_id, amount)):
            raise InsufficientCredits("the key's credits do not suffice")
        is_refunded = False

        def refund() -> None:
            nonlocal is_refunded
            if not is_refunded:
                is_refunded = True
                self._writer.write(lambda connection: keys.refund(connection, key_id, amount))

        try:
            yield refund
        except BaseException:
            refund()
            raise


def bearer(headers: Mapping[str, str]) -> str | None:
    """Return the key of an ``Authorization: Bearer`` header."""
    scheme, _, secret = headers.get("authorization", "").strip().partition(" ")
    return secret.strip() or None if scheme.lower() == "bearer" else None


def is_loopback(host: str) -> bool:
    """Whether a name or address can only be reached from this machine."""
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def check_local(headers: Mapping[str, str]) -> None:
    """Refuse what was not sent to this machine by its own name, or by a page of another origin.

    A page in a browser can post to 127.0.0.1, and can make its own name lead there (DNS rebinding):
    the first is told by ``Origin`` and ``Sec-Fetch-Site``, the second by ``Host``.

    Raises
    ------
    NotAllowed
        Not retryable.
    """
    host = headers.get("host", "")
    try:
        name = urllib.parse.urlsplit(f"//{host}").hostname
    except ValueError:
        name = None
    if name is None or not is_loopback(name):
        raise NotAllowed(
            "without keys only this machine is served, by its own name (localhost); "
            "make a key for others: enrich keys create NAME"
        )
    origin = headers.get("origin")
    is_foreign = origin is not None and origin.lower() not in (
        f"http://{host.lower()}",
        f"https://{host.lower()}",
    )
    if is_foreign or headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
        raise NotAllowed(
            "without keys no page of another origin is served; make a key: enrich keys create NAME"
        )
