"""Answers to the user's own questions, each with a typed value where its words can be read as one."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import pydantic

import enrich
from enrich.errors import UsageError
from enrich.languages import LanguageTag, insisting, may_be_in, write
from enrich.questions import Questions
from enrich.replies import budget_together, choices_of, read_reply, read_together, request_together
from enrich.types import ModelHandle

__all__ = ["Options", "check", "enrich_answer", "needs_model", "revision", "size_px"]

revision = "2"

#: About twice what models of questions take; more pixels would only be decoded to be thrown away.
size_px = 768
needs_model = True


class Options(pydantic.BaseModel):
    """What a step may set."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    questions: Questions = pydantic.Field(description="What is asked, by a name of your choice.")
    lang: LanguageTag | None = pydantic.Field(
        None, description="The language of questions that do not say their own (BCP 47)."
    )
    together: bool = pydantic.Field(
        False,
        description="Ask all questions as one, answered as JSON; what is missing there is asked alone.",
    )
    # It changes no answer, so that it makes none stale.
    check_lang: bool = pydantic.Field(
        True,
        exclude=True,
        description="Ask a model of several languages once more where it answered in another; then fail.",
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


#: What is known so far: for each picture, an answer to each question.
_Answers = list[list[enrich.Answer | None]]


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
        The model failed, or answered in another language twice; or the deadline passed. Not retryable.
    """
    # A placeholder may be all of a question, and what fills it unknown.
    asked = [index for index, question in enumerate(questions) if question.text.strip()]
    answers: _Answers = [[None] * len(questions) for _ in renditions]
    if context.options.together and len(asked) > 1:
        _ask_together(renditions, questions, asked, answers, context)
    alone = [(place, index) for place, known in enumerate(answers) for index in asked if known[index] is None]
    if alone:
        _ask_alone(renditions, questions, alone, answers, context)
    unread = [(place, index) for place, index in alone if _value(answers[place][index]) is None]
    for choices in dict.fromkeys(choices_of(questions[index]) for _, index in unread):
        alike = [(place, index) for place, index in unread if choices_of(questions[index]) == choices]
        if choices:
            _choose(choices, renditions, questions, alike, answers, context)
    return answers


def _ask_together(
    renditions: Sequence[enrich.Rendition],
    questions: Sequence[enrich.Question],
    asked: Sequence[int],
    answers: _Answers,
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
            answer = found.get(questions[index].name)
            if answer is not None and may_be_in(_language(questions[index], options), answer.text, model):
                answers[place][index] = dataclasses.replace(answer, confidence=one.confidence)


def _ask_alone(
    renditions: Sequence[enrich.Rendition],
    questions: Sequence[enrich.Question],
    alone: Sequence[tuple[int, int]],
    answers: _Answers,
    context: enrich.Context,
) -> None:
    """Fill in each of these questions' answers, in the model's words and in its language."""
    model, options = context.model, context.options
    assert model is not None  # needs_model
    prompts = _prompts(questions, (index for _, index in alone), model)

    def insist(number: int) -> str:
        question = questions[alone[number][1]]
        return model.answer_prompt(insisting(question.text, question.language), question.language)

    written = write(
        model,
        [renditions[place] for place, _ in alone],
        [prompts[index] for _, index in alone],
        _decoding(options, options.max_tokens),
        [_language(questions[index], options) for _, index in alone],
        insist,
        deadline=context.deadline,
    )
    for (place, index), one in zip(alone, written, strict=True):
        answers[place][index] = _answer(one, questions[index])


def _choose(
    choices: tuple[str, ...],
    renditions: Sequence[enrich.Rendition],
    questions: Sequence[enrich.Question],
    unread: Sequence[tuple[int, int]],
    answers: _Answers,
    context: enrich.Context,
) -> None:
    """Fill in the likeliest of the choices, with its share among them, where the words say none of them."""
    model = context.model
    assert model is not None  # needs_model
    prompts = _prompts(questions, (index for _, index in unread), model)
    try:
        written = model.generate(
            [renditions[place] for place, _ in unread],
            [prompts[index] for _, index in unread],
            enrich.Decoding(choices=choices),
            deadline=context.deadline,
        )
    except UsageError as error:
        # The questions were asked before: it is the choices that the model has no tokens for.
        context.log.info("%s: answers in other words than the choices have no value: %s", context.step, error)
        return
    for (place, index), one in zip(unread, written, strict=True):
        if one.text:  # a request's budget may be used up
            answers[place][index] = _answer(one, questions[index])


def _prompts(
    questions: Sequence[enrich.Question], asked: Iterable[int], model: ModelHandle
) -> dict[int, str]:
    return {
        index: model.answer_prompt(questions[index].text, questions[index].language)
        for index in dict.fromkeys(asked)
    }


def _language(question: enrich.Question, options: Options) -> str | None:
    """Return what an answer shall be in; None: it is not judged, as what has a type of its own."""
    return question.language if options.check_lang and question.type == "string" else None


def _value(answer: enrich.Answer | None) -> Any:
    return None if answer is None else answer.value


def _decoding(options: Options, max_tokens: int | None) -> enrich.Decoding:
    return enrich.Decoding(
        max_tokens=max_tokens, beams=options.beams, repetition_penalty=options.repetition_penalty
    )


def _answer(written: enrich.Generated, question: enrich.Question) -> enrich.Answer:
    return enrich.Answer(written.text, read_reply(written.text, question), written.confidence)
