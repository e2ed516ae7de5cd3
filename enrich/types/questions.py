"""What a step asks of every rendition."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["AnswerType", "Question"]

AnswerType = Literal["string", "boolean", "number", "choice", "date"]


@dataclass(frozen=True, slots=True)
class Question:
    """One of the user's own questions of a step.

    ``text`` is ready to be asked (its placeholders are filled); ``choices`` holds the allowed
    answers of a ``choice`` question and is empty otherwise; ``language`` (BCP 47) is what it is
    asked in, where that is known.
    """

    name: str
    text: str
    type: AnswerType = "string"
    choices: tuple[str, ...] = ()
    language: str | None = None
