"""How our own paths refuse, and whatever no dialect has a word for: one JSON object."""

from __future__ import annotations

from typing import Any

from starlette.responses import JSONResponse, Response

from enrich.api.errors import ApiError
from enrich.api.exchange import Exchange
from enrich.api.routes import Dialect

__all__ = ["ERROR", "ERRORS", "OWN", "document", "refuse"]

ERRORS = {
    400: "A field is missing or wrong.",
    401: "There is no key, or it is not known.",
    402: "The key's credits do not suffice.",
    403: "The key may not do this.",
    404: "There is nothing by that name.",
    413: "More bytes or pixels than are taken.",
    415: "The bytes are no picture that is taken.",
    422: "The picture could not be fetched, or a filter refused it.",
    429: "The key's limit is reached; see Retry-After.",
    500: "Our fault; the log says more.",
    503: "As much waits as is let in; see Retry-After.",
    504: "It took too long.",
}
ERROR: dict[str, Any] = {
    "type": "object",
    "required": ["error", "request_id"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message", "parameter"],
            "properties": {
                "code": {"type": "string"},
                "message": {"type": "string"},
                "parameter": {"type": ["string", "null"]},
            },
        },
        "request_id": {"type": "string"},
    },
}


def document(error: ApiError, request_id: str) -> dict[str, Any]:
    """Return what is said of an error."""
    said = {"code": error.kind, "message": str(error), "parameter": error.parameter}
    return {"error": said, "request_id": request_id}


def refuse(error: ApiError, exchange: Exchange) -> Response:
    """Return the answer of our own paths to a request that failed."""
    return JSONResponse(document(error, exchange.request_id), status_code=error.status)


OWN = Dialect("own", refuse, ERRORS, ERROR)
