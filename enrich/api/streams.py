"""Answers that are sent piece by piece as they are made: server-sent events."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.responses import Response, StreamingResponse

from enrich.api.errors import ApiError, Internal

if TYPE_CHECKING:
    from enrich.api.exchange import Exchange

__all__ = ["Stream"]

log = logging.getLogger("enrich.http")

Emit = Callable[[bytes], None]


@dataclass(frozen=True, slots=True)
class Stream:
    """What goes on after its handler returned.

    Parameters
    ----------
    produce : callable
        Called with a function that sends a piece; runs in a thread, and may raise ``ApiError``.
    lament : callable
        Returns what is sent last where it failed after the first piece.
    media_type : str
        What it is.
    """

    produce: Callable[[Emit], None]
    lament: Callable[[ApiError], bytes]
    media_type: str = "text/event-stream"

    async def respond(
        self, exchange: Exchange, threads: Executor, refuse: Callable[[ApiError, Exchange], Response]
    ) -> Response:
        """Start, and return the response once there is a first piece, or the refusal that came instead."""
        loop = asyncio.get_running_loop()
        pieces: asyncio.Queue[bytes | ApiError | None] = asyncio.Queue()

        def send(piece: bytes | ApiError | None) -> None:
            with contextlib.suppress(RuntimeError):  # the server has stopped, and nobody listens
                loop.call_soon_threadsafe(pieces.put_nowait, piece)

        try:
            loop.run_in_executor(threads, _produce, exchange, self.produce, send)
        except RuntimeError:  # the server stops, and its threads begin nothing new
            exchange.stack.close()
            raise
        first = await pieces.get()
        if isinstance(first, ApiError):
            return refuse(first, exchange)
        return StreamingResponse(
            self._pieces(exchange, first, pieces),
            media_type=self.media_type,
            headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"},
        )

    async def _pieces(
        self, exchange: Exchange, piece: bytes | ApiError | None, rest: asyncio.Queue[bytes | ApiError | None]
    ) -> AsyncIterator[bytes]:
        try:
            while piece is not None:
                if isinstance(piece, ApiError):
                    exchange.facts["error"] = piece.kind
                    yield self.lament(piece)
                    return
                yield piece
                piece = await rest.get()
        finally:
            exchange.cancel.set()  # where the client went away; else nobody looks at it any more


def _produce(
    exchange: Exchange, produce: Callable[[Emit], None], send: Callable[[bytes | ApiError | None], None]
) -> None:
    with exchange.stack:
        try:
            produce(send)
        except ApiError as error:
            send(error)
        # The reader waits for an end, whatever came.
        except BaseException:
            log.exception("the stream of request %s failed", exchange.request_id)
            send(Internal("something went wrong here; the log says what, by the request's id"))
        else:
            send(None)
