"""What a model is told, with places for what differs from one request to the next."""

from __future__ import annotations

import string
from typing import Annotated

import pydantic

__all__ = ["AnswerTemplate", "CaptionTemplate", "LabelTemplate"]


def _template(text: str, *names: str, needed: str | None = None) -> str:
    """Check that str.format can fill ``text`` from ``names`` alone."""
    allowed = ", ".join(f"{{{name}}}" for name in names)
    try:
        fields = [part[1:] for part in string.Formatter().parse(text) if part[1] is not None]
    except ValueError as error:
        raise ValueError(f"{error}; a brace that is no placeholder is written twice") from error
    # Neither attributes nor formats: only whole values are put in.
    if any(name not in names or form or conversion for name, form, conversion in fields):
        raise ValueError(f"may hold {allowed} and no other placeholder")
    if needed is not None and [name for name, _, _ in fields].count(needed) != 1:
        raise ValueError(f"must hold {{{needed}}} once")
    return text


def _caption(text: str) -> str:
    return _template(text, "language", "length")


def _answer(text: str) -> str:
    return _template(text, "question", "language", needed="question")


def _label(text: str) -> str:
    return _template(text, "", needed="")


#: Asks for a caption; may hold ``{language}`` and ``{length}``.
CaptionTemplate = Annotated[str, pydantic.AfterValidator(_caption)]
#: Asks ``{question}``; may hold ``{language}``.
AnswerTemplate = Annotated[str, pydantic.AfterValidator(_answer)]
#: Puts a label, ``{}``, into words.
LabelTemplate = Annotated[str, pydantic.AfterValidator(_label)]
