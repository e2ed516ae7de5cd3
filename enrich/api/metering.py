"""Work on a caller's account: credits before it, usage after it, and the numbers of both."""

from __future__ import annotations

import contextlib
import datetime as dt
import logging
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import TYPE_CHECKING

from enrich.api.errors import ApiError
from enrich.api.requests import Ask, Chat, Reply
from enrich.catalog import usage
from enrich.catalog.usage import UsageRow
from enrich.errors import CatalogError
from enrich.hub.listed import resolve

if TYPE_CHECKING:
    from enrich.api.access import Access
    from enrich.api.numbers import Numbers
    from enrich.api.service import Service
    from enrich.catalog.writer import Writer
    from enrich.sections import Api

__all__ = ["Metering"]

log = logging.getLogger("enrich.http")


class Metering:
    """Asks the service, and keeps account of it; may be called from any thread.

    Parameters
    ----------
    writer : Writer
        The catalog's writer.
    access : Access
        Whose credits are spent.
    service : Service
        Does the work.
    numbers : Numbers
        What Prometheus reads.
    api : Api
        What work costs by model.
    """

    def __init__(self, writer: Writer, access: Access, service: Service, numbers: Numbers, api: Api) -> None:
        self._writer = writer
        self._access = access
        self._service = service
        self._numbers = numbers
        self._api = api

    def answer(self, ask: Ask, cancel: threading.Event | None = None) -> Reply:
        """Answer one question about pictures, on its caller's account.

        Raises
        ------
        ApiError
            As ``Service.answer`` does; InsufficientCredits besides. Retryable where its class says so.
        """
        return self._metered(ask, ask.kind, len(ask.pictures), lambda: self._service.answer(ask, cancel))

    def chat(
        self,
        chat: Chat,
        on_text: Callable[[str], None] | None = None,
        cancel: threading.Event | None = None,
    ) -> Reply:
        """Go on with a conversation, on its caller's account.

        Raises
        ------
        ApiError
            As ``Service.chat`` does; InsufficientCredits besides. Retryable where its class says so.
        """
        pictures = sum(len(turn.pictures) for turn in chat.turns)
        return self._metered(chat, "chat", pictures, lambda: self._service.chat(chat, on_text, cancel))

    def _metered(self, asked: Ask | Chat, kind: str, pictures: int, work: Callable[[], Reply]) -> Reply:
        model = resolve(asked.model or self._api.default_model)
        started = time.monotonic()
        try:
            with self._access.spending(asked.caller, self._api.cost.get(model, 0.0)) as refund:
                reply = work()
                if not reply.cost:  # it was in the catalog already
                    refund()
        except ApiError as error:
            self._record(asked, kind, pictures, started, {"model": model, "status": error.kind})
            raise
        said = {
            "model": reply.model or model,
            "status": "success",
            "prompt_tokens": reply.prompt_tokens,
            "completion_tokens": reply.completion_tokens,
            "cost": reply.cost,
            "is_cached": reply.is_cached,
        }
        self._record(asked, kind, pictures, started, said)
        return reply

    def _record(
        self, asked: Ask | Chat, kind: str, pictures: int, started: float, said: Mapping[str, object]
    ) -> None:
        seconds = time.monotonic() - started
        self._numbers.worked(asked.dialect, kind, str(said["model"]), str(said["status"]), seconds)
        row = UsageRow(
            at=dt.datetime.now(dt.UTC),
            dialect=asked.dialect,
            kind=kind,
            key_id=asked.caller.key_id,
            pictures=pictures,
            elapsed_ms=seconds * 1000,
            **said,  # type: ignore[arg-type]  # columns of the row, all of them
        )
        # Soon, and together with others': an answer need not wait for its record.
        with contextlib.suppress(CatalogError):  # the server ends, and its writer is closed
            self._writer.submit(lambda connection: usage.record(connection, row)).add_done_callback(_look)


def _look(recorded: Future[None]) -> None:
    if (error := recorded.exception()) is not None:
        log.warning("the usage of a request was not recorded: %s", error)
