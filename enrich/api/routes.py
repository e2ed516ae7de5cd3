"""How a handler becomes a route: bounded, in a thread of its own, its errors in the dialect's words.

A dialect, a plugin's as well as a bundled one, adds its handlers here. A handler is an ordinary
function of an ``Exchange``; it may block, and it raises ``ApiError``.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from enrich.api import bodies
from enrich.api.errors import ApiError, Busy, Internal, TimedOut, TooLarge
from enrich.api.exchange import Backend, Exchange
from enrich.api.streams import Stream
from enrich.errors import CatalogBusy, EnrichError

__all__ = ["Dialect", "Handler", "Routes", "answer"]

log = logging.getLogger("enrich.http")

Handler = Callable[[Exchange], "Response | Stream | Mapping[str, Any]"]

_RETRY_SECONDS = 1.0
#: A handler that did not end by itself at its deadline is answered for after so much more.
_GRACE_SECONDS = 5.0
#: What answers whether the server lives has threads of its own, so that it is not in anybody's queue.
_LIGHT_THREADS = 4
#: And needs no body to speak of.
_LIGHT_BYTES = 1000


@dataclass(frozen=True, slots=True)
class Dialect:
    """A way of asking, and of being refused.

    Parameters
    ----------
    name : str
        For logs, metrics and usage.
    refuse : callable
        Returns the answer to a request that failed.
    errors : mapping
        The statuses of its refusals with what they mean, for the OpenAPI document.
    schema : mapping
        The JSON Schema of a refusal, likewise.
    is_light : bool
        Its handlers cost nothing to speak of: they are answered even where nobody else is let in.
    """

    name: str
    refuse: Callable[[ApiError, Exchange], Response]
    errors: Mapping[int, str] = field(default_factory=dict)
    schema: Mapping[str, Any] = field(default_factory=dict)
    is_light: bool = False


class Routes:
    """Adds routes to the application.

    Parameters
    ----------
    application : fastapi.FastAPI
        What they are added to.
    backend : Backend
        What handlers work with.
    """

    def __init__(self, application: FastAPI, backend: Backend) -> None:
        self.backend = backend
        self._application = application
        api = backend.settings.api
        # In base64 a picture is a third longer; and something is said about it.
        self._max_body_bytes = api.max_upload_bytes * 4 // 3 + 1_000_000
        self._deadline_seconds = api.deadline_seconds
        # A task array is waited for as long as that may be, whatever one request may take.
        self._patience_seconds = max(api.deadline_seconds, api.sync_timeout_seconds) + _GRACE_SECONDS
        # As many threads as requests are let in: nobody who was let in waits for one.
        self._threads = ThreadPoolExecutor(api.max_queue, "http")
        self._light_threads = ThreadPoolExecutor(_LIGHT_THREADS, "http-light")

    def add(
        self,
        method: str,
        path: str,
        handler: Handler,
        *,
        dialect: Dialect,
        summary: str,
        description: str = "",
        request: Mapping[str, Any] | None = None,
        parameters: Sequence[Mapping[str, Any]] = (),
        responses: Mapping[int, Mapping[str, Any]] | None = None,
    ) -> None:
        """Let ``handler`` answer to a method and path.

        Parameters
        ----------
        method, path : str
            ``"POST"``, ``"/v1/tasks"``; ``{name}`` in a path is a place.
        handler : callable
            Takes an ``Exchange``; returns a mapping (JSON), a response or a ``Stream``.
        dialect : Dialect
            Whose words refusals are in.
        summary, description : str
            For the OpenAPI document.
        request : mapping or None
            Its ``requestBody``, with examples.
        parameters : sequence of mapping
            Its ``parameters``.
        responses : mapping or None
            Its responses that are no refusals, by status.
        """
        declared: dict[int | str, dict[str, Any]] = {
            status: {"description": said, "content": {"application/json": {"schema": dict(dialect.schema)}}}
            for status, said in dialect.errors.items()
        }
        declared.update({status: dict(one) for status, one in (responses or {200: {}}).items()})
        for one in declared.values():
            one.setdefault("description", "Done.")
        extra: dict[str, Any] = {"parameters": [dict(one) for one in parameters]} if parameters else {}
        if request is not None:
            extra["requestBody"] = dict(request)

        async def endpoint(request: Request) -> Response:
            exchange = self._exchange(request, dialect)
            request.scope["exchange"] = exchange  # for the access log
            return await self._answer(request, exchange, handler, dialect)

        name = "".join(c if c.isalnum() else "_" for c in f"{method.lower()}{path}").strip("_")
        self._application.add_api_route(
            path,
            endpoint,
            methods=[method],
            summary=summary,
            description=description,
            tags=[dialect.name],
            operation_id=name,
            name=name,
            response_class=JSONResponse,
            responses=declared,
            openapi_extra=extra,
        )

    def close(self) -> None:
        """Let no thread begin anything new; what is under way ends by itself."""
        for threads in (self._threads, self._light_threads):
            threads.shutdown(wait=False, cancel_futures=True)

    async def _answer(
        self, request: Request, exchange: Exchange, handler: Handler, dialect: Dialect
    ) -> Response:
        try:
            if not dialect.is_light:
                self._let_in(request, exchange)
            max_bytes = _LIGHT_BYTES if dialect.is_light else self._max_body_bytes
            reading = bodies.read(request, max_bytes=max_bytes, within_seconds=self._deadline_seconds)
            async with reading as exchange.body:
                return await self._run(request, exchange, handler, dialect)
        except ApiError as error:
            return answer(error, exchange, dialect)
        # Whatever it is, the client gets an answer, and the log the reason.
        except Exception as error:  # noqa: BLE001
            return answer(_translated(error, exchange), exchange, dialect)
        finally:
            if not exchange.is_handed_over:
                exchange.stack.close()

    def _exchange(self, request: Request, dialect: Dialect) -> Exchange:
        return Exchange(
            self.backend,
            request.scope.get("request_id") or str(uuid.uuid4()),
            dialect.name,
            request.method,
            request.url.path,
            dict(request.headers),
            dict(request.query_params),
            {name: str(value) for name, value in request.path_params.items()},
            time.monotonic() + self._deadline_seconds,
        )

    def _let_in(self, request: Request, exchange: Exchange) -> None:
        """Let a request in before its body is read; it is out once its thread has ended."""
        said = bodies.said_bytes(request)
        if said is not None and said > self._max_body_bytes:
            raise TooLarge(f"the body has {said} bytes; at most {self._max_body_bytes} are taken")
        is_chunked = "transfer-encoding" in request.headers
        body_bytes = self._max_body_bytes if is_chunked else said or 0
        self.backend.loads.enter(body_bytes)
        exchange.stack.callback(self.backend.loads.leave, body_bytes)

    async def _run(
        self, request: Request, exchange: Exchange, handler: Handler, dialect: Dialect
    ) -> Response:
        threads = self._light_threads if dialect.is_light else self._threads
        watch = asyncio.ensure_future(_watch(request, exchange))
        try:
            work = asyncio.get_running_loop().run_in_executor(threads, _work, exchange, handler, dialect)
            exchange.is_handed_over = True
            # What nobody waits for any more is still looked at, so that it is not complained about.
            work.add_done_callback(lambda done: done.cancelled() or done.exception())
            async with asyncio.timeout(self._patience_seconds):
                result = await asyncio.shield(work)
        except TimeoutError:
            exchange.cancel.set()
            raise TimedOut("the deadline passed before the answer was there") from None
        finally:
            watch.cancel()
        if isinstance(result, Stream):
            return await result.respond(exchange, threads, functools.partial(answer, dialect=dialect))
        return result if isinstance(result, Response) else JSONResponse(dict(result))


def answer(error: ApiError, exchange: Exchange, dialect: Dialect) -> Response:
    """Return the answer to a request that failed, in its dialect's words."""
    exchange.facts["error"] = error.kind
    response = dialect.refuse(error, exchange)
    seconds = getattr(error, "retry_after_seconds", None)
    if seconds is not None:
        response.headers["Retry-After"] = str(max(1, -int(-seconds // 1)))
    if response.status_code == 401:
        response.headers.setdefault("WWW-Authenticate", "Bearer")
    return response


def _work(exchange: Exchange, handler: Handler, dialect: Dialect) -> Any:
    """Run a handler in this thread; what it opened stays open where it goes on as a stream."""
    result: Any = None
    try:
        if not dialect.is_light:
            exchange.backend.access.check_origin(exchange.headers)
        result = handler(exchange)
        return result
    except EnrichError as error:
        raise _translated(error, exchange) from error
    finally:
        if not isinstance(result, Stream):
            exchange.stack.close()


async def _watch(request: Request, exchange: Exchange) -> None:
    """Tell the handler when the client goes away; its work is then taken out of its batch."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
    exchange.cancel.set()


def _translated(error: BaseException, exchange: Exchange) -> ApiError:
    if isinstance(error, ApiError):
        return error
    if isinstance(error, CatalogBusy):
        return Busy("the catalog does not answer just now", _RETRY_SECONDS)
    log.error("request %s failed", exchange.request_id, exc_info=error)
    return Internal("something went wrong here; the log says what, by the request's id")
