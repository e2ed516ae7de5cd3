"""The dialect of captions with a length: short, normal or long."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Literal, get_args

import pydantic
from starlette.responses import JSONResponse, Response

from enrich.api import plain
from enrich.api.errors import ApiError, InvalidParameter, UnknownModel
from enrich.api.exchange import Exchange
from enrich.api.requests import Ask, Picture
from enrich.api.routes import Dialect, Routes

__all__ = ["add_routes", "caption", "refuse"]

#: What this service calls its only model.
_DEFAULT = "image-caption"

_Length = Literal["short", "normal", "long"]
_ERROR = {
    "type": "object",
    "required": ["status", "message"],
    "properties": {"status": {"const": "error"}, "message": {"type": "string"}},
}


def refuse(error: ApiError, exchange: Exchange) -> Response:
    """Return this dialect's error."""
    return JSONResponse({"status": "error", "message": str(error)}, status_code=error.status)


CAPTIONS = Dialect("captions", refuse, plain.ERRORS, _ERROR)

_PROPERTIES = {
    "key": {"type": "string", "description": "The key, unless it is sent as a bearer."},
    "model_id": {"type": "string", "default": "Image-Caption"},
    "init_image": {"type": "string", "minLength": 1, "description": "A URL, base64 or a data URI."},
    "length": {"type": "string", "pattern": "^(?i:short|normal|long)$"},
}
_REQUEST = {
    "required": True,
    "content": {
        "application/json": {
            "schema": {"type": "object", "required": ["init_image", "length"], "properties": _PROPERTIES},
            "example": {
                "key": "KEY",
                "model_id": "Image-Caption",
                "init_image": "https://example.org/picture.jpg",
                "length": "normal",
            },
        },
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["init_image", "length"],
                "properties": {**_PROPERTIES, "init_image": {"type": "string", "format": "binary"}},
            }
        },
    },
}
_RESPONSES: dict[int, dict[str, Any]] = {
    200: {
        "description": "The caption.",
        "content": {
            "application/json": {
                "schema": {"type": "object", "required": ["status", "id", "generationTime", "output"]},
                "example": {
                    "status": "success",
                    "id": 17,
                    "generationTime": 0.21,
                    "output": ["A red circle on a white background."],
                },
            }
        },
    }
}


class _Fields(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="ignore", strict=True, hide_input_in_errors=True)

    model_id: str | None = pydantic.Field(None, max_length=200)
    init_image: str | None = None
    length: str

    @pydantic.field_validator("length")
    @classmethod
    def _known(cls, length: str) -> str:
        if length.strip().lower() not in get_args(_Length):
            raise ValueError("must be short, normal or long")
        return length.strip().lower()


def add_routes(routes: Routes) -> None:
    """Offer the dialect."""
    routes.add(
        "POST",
        "/api/v6/image_editing/caption",
        caption,
        dialect=CAPTIONS,
        summary="A caption of a length",
        request=_REQUEST,
        responses=_RESPONSES,
    )


def caption(exchange: Exchange) -> Mapping[str, Any]:
    """Answer ``POST /api/v6/image_editing/caption``."""
    started = time.monotonic()
    given = exchange.body.object
    key = given.get("key")
    caller = exchange.authorize("infer", count=1, secret=key if isinstance(key, str) else None)
    wanted = exchange.parse(_Fields, given)
    model = wanted.model_id or None
    ask = Ask(
        "caption",
        (_picture(exchange, wanted.init_image),),
        model=None if model is None or model.lower() == _DEFAULT else model,
        length=wanted.length,  # type: ignore[arg-type]  # one of _Length, as validated
        deadline=exchange.deadline,
        dialect=CAPTIONS.name,
        caller=caller,
        request_id=exchange.request_id,
    )
    try:
        reply = exchange.backend.metering.answer(ask, exchange.cancel)
    except UnknownModel as error:
        raise UnknownModel(str(error), "model_id") from error
    exchange.facts.update(model=reply.model, cached=reply.is_cached)
    return {
        "status": "success",
        # A number to those who store it in one: 53 bits, which JSON's readers can hold.
        "id": int(exchange.request_id.replace("-", ""), 16) >> 75,
        "generationTime": round(time.monotonic() - started, 3),
        "output": [reply.text or ""],
    }


def _picture(exchange: Exchange, init_image: str | None) -> Picture:
    file = exchange.body.files.get("init_image")
    received = exchange.pictures()
    if file is not None:
        return received.stream(file.stream, file.file_name)
    if not init_image:
        raise InvalidParameter("init_image: is required", "init_image")
    return received.named(init_image)
