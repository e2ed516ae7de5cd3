"""Embeddings: a picture's place in a model's space, near what looks and means alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import enrich

__all__ = ["check", "enrich_embed", "needs_model", "revision", "size_px"]

revision = "1"

#: About twice what such models take; more pixels would only be decoded to be thrown away.
size_px = 512
needs_model = True


def check(options: Any, model: Any) -> None:
    """Check that the model embeds.

    Raises
    ------
    UsageError
        It does not. Not retryable.
    """
    model.embed([])


@enrich.hookimpl
def enrich_embed(renditions: Sequence[enrich.Rendition], context: enrich.Context) -> list[enrich.Embedding]:
    """Return each picture's embedding.

    Raises
    ------
    InferenceError
        The model failed. Not retryable.
    """
    assert context.model is not None  # needs_model
    return [enrich.Embedding(vector) for vector in context.model.embed(renditions)]
