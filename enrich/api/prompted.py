"""The dialect of one picture and one prompt."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pydantic
from starlette.responses import JSONResponse, Response

from enrich import __version__
from enrich.api import plain
from enrich.api.errors import ApiError, InvalidParameter
from enrich.api.exchange import Exchange
from enrich.api.requests import Ask, Picture
from enrich.api.routes import Dialect, Routes
from enrich.prompts import MAX_PROMPT

__all__ = ["add_routes", "answer", "refuse"]

_ERROR = {
    "type": "object",
    "required": ["status", "message", "request_uuid"],
    "properties": {
        "status": {"const": "error"},
        "message": {"type": "string"},
        "request_uuid": {"type": "string", "format": "uuid"},
    },
}


def refuse(error: ApiError, exchange: Exchange) -> Response:
    """Return this dialect's error."""
    content = {"status": "error", "message": str(error), "request_uuid": exchange.request_id}
    return JSONResponse(content, status_code=error.status)


PROMPTED = Dialect("prompted", refuse, plain.ERRORS, _ERROR)

_PROMPT = {"type": "string", "minLength": 1, "maxLength": MAX_PROMPT}
_REQUEST = {
    "required": True,
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["image_url", "prompt"],
                "properties": {"image_url": {"type": "string", "minLength": 1}, "prompt": _PROMPT},
            },
            "example": {"image_url": "https://example.org/picture.jpg", "prompt": "What is shown?"},
        },
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["image", "prompt"],
                "properties": {"image": {"type": "string", "format": "binary"}, "prompt": _PROMPT},
            }
        },
    },
}
_RESPONSES: dict[int, dict[str, Any]] = {
    200: {
        "description": "What the model says.",
        "content": {
            "application/json": {
                "schema": {"type": "object"},
                "example": {
                    "status": "success",
                    "version": __version__,
                    "image_to_text": "A red circle on a white background.",
                    "file_downloaded": "picture.jpg",
                    "request_uuid": "0f8fad5b-d9cb-469f-a165-70867728950e",
                    "sha1": "da39a3ee5e6b4b0d3255bfef95601890afd80709",
                },
            }
        },
    }
}


class _Fields(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="ignore", strict=True, hide_input_in_errors=True)

    image_url: str | None = None
    prompt: str = pydantic.Field(min_length=1, max_length=MAX_PROMPT)


def add_routes(routes: Routes) -> None:
    """Offer the dialect."""
    routes.add(
        "POST",
        "/v2/image-to-text",
        answer,
        dialect=PROMPTED,
        summary="A prompt about a picture",
        request=_REQUEST,
        responses=_RESPONSES,
    )


def answer(exchange: Exchange) -> Mapping[str, Any]:
    """Answer ``POST /v2/image-to-text``."""
    caller = exchange.authorize("infer", count=1)
    wanted = exchange.parse(_Fields)
    picture = _picture(exchange, wanted.image_url)
    ask = Ask(
        "answer",
        (picture,),
        prompt=wanted.prompt,
        deadline=exchange.deadline,
        dialect=PROMPTED.name,
        caller=caller,
        request_id=exchange.request_id,
    )
    reply = exchange.backend.metering.answer(ask, exchange.cancel)
    exchange.facts.update(model=reply.model, cached=reply.is_cached)
    return {
        "status": "success",
        "version": __version__,
        "image_to_text": reply.text or "",
        "file_downloaded": picture.file_name,
        "request_uuid": exchange.request_id,
        "sha1": picture.sha1,
    }


def _picture(exchange: Exchange, image_url: str | None) -> Picture:
    file = exchange.body.files.get("image")
    received = exchange.pictures()
    if file is not None:
        return received.stream(file.stream, file.file_name)
    if not image_url:
        raise InvalidParameter("image_url: is required, or an image as a multipart file", "image_url")
    return received.named(image_url)
