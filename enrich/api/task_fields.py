"""The fields of a task array's items, and what models that go by other names there are asked for."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any, Literal

import pydantic

__all__ = ["KINDS", "Caption", "Response", "Upload", "digest", "is_uuid", "phrases"]

PROMPT_MAX = 10_000
_UUID = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")


#: What is asked for under the names that models have there; which models these are, the model list says.
KINDS: Mapping[str, Literal["text", "age", "phrases"]] = {
    "runware:150@2": "text",
    "runware:151@1": "phrases",
    "runware:152@1": "text",
    "runware:152@2": "text",
    "runware:152@50": "age",
    "runware:153@1": "age",
    "runware:154@1": "age",
}


class _Fields(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="ignore", strict=True, hide_input_in_errors=True)


class Caption(_Fields):
    """``imageCaption``."""

    inputImage: str = pydantic.Field(min_length=1)  # noqa: N815  # the dialect's own name
    model: str | None = pydantic.Field(None, max_length=200)
    prompt: str | None = pydantic.Field(None, max_length=PROMPT_MAX)
    deliveryMethod: Literal["sync", "async"] | None = None  # noqa: N815  # the dialect's own name
    webhookURL: str | None = pydantic.Field(None, min_length=1, max_length=2000)  # noqa: N815  # as above
    includeCost: bool | None = None  # noqa: N815  # the dialect's own name


class Upload(_Fields):
    """``imageUpload``."""

    image: str = pydantic.Field(min_length=1)


class Response(_Fields):
    """``getResponse``."""


def is_uuid(text: object) -> bool:
    """Whether something is a UUID of any version in its usual form."""
    return isinstance(text, str) and _UUID.fullmatch(text) is not None


def digest(item: Mapping[str, Any]) -> str:
    """Return what two bodies of one task have in common exactly if they say the same."""
    said = {name: value for name, value in item.items() if name != "taskUUID"}
    text = json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def phrases(prompt: str) -> list[str]:
    """Return the phrases of a list: one a line, or between commas or semicolons."""
    separator = r"\n" if "\n" in prompt.strip() else r"[,;]"
    return [phrase.strip() for phrase in re.split(separator, prompt) if phrase.strip()]
