"""Answers to the user's own questions, each with a typed value where its words can be read as one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import pydantic

import enrich
from enrich.questions import Questions
from enrich.replies import read_reply

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
    beams: int = pydantic.Field(1, ge=1, le=16, description="Sequences kept in beam search; 1 is none.")
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
    prompts = {
        index: model.answer_prompt(question.text, question.language)
        for index, question in enumerate(questions)
        if question.text.strip()
    }
    written = iter(
        model.generate(
            [rendition for rendition in renditions for _ in prompts],
            [*prompts.values()] * len(renditions),
            enrich.Decoding(
                max_tokens=options.max_tokens,
                beams=options.beams,
                repetition_penalty=options.repetition_penalty,
            ),
            deadline=context.deadline,
        )
    )
    return [
        [
            _answer(next(written), question) if index in prompts else None
            for index, question in enumerate(questions)
        ]
        for _ in renditions
    ]


def _answer(written: enrich.Generated, question: enrich.Question) -> enrich.Answer:
    return enrich.Answer(written.text, read_reply(written.text, question), written.confidence)
