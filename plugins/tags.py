"""Tags: the likeliest labels of a classifier."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import pydantic

import enrich

__all__ = ["Options", "enrich_tag", "needs_model", "revision", "size_px"]

revision = "1"

#: About twice what classifiers take; more pixels would only be decoded to be thrown away.
size_px = 512
needs_model = True


class Options(pydantic.BaseModel):
    """What a step may set."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    threshold: Annotated[float, pydantic.Field(ge=0, le=1)] = 0.2
    limit: Annotated[int, pydantic.Field(ge=1)] = 5


@enrich.hookimpl
def enrich_tag(renditions: Sequence[enrich.Rendition], context: enrich.Context) -> list[list[enrich.Tag]]:
    """Return the labels that reach the threshold, best first, each by the first of its synonyms."""
    assert context.model is not None  # needs_model
    options: Options = context.options
    return [
        _tags(scores.top(options.limit), options.threshold) for scores in context.model.predict(renditions)
    ]


def _tags(best: Sequence[tuple[str, float]], threshold: float) -> list[enrich.Tag]:
    # Two labels may share their first synonym: ImageNet has two cranes.
    confidences: dict[str, float] = {}
    for label, confidence in best:
        if confidence >= threshold:
            confidences.setdefault(label.split(",")[0].strip(), confidence)
    return [enrich.Tag(name, confidence) for name, confidence in confidences.items()]
