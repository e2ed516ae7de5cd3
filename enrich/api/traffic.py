"""Every request gets an id and a line in the log, without a secret in it."""

from __future__ import annotations

import logging
import time
import uuid
from typing import TYPE_CHECKING, Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

if TYPE_CHECKING:
    from enrich.api.exchange import Exchange
    from enrich.api.numbers import Numbers

__all__ = ["Traffic"]

log = logging.getLogger("enrich.http")

#: Answers are data: nothing guesses another type for them, and no address of ours is told on.
_HEADERS = ((b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer"))


class Traffic:
    """Wraps an application.

    Parameters
    ----------
    application : ASGI application
        What answers.
    numbers : Numbers
        Told of each answer.
    """

    def __init__(self, application: ASGIApp, numbers: Numbers) -> None:
        self._application = application
        self._numbers = numbers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        request_id = scope["request_id"] = str(uuid.uuid4())
        started = time.monotonic()
        status = 499  # nothing was sent: the client went away

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode()), *_HEADERS]
            await send(message)

        # Whoever may GET may HEAD; the server leaves the body away.
        asked = {**scope, "method": "GET"} if scope["method"] == "HEAD" else scope
        try:
            await self._application(asked, receive, sending)
        finally:
            self._tell({**asked, "method": scope["method"]}, status, time.monotonic() - started)

    def _tell(self, scope: Scope, status: int, seconds: float) -> None:
        exchange: Exchange | None = scope.get("exchange")
        facts = dict(exchange.facts) if exchange is not None else {}
        dialect = exchange.dialect if exchange is not None else "none"
        self._numbers.answered(dialect, status, facts.get("error"), seconds)
        # The path only: a query may hold a key, and what a body holds is nobody's business.
        fields: dict[str, Any] = {
            "request_id": scope["request_id"],
            "dialect": dialect,
            "method": scope["method"],
            "path": scope["path"],
            "status": status,
            "elapsed_ms": round(seconds * 1000, 1),
            "client": (scope.get("client") or ("",))[0],
            **facts,
        }
        text = "%s %s %d in %.0f ms %s"
        log.info(
            text,
            _visible(fields["method"]),
            _visible(fields["path"]),
            status,
            fields["elapsed_ms"],
            " ".join(f"{name}={_visible(fields[name])}" for name in ("request_id", *facts)),
            extra={"fields": fields},
        )


def _visible(value: object) -> str:
    """Return what a client said so that it stays on its line: else it could write lines of its own."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(value))
