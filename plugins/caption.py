"""Captions: what a picture shows, in a sentence or more, or as alt text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Literal

import pydantic

import enrich
from enrich.errors import UsageError
from enrich.languages import LanguageTag, insisting, write
from enrich.prompts import PromptTemplate
from enrich.replies import trim_opening

__all__ = ["Options", "check", "enrich_caption", "needs_model", "revision", "size_px"]

revision = "1"

#: About twice what captioners take; more pixels would only be decoded to be thrown away.
size_px = 768
needs_model = True

# Of prompts in the user's own words; for its own prompts a model knows better.
_TOKENS = {"short": 24, "normal": 48, "long": 96, "alt_text": 40}

_LABEL = re.compile(r"^(?:alt(?:ernative)?[ -]?text|caption|description)\s*:\s*", re.IGNORECASE)
# What stock sites and assistants put behind a sentence, and no one who cannot see needs to hear.
_TRAILING = re.compile(
    r"(?:\s+#\w+)+$"
    r"|\s*[-,|–—]\s*(?:(?:royalty[- ])?free )?stock (?:photo(?:graph|graphy)?|image|picture)s?\.?$",
    re.IGNORECASE,
)
_QUOTES = (('"', '"'), ("'", "'"), ("“", "”"), ("‘", "’"), ("«", "»"), ("「", "」"))
_SENTENCES = re.compile(r"^.*(?:[.!?](?=\s)|[。！？])", re.DOTALL)


class Options(pydantic.BaseModel):
    """What a step may set."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    length: Literal["short", "normal", "long", "alt_text"] = pydantic.Field(
        "normal", description="How much is said; alt_text is one line for those who cannot see the picture."
    )
    lang: LanguageTag | None = pydantic.Field(
        None, description="The caption's language (BCP 47); English unless there is a `prompt`."
    )
    prompt: PromptTemplate | None = pydantic.Field(
        None, description="Your own words to ask the model with; they may have placeholders."
    )
    trim: bool = pydantic.Field(
        False, description='Leave out what comes before the picture: "This image shows ...".'
    )
    # It changes no caption, so that it makes none stale.
    check_lang: bool = pydantic.Field(
        True,
        exclude=True,
        description="Ask a model of several languages once more where it wrote in another; then fail.",
    )
    beams: int | None = pydantic.Field(
        None,
        ge=1,
        le=16,
        description="Sequences kept in beam search, 1 is none; as many as the model's own files say.",
    )
    temperature: float = pydantic.Field(
        0.0, ge=0, le=5, description="0: the likeliest word each time; above, words are drawn."
    )
    top_k: int = pydantic.Field(0, ge=0, description="Only so many of the likeliest words are drawn; 0: all.")
    top_p: float = pydantic.Field(
        1.0, gt=0, le=1, description="Only the likeliest words that make up this share are drawn."
    )
    repetition_penalty: float = pydantic.Field(
        1.0, gt=0, le=10, description="Above 1, what was said is less likely to be said again."
    )
    seed: int = pydantic.Field(0, ge=0, description="Where drawing starts.")
    max_tokens: int | None = pydantic.Field(
        None, ge=1, le=4096, description="At most so many tokens; the model's own budget for the length."
    )

    @pydantic.model_validator(mode="before")
    @classmethod
    def _speak_english(cls, given: Any) -> Any:
        """Say the language that is asked for, so that no model says another in silence."""
        if isinstance(given, dict) and given.get("lang") is None and given.get("prompt") is None:
            return {**given, "lang": "en"}
        return given

    @pydantic.model_validator(mode="after")
    def _choose_one_way(self) -> Options:
        if self.beams is not None and self.beams > 1 and self.temperature > 0:
            raise ValueError("beams and temperature exclude each other: beam search draws no words")
        return self


def check(options: Options, model: Any) -> None:
    """Check that the model can be asked for captions of this length, or in these words, in this language.

    Raises
    ------
    UsageError
        It does not. Not retryable.
    """
    if options.prompt is not None:
        try:
            model.answer_prompt(str(options.prompt), options.lang)
            return
        except UsageError:
            model.caption_prompt(None, options.lang)
            return
    model.caption_prompt(options.length, options.lang)


@enrich.hookimpl
def enrich_caption(
    renditions: Sequence[enrich.Rendition], context: enrich.Context
) -> list[enrich.Caption | None]:
    """Return what each picture shows; None where the model finds no words.

    Raises
    ------
    UsageError
        A prompt is too long for the model. Not retryable.
    InferenceError
        The model failed, or wrote in another language twice; or the deadline passed. Not retryable.
    """
    model, options = context.model, context.options
    assert model is not None  # needs_model
    said = context.annotations
    prompts = [_prompt(context, one, said[index]) for index, one in enumerate(renditions)]
    written = write(
        model,
        renditions,
        prompts,
        _decoding(options),
        [context.language if options.check_lang else None] * len(prompts),
        lambda index: _prompt(context, renditions[index], said[index], insists=True),
        deadline=context.deadline,
    )
    return [_caption(one, context) for one in written]


def _prompt(
    context: enrich.Context,
    rendition: enrich.Rendition,
    said: Sequence[enrich.Statement],
    *,
    insists: bool = False,
) -> str:
    model, options = context.model, context.options
    assert model is not None  # needs_model
    if options.prompt is None:
        # The model's own prompts say the language in words that it knows.
        return model.caption_prompt(context.length, context.language)
    words: str = options.prompt.fill(rendition, said)
    if insists:
        words = insisting(words, context.language)
    try:
        return model.answer_prompt(words, context.language)
    except UsageError:
        return words  # a model that answers nothing goes on from the words


def _decoding(options: Options) -> enrich.Decoding:
    budget = options.max_tokens
    if budget is None and options.prompt is not None:
        budget = _TOKENS[options.length]
    return enrich.Decoding(
        max_tokens=budget,
        beams=options.beams,
        temperature=options.temperature,
        top_k=options.top_k,
        top_p=options.top_p,
        repetition_penalty=options.repetition_penalty,
        seed=options.seed,
    )


def _caption(written: enrich.Generated, context: enrich.Context) -> enrich.Caption | None:
    text = written.text.strip()
    if written.finish == "length":
        text = _whole_sentences(text)
    if context.length == "alt_text":
        text = _alt_text(text)
    if context.options.trim:
        text = trim_opening(text)
    return enrich.Caption(text, context.language, written.confidence) if text else None


def _whole_sentences(text: str) -> str:
    """Leave out a last sentence that the budget cut, unless it is the only one."""
    match = _SENTENCES.match(text)
    return match[0].strip() if match else text


def _alt_text(text: str) -> str:
    """Return one line without labels, quotation marks and what only search engines read."""
    text = _TRAILING.sub("", _LABEL.sub("", " ".join(text.split()))).strip()
    for start, end in _QUOTES:
        if len(text) > 1 and text.startswith(start) and text.endswith(end):
            return text[1:-1].strip()
    return text
