"""A filter: keeps pictures from being described that a classifier of yours puts a blocked label on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import pydantic

import enrich
from enrich.errors import UsageError

__all__ = ["Options", "check", "enrich_moderate", "needs_model", "revision", "size_px"]

revision = "1"

#: About twice what classifiers take; more pixels would only be decoded to be thrown away.
size_px = 512
needs_model = True


class Options(pydantic.BaseModel):
    """What a filter may set."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    labels: tuple[Annotated[str, pydantic.Field(min_length=1, max_length=200)], ...] = pydantic.Field(
        min_length=1, description="The model's labels that are blocked."
    )
    threshold: float = pydantic.Field(0.5, gt=0, le=1, description="From this confidence of one of them on.")


def check(options: Options, model: Any) -> None:
    """Check that the model is a classifier that knows these labels.

    Raises
    ------
    UsageError
        It does not. Not retryable.
    """
    known = tuple(getattr(model, "labels", ()))
    if not known:
        raise UsageError(f"model: {model.name} has no labels of its own; a filter needs a classifier")
    unknown = [label for label in options.labels if label not in known]
    if unknown:
        shown = ", ".join(known[:20]) + (", ..." if len(known) > 20 else "")
        raise UsageError(f'labels: the model {model.name} knows no "{unknown[0]}"; it knows: {shown}')


@enrich.hookimpl
def enrich_moderate(renditions: Sequence[enrich.Rendition], context: enrich.Context) -> list[str | None]:
    """Return, per rendition, the likeliest blocked label where it reaches the threshold.

    Raises
    ------
    InferenceError
        The model failed. Not retryable.
    """
    model, options = context.model, context.options
    assert model is not None  # needs_model
    return [_reason(scores, options) for scores in model.predict(renditions)]


def _reason(scores: Any, options: Options) -> str | None:
    confidences = dict(zip(scores.labels, scores.probabilities.tolist(), strict=True))
    likeliest = max(options.labels, key=lambda label: confidences[label])
    return likeliest if confidences[likeliest] >= options.threshold else None
