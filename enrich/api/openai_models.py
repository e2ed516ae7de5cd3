"""The fields of an OpenAI chat completion that mean something here."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pydantic

from enrich.api.errors import InvalidParameter
from enrich.api.requests import MAX_PICTURES
from enrich.types import Decoding

__all__ = ["Completion"]

_MESSAGES_MAX = 200
_PROMPT_MAX = 100_000


class _Fields(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="ignore", strict=True, hide_input_in_errors=True)


class _ImageUrl(_Fields):
    url: str = pydantic.Field(min_length=1)


class _ImagePart(_Fields):
    type: Literal["image_url"]
    image_url: _ImageUrl

    @pydantic.field_validator("image_url", mode="before")
    @classmethod
    def _whole(cls, given: object) -> object:
        return {"url": given} if isinstance(given, str) else given

    @property
    def url(self) -> str:
        return self.image_url.url


class _TextPart(_Fields):
    type: Literal["text"]
    text: str


class _RefusalPart(_Fields):
    type: Literal["refusal"]
    refusal: str


_Part = Annotated[_TextPart | _ImagePart | _RefusalPart, pydantic.Field(discriminator="type")]


class _Message(_Fields):
    role: Literal["system", "developer", "user", "assistant"]
    content: list[_Part] | None = None

    @pydantic.field_validator("content", mode="before")
    @classmethod
    def _whole(cls, given: object) -> object:
        if given is not None and not isinstance(given, (str, list)):
            raise ValueError("must be a text or an array of parts")
        # One form of two, so that what is wrong is said of the one that was meant.
        return [{"type": "text", "text": given}] if isinstance(given, str) else given

    @property
    def said_by(self) -> Literal["system", "user", "assistant"]:
        return "system" if self.role == "developer" else self.role

    @property
    def text(self) -> str:
        parts = self.content or ()
        said = [part.text for part in parts if isinstance(part, _TextPart)]
        return "\n".join(said + [part.refusal for part in parts if isinstance(part, _RefusalPart)])

    @property
    def urls(self) -> list[str]:
        return [part.url for part in self.content or () if isinstance(part, _ImagePart)]

    @property
    def parts(self) -> list[tuple[str, bool]]:
        """Texts and URLs of pictures in their order, and whether each is a text."""
        return [
            (part.url, False)
            if isinstance(part, _ImagePart)
            else (part.text if isinstance(part, _TextPart) else part.refusal, True)
            for part in self.content or ()
        ]


class _StreamOptions(_Fields):
    include_usage: bool | None = None


class _JsonSchema(_Fields):
    schema_: dict[str, Any] = pydantic.Field(default_factory=dict, alias="schema")
    strict: bool | None = None


class _ResponseFormat(_Fields):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: _JsonSchema | None = None


class Completion(_Fields):
    """``POST /v1/chat/completions``."""

    model: str = pydantic.Field(min_length=1, max_length=200)
    messages: list[_Message] = pydantic.Field(min_length=1, max_length=_MESSAGES_MAX)
    max_tokens: int | None = pydantic.Field(None, ge=1, le=1_000_000)
    max_completion_tokens: int | None = pydantic.Field(None, ge=1, le=1_000_000)
    temperature: float | None = pydantic.Field(None, ge=0, le=2)
    top_p: float | None = pydantic.Field(None, ge=0, le=1)
    seed: int | None = None
    n: int | None = pydantic.Field(None, ge=1, le=1)
    stop: str | list[str] | None = None
    response_format: _ResponseFormat | None = None
    stream: bool | None = None
    stream_options: _StreamOptions | None = None

    def check(self) -> None:
        """Look at what the fields mean together.

        Raises
        ------
        InvalidParameter
            Not retryable.
        """
        if self.messages[-1].role != "user":
            raise InvalidParameter(
                "the last message must be the user's", f"messages.{len(self.messages) - 1}.role"
            )
        for index, message in enumerate(self.messages):
            if message.urls and message.role != "user":
                raise InvalidParameter("only a user's message may have pictures", f"messages.{index}.content")
            if len(message.urls) > MAX_PICTURES:
                raise InvalidParameter(
                    f"at most {MAX_PICTURES} pictures are taken in a message", f"messages.{index}.content"
                )
        # Clients send a conversation's pictures anew with each turn.
        if len({url for message in self.messages for url in message.urls}) > MAX_PICTURES:
            raise InvalidParameter(
                f"at most {MAX_PICTURES} different pictures are taken in a conversation", "messages"
            )
        if sum(len(message.text) for message in self.messages) > _PROMPT_MAX:
            raise InvalidParameter(f"the messages have more than {_PROMPT_MAX} characters", "messages")
        if len(self._stop) > 4 or not all(self._stop):
            raise InvalidParameter("at most 4 texts, none of them empty", "stop")

    @property
    def _stop(self) -> tuple[str, ...]:
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())

    @property
    def decoding(self) -> Decoding:
        """How words are chosen; without a temperature always the likeliest, so that answers repeat."""
        return Decoding(
            max_tokens=self.max_completion_tokens or self.max_tokens,
            temperature=self.temperature or 0.0,
            # None of the probability would be no word at all: the likeliest is always among them.
            top_p=1.0 if self.top_p is None else max(self.top_p, 1e-6),
            seed=None if self.seed is None else self.seed % 2**63,
            stop=self._stop,
        )

    @property
    def json_schema(self) -> dict[str, Any] | None:
        """What the answer must be like; None: words."""
        if self.response_format is None or self.response_format.type == "text":
            return None
        given = self.response_format.json_schema
        return {} if given is None or self.response_format.type == "json_object" else given.schema_

    @property
    def is_strict(self) -> bool:
        """Whether no answer is better than one that does not keep the schema."""
        given = None if self.response_format is None else self.response_format.json_schema
        return given is not None and given.strict is True
