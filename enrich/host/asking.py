"""What each rendition of a batch is asked: its questions, with their placeholders filled."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from enrich.prompts import PromptTemplate
from enrich.types import Question, Rendition, Statement

__all__ = ["Subject", "alike", "subject"]


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """A rendition, what earlier steps said of it, and what it is asked."""

    rendition: Rendition
    statements: Sequence[Statement]
    questions: tuple[Question, ...]


def subject(rendition: Rendition, statements: Sequence[Statement], questions: Sequence[Question]) -> Subject:
    """Fill the questions' placeholders for one rendition."""
    return Subject(
        rendition, statements, tuple(_filled(question, rendition, statements) for question in questions)
    )


def _filled(question: Question, rendition: Rendition, statements: Sequence[Statement]) -> Question:
    if not isinstance(question.text, PromptTemplate):
        return question
    return dataclasses.replace(question, text=question.text.fill(rendition, statements))


def alike(subjects: Sequence[Subject]) -> list[list[int]]:
    """Return the indices of those that are asked the same, which is one call of a hook."""
    groups: dict[tuple[Question, ...], list[int]] = {}
    for index, one in enumerate(subjects):
        groups.setdefault(one.questions, []).append(index)
    return list(groups.values())
