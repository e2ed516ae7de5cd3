"""What reads and writes of a vision-language model: ``embed_tokens`` and ``decoder_model_merged``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers.cache_utils import DynamicCache

from enrich.exporters.tracing import module_of, trace

__all__ = ["export_decoder", "export_embedding"]

_TEXT = {0: "batch", 1: "tokens"}
_PAST, _PRESENT = {0: "batch", 2: "past"}, {0: "batch", 2: "total"}


def export_embedding(embedding: Any, graph: Path) -> float:
    """Write the graph from tokens to embeddings.

    Parameters
    ----------
    embedding : torch.nn.Embedding
        The model's.
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

    def ids(batch: int, length: int) -> Mapping[str, Tensor]:
        return {"input_ids": torch.randint(0, embedding.num_embeddings, (batch, length))}

    return trace(
        module_of(embedding, embedding.forward),
        graph,
        ids(2, 7),
        ["inputs_embeds"],
        {"input_ids": _TEXT, "inputs_embeds": _TEXT},
        others=[ids(1, 1), ids(3, 5)],
    )


def export_decoder(text: Any, head: nn.Module, graph: Path, *, position_axes: int = 1) -> float:
    """Write the graph from embeddings and a past to the logits after the last token, and a longer past.

    Those after the other tokens are left out: of a picture's thousand tokens over a vocabulary of 50,000
    words they would be 200 MB that nobody reads.

    Parameters
    ----------
    text : torch.nn.Module
        The language model without its head, of Llama's kind (Mistral and Qwen2 are).
    head : torch.nn.Module
        From its states to logits.
    graph : Path
        The .onnx file.
    position_axes : int
        3 where positions count time, rows and columns apart (Qwen-VL): they are (3, B, S) then.

    Returns
    -------
    float
        How far it was from torch at most, as a share of torch's largest number.

    Raises
    ------
    Refused
        The graph is not what torch's model is. Not retryable.
    """
    config = text.config
    layers = range(config.num_hidden_layers)
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    parts = [f"{layer}.{half}" for layer in layers for half in ("key", "value")]

    def write(embeds: Tensor, mask: Tensor, positions: Tensor, *past: Tensor) -> tuple[Tensor, ...]:
        cache = DynamicCache()
        for layer in layers:
            cache.update(past[2 * layer], past[2 * layer + 1], layer)
        states = text(
            inputs_embeds=embeds,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
        ).last_hidden_state
        present = [one for layer in cache.layers for one in (layer.keys, layer.values)]
        return head(states[:, -1:]), *present

    def said(batch: int, length: int, past: int, *, padding: int = 0) -> Mapping[str, Tensor]:
        mask = torch.ones(batch, past + length, dtype=torch.int64)
        mask[0, :padding] = 0
        shape = (batch, config.num_key_value_heads, past, width)
        positions = (mask.cumsum(1) - 1).clamp(min=0)[:, past:]
        if position_axes > 1:
            # In pictures they differ: one axis taken for another must show.
            positions = torch.stack([positions + 2 * axis for axis in range(position_axes)])
        return {
            "inputs_embeds": torch.randn(batch, length, config.hidden_size),
            "attention_mask": mask,
            "position_ids": positions,
        } | {f"past_key_values.{part}": torch.randn(shape) for part in parts}

    axes = {"inputs_embeds": _TEXT, "attention_mask": {0: "batch", 1: "total"}}
    axes["position_ids"] = _TEXT if position_axes == 1 else {1: "batch", 2: "tokens"}
    axes |= {f"past_key_values.{part}": _PAST for part in parts}
    axes |= {f"present.{part}": _PRESENT for part in parts}
    return trace(
        module_of(nn.ModuleList([text, head]), write),
        graph,
        said(2, 3, 5, padding=2),
        ["logits", *(f"present.{part}" for part in parts)],
        axes | {"logits": {0: "batch"}},
        others=[said(1, 9, 0), said(3, 1, 11, padding=4), said(1, 1, 1), said(2, 4, 6)],
    )
