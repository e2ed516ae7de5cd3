"""Answers to the user's own questions, each with a typed value where its words can be read as one."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Annotated, Any

import pydantic

import enrich
from enrich.questions import Questions
from enrich.replies import budget_together, read_reply, read_together, request_together

__all__ = ["Options", "check", "enrich_answer", "needs_model", "revision", "size_px"]

revision = "1"

#: About twice what models of questions take; more pixels would only be decoded to be thrown away.
size_px = 768
needs_model = True


class Options(pydantic.BaseModel):
    """What a step may set."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    questions: Questions = pydantic.Field(description="What is asked, by a name of your choice.")
    lang: Annotated[str, pydantic.Field(pattern=r"^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$")] | None = (
        pydantic.Field(None, description="The language of questions that do not say their own (BCP 47).")
    )
    together: bool = pydantic.Field(
        False,
        description="Ask all questions as one, answered as JSON; what is missing there is asked alone.",
    )
    beams: int | None = pydantic.Field(
        None,
        ge=1,
        le=16,
        description="Sequences kept in beam search, 1 is none; as many as the model's own files say.",
    )
    repetition_penalty: float = pydantic.Field(
        1.0, gt=0, le=10, description="Above 1, what was said is less likely to be said again."
    )
    max_tokens: int | None = pydantic.Field(
        None, ge=1, le=4096, description="At most so many tokens an answer; the model's own budget."
    )


def check(options: Options, model: Any) -> None:
    """Check that the model answers questions, and in their languages.

    Raises
    ------
    UsageError
        It does not. Not retryable.
    """
    for name, question in options.questions.items():
        try:
            model.answer_prompt(str(question.ask), question.lang or options.lang)
        except enrich.EnrichError as error:
            raise type(error)(f"questions.{name}: {error}") from error


@enrich.hookimpl
def enrich_answer(
    renditions: Sequence[enrich.Rendition], questions: Sequence[enrich.Question], context: enrich.Context
) -> list[list[enrich.Answer | None]]:
    """Ask all questions of all pictures at once; None for a question of which no word is left.

    Raises
    ------
    UsageError
        A question is too long for the model. Not retryable.
    InferenceError
        The model failed, or the deadline passed. Not retryable.
    """
    model, options = context.model, context.options
    assert model is not None  # needs_model
    # A placeholder may be all of a question, and what fills it unknown.
    asked = [index for index, question in enumerate(questions) if question.text.strip()]
    answers: list[list[enrich.Answer | None]] = [[None] * len(questions) for _ in renditions]
    if options.together and len(asked) > 1:
        _ask_together(renditions, questions, asked, answers, context)
    alone = [
        (place, index) for place in range(len(renditions)) for index in asked if answers[place][index] is None
    ]
    if not alone:
        return answers
    prompts = {
        index: model.answer_prompt(questions[index].text, questions[index].language)
        for index in {index for _, index in alone}
    }
    written = model.generate(
        [renditions[place] for place, _ in alone],
        [prompts[index] for _, index in alone],
        _decoding(options, options.max_tokens),
        deadline=context.deadline,
    )
    for (place, index), one in zip(alone, written, strict=True):
        answers[place][index] = _answer(one, questions[index])
    return answers


def _ask_together(
    renditions: Sequence[enrich.Rendition],
    questions: Sequence[enrich.Question],
    asked: Sequence[int],
    answers: list[list[enrich.Answer | None]],
    context: enrich.Context,
) -> None:
    """Fill in what one JSON object for each picture says of its questions."""
    model, options = context.model, context.options
    assert model is not None  # needs_model
    some = [questions[index] for index in asked]
    prompt = model.answer_prompt(request_together(some), options.lang)
    decoding = _decoding(options, budget_together(some, options.max_tokens))
    written = model.generate(renditions, [prompt] * len(renditions), decoding, deadline=context.deadline)
    for place, one in enumerate(written):
        found = read_together(one.text, some)
        for index in asked:
            if (answer := found.get(questions[index].name)) is not None:
                answers[place][index] = dataclasses.replace(answer, confidence=one.confidence)


def _decoding(options: Options, max_tokens: int | None) -> enrich.Decoding:
    return enrich.Decoding(
        max_tokens=max_tokens, beams=options.beams, repetition_penalty=options.repetition_penalty
    )


def _answer(written: enrich.Generated, question: enrich.Question) -> enrich.Answer:
    return enrich.Answer(written.text, read_reply(written.text, question), written.confidence)
