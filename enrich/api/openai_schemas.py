"""What the OpenAPI document says of OpenAI's dialect, with examples."""

from __future__ import annotations

from typing import Any

__all__ = ["COMPLETION", "ERROR", "ERRORS", "MODEL", "MODELS", "MODEL_PLACE", "REQUEST"]

ERRORS = {
    400: "A field, a picture or its URL is wrong, or a filter refused it.",
    401: "There is no key, or it is not known.",
    403: "The key may not do this.",
    404: "There is no such model.",
    413: "More bytes or pixels than are taken.",
    422: "The model cannot say it in that language.",
    429: "The key's limit is reached (see Retry-After), or its credits do not suffice.",
    500: "Our fault; the log says more.",
    503: "As much waits as is let in; see Retry-After.",
    504: "It took too long.",
}
_TEXT = {"type": "string"}
_MAYBE_TEXT = {"type": ["string", "null"]}
ERROR: dict[str, Any] = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {"message": _TEXT, "type": _TEXT, "param": _MAYBE_TEXT, "code": _MAYBE_TEXT},
        }
    },
}
_EXAMPLE = {
    "model": "drawings-vlm",
    "messages": [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What is in this picture?"},
                {"type": "image_url", "image_url": {"url": "https://example.org/picture.jpg"}},
            ],
        }
    ],
    "max_tokens": 100,
}
_PART = {
    "oneOf": [
        {
            "type": "object",
            "required": ["type", "text"],
            "properties": {"type": {"const": "text"}, "text": _TEXT},
        },
        {
            "type": "object",
            "required": ["type", "image_url"],
            "properties": {
                "type": {"const": "image_url"},
                "image_url": {
                    "type": "object",
                    "required": ["url"],
                    "properties": {"url": {"type": "string", "minLength": 1}},
                },
            },
        },
    ]
}
_MESSAGE = {
    "type": "object",
    "required": ["role", "content"],
    "properties": {
        "role": {"enum": ["system", "developer", "user", "assistant"]},
        "content": {"oneOf": [_TEXT, {"type": "array", "items": _PART}]},
    },
}
_COUNT = {"type": ["integer", "null"], "minimum": 1, "maximum": 1_000_000}
_REQUEST_SCHEMA = {
    "type": "object",
    "required": ["model", "messages"],
    "properties": {
        "model": {"type": "string", "minLength": 1, "maxLength": 200},
        "messages": {"type": "array", "minItems": 1, "maxItems": 200, "items": _MESSAGE},
        "max_tokens": _COUNT,
        "max_completion_tokens": _COUNT,
        "temperature": {"type": ["number", "null"], "minimum": 0, "maximum": 2},
        "top_p": {"type": ["number", "null"], "minimum": 0, "maximum": 1},
        "seed": {"type": ["integer", "null"]},
        "stop": {"anyOf": [_MAYBE_TEXT, {"type": "array", "items": _TEXT, "maxItems": 4}]},
        "response_format": {
            "type": ["object", "null"],
            "required": ["type"],
            "properties": {
                "type": {"enum": ["text", "json_object", "json_schema"]},
                "json_schema": {
                    "type": "object",
                    "properties": {"schema": {"type": "object"}, "strict": {"type": ["boolean", "null"]}},
                },
            },
        },
        "stream": {"type": ["boolean", "null"]},
        "stream_options": {
            "type": ["object", "null"],
            "properties": {"include_usage": {"type": "boolean"}},
        },
    },
}
REQUEST: dict[str, Any] = {
    "required": True,
    "content": {"application/json": {"schema": _REQUEST_SCHEMA, "example": _EXAMPLE}},
}
_COMPLETION_EXAMPLE = {
    "id": "chatcmpl-0f8fad5bd9cb469fa16570867728950e",
    "object": "chat.completion",
    "created": 1789000000,
    "model": "drawings-vlm",
    "choices": [
        {
            "index": 0,
            "message": {
                "role": "assistant",
                "content": "A red circle on a white background.",
                "refusal": None,
            },
            "logprobs": None,
            "finish_reason": "stop",
        }
    ],
    "usage": {"prompt_tokens": 12, "completion_tokens": 9, "total_tokens": 21},
    "system_fingerprint": None,
}
COMPLETION: dict[int, dict[str, Any]] = {
    200: {
        "description": "What the model says.",
        "content": {
            "application/json": {"schema": {"type": "object"}, "example": _COMPLETION_EXAMPLE},
            "text/event-stream": {"schema": _TEXT},
        },
    }
}
_MODEL_EXAMPLE = {"id": "drawings-vlm", "object": "model", "created": 1789000000, "owned_by": "enrich"}
MODEL: dict[int, dict[str, Any]] = {
    200: {
        "description": "The model.",
        "content": {"application/json": {"schema": {"type": "object"}, "example": _MODEL_EXAMPLE}},
    }
}
MODELS: dict[int, dict[str, Any]] = {
    200: {
        "description": "The models.",
        "content": {
            "application/json": {
                "schema": {"type": "object"},
                "example": {"object": "list", "data": [_MODEL_EXAMPLE]},
            }
        },
    }
}
MODEL_PLACE = [{"name": "model", "in": "path", "required": True, "schema": _TEXT}]
