"""What the OpenAPI document says of task arrays, with examples."""

from __future__ import annotations

from typing import Any

from enrich.api import plain

__all__ = ["ERROR", "ERRORS", "REQUEST", "RESPONSES"]

ERRORS = {status: plain.ERRORS[status] for status in (400, 401, 403, 413, 429, 500, 503, 504)}

_UUID = {"type": "string", "format": "uuid"}
_TEXT = {"type": "string"}
_MAYBE_TEXT = {"type": ["string", "null"]}
_ERROR_ITEM = {
    "type": "object",
    "required": ["code", "message", "parameter"],
    "properties": {
        "code": _TEXT,
        "message": _TEXT,
        "parameter": _MAYBE_TEXT,
        "taskType": {},
        "taskUUID": {},
    },
}
ERROR: dict[str, Any] = {
    "type": "object",
    "required": ["data", "errors"],
    "properties": {
        "data": {"type": "array", "items": {"type": "object"}},
        "errors": {"type": "array", "items": _ERROR_ITEM},
    },
}


def _task(kind: str, required: list[str], properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["taskType", *required],
        "properties": {"taskType": {"const": kind}, **properties},
    }


_TASKS = [
    _task(
        "imageCaption",
        ["taskUUID", "inputImage"],
        {
            "taskUUID": _UUID,
            "inputImage": {"type": "string", "minLength": 1},
            "model": _MAYBE_TEXT,
            "prompt": {"type": ["string", "null"], "maxLength": 10_000},
            "deliveryMethod": {"enum": ["sync", "async", None], "default": "sync"},
            "webhookURL": {"type": ["string", "null"], "format": "uri"},
            "includeCost": {"type": ["boolean", "null"], "default": False},
        },
    ),
    _task(
        "imageUpload", ["taskUUID", "image"], {"taskUUID": _UUID, "image": {"type": "string", "minLength": 1}}
    ),
    _task("getResponse", ["taskUUID"], {"taskUUID": _UUID}),
    _task("authentication", ["apiKey"], {"apiKey": _TEXT}),
]
_UUID_EXAMPLE = "0f8fad5b-d9cb-469f-a165-70867728950e"
REQUEST: dict[str, Any] = {
    "required": True,
    "content": {
        "application/json": {
            "schema": {"type": "array", "minItems": 1, "maxItems": 500, "items": {"oneOf": _TASKS}},
            "example": [
                {
                    "taskType": "imageCaption",
                    "taskUUID": _UUID_EXAMPLE,
                    "inputImage": "https://example.org/picture.jpg",
                    "includeCost": True,
                }
            ],
        }
    },
}
RESPONSES: dict[int, dict[str, Any]] = {
    200: {
        "description": "What came of each task, in `data` or in `errors`.",
        "content": {
            "application/json": {
                "schema": ERROR,
                "example": {
                    "data": [
                        {
                            "taskType": "imageCaption",
                            "taskUUID": _UUID_EXAMPLE,
                            "text": "A red circle on a white background.",
                            "cost": 0.0006,
                        }
                    ],
                    "errors": [],
                },
            }
        },
    }
}
