"""The describer's dialect: one picture, perhaps a prompt and a language, and Markdown back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import pydantic
from starlette.responses import JSONResponse, Response

from enrich.api.errors import ApiError, InvalidImage, TooLarge
from enrich.api.exchange import Exchange
from enrich.api.requests import Ask
from enrich.api.routes import Dialect, Routes
from enrich.prompts import MAX_PROMPT

__all__ = ["add_routes", "describe", "refuse"]

MAX_BYTES = 4_000_000
_MEDIA_TYPES = frozenset({"image/jpeg", "image/png", "image/webp"})

#: Code and status by our kind; whatever is missing here is something of ours.
_CODES = {
    "not_authorized": (1002, 401),
    "invalid_key": (1003, 401),
    "not_allowed": (1003, 401),
    "too_many_requests": (1004, 429),
    "busy": (1004, 429),
    "invalid_parameter": (1005, 400),
    "unknown_model": (1005, 400),
    "language_not_possible": (1005, 400),
    "not_found": (1005, 400),
    "insufficient_credits": (2002, 402),
    "blocked": (2003, 422),
    "invalid_image": (2004, 415),
    "too_large": (2004, 415),
    "image_not_fetched": (2005, 422),
}
_ERRORS = {
    400: "1005: a parameter is missing or wrong.",
    401: "1002: there is no key; 1003: it is not known, or may not do this.",
    402: "2002: the key's credits do not suffice.",
    415: "2004: the picture is no JPEG, PNG or WebP of at most 4 MB.",
    422: "2003: a filter refused it; 2005: the picture could not be fetched.",
    429: "1004: too many requests; see Retry-After.",
    500: "5050: our fault.",
}
_ERROR = {
    "type": "object",
    "required": ["code", "message", "request_id"],
    "properties": {
        "code": {"type": "integer"},
        "message": {"type": "string"},
        "request_id": {"type": "string"},
    },
}


def refuse(error: ApiError, exchange: Exchange) -> Response:
    """Return the describer's error."""
    code, status = _CODES.get(error.kind, (5050, 500))
    content = {"code": code, "message": str(error), "request_id": exchange.request_id}
    return JSONResponse(content, status_code=status)


DESCRIBER = Dialect("describer", refuse, _ERRORS, _ERROR)

_REQUEST = {
    "required": True,
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["image"],
                "properties": {
                    "image": {
                        "type": "string",
                        "minLength": 1,
                        "description": "A URL, a data URI or base64.",
                    },
                    "prompt": {"type": ["string", "null"], "maxLength": MAX_PROMPT},
                    "lang": {"enum": ["en", "zh", "fr", "de", "es", "ja", "ko", None], "default": "en"},
                },
            },
            "example": {"image": "https://example.org/picture.jpg", "prompt": "What is shown?", "lang": "en"},
        }
    },
}
_RESPONSES: dict[int, dict[str, Any]] = {
    200: {
        "description": "Markdown.",
        "content": {
            "application/json": {
                "schema": {"type": "object", "required": ["code", "message", "request_id", "data"]},
                "example": {
                    "code": 0,
                    "message": "success",
                    "request_id": "0f8fad5b-d9cb-469f-a165-70867728950e",
                    "data": {"content": "A red circle on a white background."},
                },
            }
        },
    }
}


class _Fields(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="ignore", strict=True, hide_input_in_errors=True)

    image: str = pydantic.Field(min_length=1)
    prompt: str | None = pydantic.Field(None, max_length=MAX_PROMPT)
    lang: Literal["en", "zh", "fr", "de", "es", "ja", "ko"] | None = None


def add_routes(routes: Routes) -> None:
    """Offer the dialect."""
    routes.add(
        "POST",
        "/api/v1/generate_content",
        describe,
        dialect=DESCRIBER,
        summary="A picture in words",
        request=_REQUEST,
        responses=_RESPONSES,
    )


def describe(exchange: Exchange) -> Mapping[str, Any]:
    """Answer ``POST /api/v1/generate_content``."""
    caller = exchange.authorize("infer", count=1)
    wanted = exchange.parse(_Fields)
    try:
        picture = exchange.pictures(max_bytes=MAX_BYTES, media_types=_MEDIA_TYPES).named(wanted.image)
    except TooLarge as error:
        raise InvalidImage(str(error)) from error
    prompt = (wanted.prompt or "").strip() or None
    ask = Ask(
        "caption" if prompt is None else "answer",
        (picture,),
        prompt=prompt,
        length="long",
        language=wanted.lang or "en",
        deadline=exchange.deadline,
        dialect=DESCRIBER.name,
        caller=caller,
        request_id=exchange.request_id,
    )
    reply = exchange.backend.metering.answer(ask, exchange.cancel)
    exchange.facts.update(model=reply.model, cached=reply.is_cached)
    return {
        "code": 0,
        "message": "success",
        "request_id": exchange.request_id,
        "data": {"content": reply.text or ""},
    }
