"""Captions without a model that writes: of phrases that the user lists, the likeliest are put together.

A dual encoder (CLIP, SigLIP) ranks phrases for a picture. They are given in groups, what is shown, where, at
what time; the likeliest of each group is said, if it is likely enough.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import pydantic

import enrich
from enrich.errors import UsageError
from enrich.languages import LanguageTag

__all__ = ["Options", "check", "enrich_caption", "needs_model", "revision", "size_px"]

revision = "1"

#: About twice what dual encoders take; more pixels would only be decoded to be thrown away.
size_px = 512
needs_model = True

_Phrase = Annotated[str, pydantic.Field(min_length=1, max_length=200)]


class Options(pydantic.BaseModel):
    """What a step may set."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    phrases: Mapping[str, tuple[_Phrase, ...]] = pydantic.Field(
        description="Groups of phrases by names of yours; the likeliest of each is said, in that order."
    )
    opening: str = pydantic.Field(
        "",
        description='What the caption begins with, "A photograph of"; phrases are ranked as they then read.',
    )
    joint: str = pydantic.Field(", ", description="What stands between two phrases.")
    threshold: Annotated[float, pydantic.Field(ge=0, le=1)] = pydantic.Field(
        0.3, description="Of a group whose likeliest phrase is less sure, nothing is said."
    )
    lang: LanguageTag = pydantic.Field("en", description="The language of your phrases (BCP 47).")

    @pydantic.field_validator("phrases")
    @classmethod
    def _check_groups(cls, given: Mapping[str, tuple[str, ...]]) -> Mapping[str, tuple[str, ...]]:
        if not given:
            raise ValueError("give one group at least")
        for group, phrases in given.items():
            if len(phrases) < 2 or len(set(phrases)) < len(phrases):
                raise ValueError(f"{group}: a group needs two different phrases at least, each of them once")
        return given


def check(options: Options, model: Any) -> None:
    """Check that the model ranks phrases.

    Raises
    ------
    UsageError
        It does not. Not retryable.
    """
    try:
        for phrases in options.phrases.values():
            model.predict([], phrases)
    except UsageError as error:
        raise UsageError(f"phrases: {error}") from error


@enrich.hookimpl
def enrich_caption(
    renditions: Sequence[enrich.Rendition], context: enrich.Context
) -> list[enrich.Caption | None]:
    """Return the likeliest phrases of each picture as one caption; None where none is likely enough.

    Its confidence is the geometric mean of the phrases'.

    Raises
    ------
    InferenceError
        The model failed. Not retryable.
    """
    assert context.model is not None  # needs_model
    options: Options = context.options
    best = [_rank(renditions, context.model, phrases, options) for phrases in options.phrases.values()]
    return [_compose(said, options) for said in zip(*best, strict=True)]


def _rank(
    renditions: Sequence[enrich.Rendition], model: Any, phrases: Sequence[str], options: Options
) -> list[tuple[str, float]]:
    """Return each picture's likeliest phrase, and how sure the model is of it among the others."""
    phrase_of = {f"{options.opening} {phrase}".strip(): phrase for phrase in phrases}
    ranked = [scores.top(1)[0] for scores in model.predict(renditions, tuple(phrase_of))]
    return [(phrase_of[text], confidence) for text, confidence in ranked]


def _compose(best: Sequence[tuple[str, float]], options: Options) -> enrich.Caption | None:
    said = [(phrase, confidence) for phrase, confidence in best if confidence >= options.threshold]
    if not said:
        return None
    text = options.joint.join(phrase for phrase, _ in said)
    confidence = math.prod(confidence for _, confidence in said) ** (1 / len(said))
    return enrich.Caption(f"{options.opening} {text}".strip(), options.lang, confidence)
