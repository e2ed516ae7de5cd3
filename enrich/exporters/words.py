"""The graph from tokens to embeddings: ``embed_tokens``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from enrich.exporters.samples import OTHERS, TRACED, Size, tokens
from enrich.exporters.tracing import module_of, trace

__all__ = ["export_embedding"]

_TEXT = {0: "batch", 1: "tokens"}


def export_embedding(embedding: Any, graph: Path) -> float:
    """Write the graph from tokens, int64, (B, S), to embeddings, float32, (B, S, D).

    Parameters
    ----------
    embedding : torch.nn.Embedding
        The model's; one of a kind of its own has ``num_embeddings`` and ``forward`` too.
    graph : Path
        The .onnx file.

    Returns
    -------
    float
        How far it was from torch at most, as a share of torch's largest number.

    Raises
    ------
    Refused
        The graph is not what torch's model is. Not retryable.
    """

    def inputs(size: Size) -> Mapping[str, Tensor]:
        return {"input_ids": tokens(size, embedding.num_embeddings)}

    return trace(
        module_of(embedding, embedding.forward),
        graph,
        inputs(TRACED),
        ["inputs_embeds"],
        {"input_ids": _TEXT, "inputs_embeds": _TEXT},
        others=[inputs(size) for size in OTHERS],
    )
