"""The fields of a task array's items, and the models that go by other names there."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import pydantic

__all__ = ["ALIASES", "Alias", "Caption", "Response", "Upload", "digest", "is_uuid", "phrases"]

PROMPT_MAX = 10_000
_UUID = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")


@dataclass(frozen=True, slots=True)
class Alias:
    """A model by the name it has there, and what it is asked for."""

    model: str
    kind: Literal["text", "age", "phrases"]


ALIASES: Mapping[str, Alias] = {
    "runware:150@2": Alias("llava-1.6-mistral-7b", "text"),
    "runware:151@1": Alias("clip-vit-large-patch14", "phrases"),
    "runware:152@1": Alias("qwen2.5-vl-3b", "text"),
    "runware:152@2": Alias("qwen2.5-vl-7b", "text"),
    "runware:152@50": Alias("qwen2.5-vl-7b", "age"),
    "runware:153@1": Alias("vit-age-classifier", "age"),
    "runware:154@1": Alias("open-age-detection", "age"),
}


class _Fields(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="ignore", strict=True, hide_input_in_errors=True)


class Caption(_Fields):
    """``imageCaption``."""

    inputImage: str = pydantic.Field(min_length=1)  # noqa: N815  # the dialect's own name
    model: str | None = pydantic.Field(None, max_length=200)
    prompt: str | None = pydantic.Field(None, max_length=PROMPT_MAX)
    deliveryMethod: Literal["sync", "async"] = "sync"  # noqa: N815  # the dialect's own name
    webhookURL: str | None = pydantic.Field(None, min_length=1, max_length=2000)  # noqa: N815  # as above
    includeCost: bool = False  # noqa: N815  # the dialect's own name


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
