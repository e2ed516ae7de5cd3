"""Whether a tokenizer, a decoder and the embeddings of its words are of one model."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from enrich.errors import InferenceError, ManifestError
from enrich.inference.stored import StoredModel
from enrich.inference.text import Tokenizer

__all__ = ["check_vocabulary"]


def check_vocabulary(
    model: StoredModel,
    tokenizer: Tokenizer,
    words: int,
    ends: Sequence[int],
    embed: Callable[[NDArray[np.int64]], object] | None = None,
) -> None:
    """Raise if the model can be made to read or write a token that one of its files does not have.

    Parameters
    ----------
    model : StoredModel
        Whose files they are, for the message.
    tokenizer : Tokenizer
        The model's.
    words : int
        How many tokens the decoder has logits for.
    ends : sequence of int
        The tokens that end a text.
    embed : callable or None
        From tokens, int64, (1, 1), to embeddings, where a graph of its own gives those; raises
        InferenceError where there is none. Not every device tells.

    Raises
    ------
    ManifestError
        The files are not of one model. Not retryable.
    """
    if tokenizer.size > words:
        raise _other_model(model, tokenizer, f"the decoder {words}")
    strange = [token for token in ends if token >= words]
    if strange:
        raise ManifestError(
            f"{model.folder}: eos_token_id: {strange[0]} is none of the decoder's {words} tokens"
        )
    if embed is not None:
        try:
            embed(np.asarray([[tokenizer.size - 1]], np.int64))
        except InferenceError as error:
            raise _other_model(model, tokenizer, "embed_tokens fewer") from error


def _other_model(model: StoredModel, tokenizer: Tokenizer, others: str) -> ManifestError:
    return ManifestError(
        f"{model.folder}: tokenizer.json has {tokenizer.size} tokens and {others}: they are not of one "
        "model; copy tokenizer.json from where the weights come from"
    )
