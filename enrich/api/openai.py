"""OpenAI's dialect: ``/v1/chat/completions`` with pictures, and ``/v1/models``.

Source: OpenAI's API reference, "Chat completions" and "Models", for the names and shapes.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Any

from starlette.responses import JSONResponse, Response

from enrich.api import openai_models as models
from enrich.api import openai_schemas as schemas
from enrich.api.errors import ApiError, UnknownModel
from enrich.api.exchange import Exchange
from enrich.api.requests import Caller, Chat, Picture, Reply, Turn
from enrich.api.routes import Dialect, Routes
from enrich.api.streams import Stream

__all__ = ["add_routes", "complete", "list_models", "refuse", "show_model"]

#: OpenAI's words: type and code by our kind; what is not here is a type of its own.
_WORDS = {
    "not_authorized": ("invalid_request_error", "missing_api_key"),
    "invalid_key": ("invalid_request_error", "invalid_api_key"),
    "not_allowed": ("invalid_request_error", "insufficient_permissions"),
    "too_many_requests": ("rate_limit_error", "rate_limit_exceeded"),
    "insufficient_credits": ("insufficient_quota", "insufficient_quota"),
    "unknown_model": ("invalid_request_error", "model_not_found"),
    "not_found": ("invalid_request_error", "not_found"),
    "invalid_image": ("invalid_request_error", "invalid_image"),
    "image_not_fetched": ("invalid_request_error", "invalid_image_url"),
    "blocked": ("invalid_request_error", "content_filter"),
    "busy": ("server_error", "server_busy"),
    "timed_out": ("server_error", "timeout"),
    "internal": ("server_error", "internal_error"),
}
#: Statuses that differ from our own: credits are a rate limit there, and a bad picture a bad request.
_STATUSES = {"insufficient_credits": 429, "invalid_image": 400, "image_not_fetched": 400, "blocked": 400}


def refuse(error: ApiError, exchange: Exchange) -> Response:
    """Return OpenAI's error object."""
    kind, code = _WORDS.get(error.kind, ("invalid_request_error", None))
    return JSONResponse(
        {"error": _error(error, kind, code)}, status_code=_STATUSES.get(error.kind, error.status)
    )


OPENAI = Dialect("openai", refuse, schemas.ERRORS, schemas.ERROR)


def add_routes(routes: Routes) -> None:
    """Offer the dialect."""
    routes.add(
        "POST",
        "/v1/chat/completions",
        complete,
        dialect=OPENAI,
        summary="A conversation about pictures",
        description="Unknown fields are ignored. With `stream` the answer comes as server-sent events.",
        request=schemas.REQUEST,
        responses=schemas.COMPLETION,
    )
    routes.add(
        "GET", "/v1/models", list_models, dialect=OPENAI, summary="All models", responses=schemas.MODELS
    )
    routes.add(
        "GET",
        "/v1/models/{model:path}",  # the hub's names have a slash
        show_model,
        dialect=OPENAI,
        summary="One model",
        parameters=schemas.MODEL_PLACE,
        responses=schemas.MODEL,
    )


def complete(exchange: Exchange) -> Mapping[str, Any] | Stream:
    """Answer ``POST /v1/chat/completions``."""
    caller = exchange.authorize("infer", count=1)
    wanted = exchange.parse(models.Completion)
    wanted.check()
    exchange.backend.service.partner(wanted.model)  # before any picture is fetched for it
    chat = _chat(exchange, caller, wanted)
    head = {
        "id": f"chatcmpl-{exchange.request_id.replace('-', '')}",
        "created": int(time.time()),
        "model": wanted.model,
    }
    exchange.facts["model"] = wanted.model
    metering = exchange.backend.metering
    if wanted.stream:
        with_usage = wanted.stream_options is not None and wanted.stream_options.include_usage is True
        return Stream(lambda emit: _stream(exchange, chat, head, with_usage, emit), _lament)
    reply = metering.chat(chat, cancel=exchange.cancel)
    exchange.facts["cached"] = reply.is_cached
    return {
        **head,
        "object": "chat.completion",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": reply.text or "", "refusal": None},
                "logprobs": None,
                "finish_reason": reply.finish,
            }
        ],
        "usage": _usage(reply),
        "system_fingerprint": None,
    }


def list_models(exchange: Exchange) -> Mapping[str, Any]:
    """Answer ``GET /v1/models``."""
    exchange.authorize("infer")
    models = exchange.backend.service.models()
    return {"object": "list", "data": [_model(model.name, model.made_at) for model in models]}


def show_model(exchange: Exchange) -> Mapping[str, Any]:
    """Answer ``GET /v1/models/{model}``."""
    exchange.authorize("infer")
    name = exchange.place["model"]
    service = exchange.backend.service
    for model in service.models():
        if model.name == service.resolve(name):
            return _model(name, model.made_at)
    raise UnknownModel("there is no model of this name; GET /v1/models lists those there are")


def _model(name: str, made_at: int) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": made_at, "owned_by": "enrich"}


def _chat(exchange: Exchange, caller: Caller, wanted: models.Completion) -> Chat:
    received = exchange.pictures()
    read: dict[str, Picture] = {}

    def picture(url: str) -> Picture:
        if url not in read:  # clients send a conversation's pictures anew with each turn
            read[url] = received.named(url)
        return read[url]

    turns = tuple(
        Turn(
            turn.said_by,
            turn.text,
            tuple(picture(url) for url in turn.urls),
            tuple(one if is_text else picture(one) for one, is_text in turn.parts),
        )
        for turn in wanted.messages
    )
    exchange.facts["pictures"] = len(read)
    return Chat(
        turns,
        model=wanted.model,
        decoding=wanted.decoding,
        json_schema=wanted.json_schema,
        is_strict=wanted.is_strict,
        deadline=exchange.deadline,
        dialect=OPENAI.name,
        caller=caller,
        request_id=exchange.request_id,
    )


def _stream(
    exchange: Exchange, chat: Chat, head: Mapping[str, Any], with_usage: bool, emit: Callable[[bytes], None]
) -> None:
    said = 0

    def chunk(delta: Mapping[str, Any], finish: str | None = None) -> None:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        document = {**head, "object": "chat.completion.chunk", "choices": [choice]}
        emit(_event({**document, "usage": None} if with_usage else document))

    def on_text(text: str) -> None:
        nonlocal said
        if not said:
            chunk({"role": "assistant", "content": "", "refusal": None})
        said += len(text)
        chunk({"content": text})

    reply = exchange.backend.metering.chat(chat, on_text, exchange.cancel)
    exchange.facts["cached"] = reply.is_cached
    if not said:  # no word came, or all of them at once
        on_text(reply.text or "")
    chunk({}, reply.finish)
    if with_usage:
        emit(_event({**head, "object": "chat.completion.chunk", "choices": [], "usage": _usage(reply)}))
    emit(b"data: [DONE]\n\n")


def _lament(error: ApiError) -> bytes:
    kind, code = _WORDS.get(error.kind, ("server_error", None))
    return _event({"error": _error(error, kind, code)})


def _error(error: ApiError, kind: str, code: str | None) -> dict[str, Any]:
    return {"message": str(error), "type": kind, "param": error.parameter, "code": code}


def _usage(reply: Reply) -> dict[str, int]:
    return {
        "prompt_tokens": reply.prompt_tokens,
        "completion_tokens": reply.completion_tokens,
        "total_tokens": reply.prompt_tokens + reply.completion_tokens,
    }


def _event(document: Mapping[str, Any]) -> bytes:
    return b"data: " + json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"
