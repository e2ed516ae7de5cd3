"""What reads and writes of a vision-language model: ``embed_tokens`` and ``decoder_model_merged``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from enrich.exporters.caches import cache_names, filled, halves, present_names
from enrich.exporters.tracing import module_of, trace
from enrich.exporters.words import export_embedding

__all__ = ["export_text"]

_TEXT = {0: "batch", 1: "tokens"}


def export_text(text: Any, head: nn.Module, folder: Path, *, position_axes: int = 1) -> dict[str, float]:
    """Write embed_tokens.onnx and decoder_model_merged.onnx.

    The decoder goes from embeddings and a past to the logits after the last token, and a longer past. Those
    after the other tokens are left out: of a picture's thousand tokens over a vocabulary of 50,000 words
    they would be 200 MB that nobody reads.

    Parameters
    ----------
    text : torch.nn.Module
        The language model without its head, of Llama's kind (Mistral and Qwen2 are).
    head : torch.nn.Module
        From its states to logits.
    folder : Path
        Where.
    position_axes : int
        3 where positions count time, rows and columns apart (Qwen-VL): they are (3, B, S) then.

    Returns
    -------
    dict of str to float
        By graph, how far it was from torch at most, as a share of torch's largest number.

    Raises
    ------
    Refused
        A graph is not what torch's model is. Not retryable.
    """
    return {
        "embed_tokens": export_embedding(text.get_input_embeddings(), folder / "embed_tokens.onnx"),
        "decoder_model_merged": _export_decoder(
            text, head, folder / "decoder_model_merged.onnx", position_axes
        ),
    }


def _export_decoder(text: Any, head: nn.Module, graph: Path, position_axes: int) -> float:
    past = cache_names(text.config.num_hidden_layers)
    present = present_names(past)

    def write(embeds: Tensor, mask: Tensor, positions: Tensor, *cached: Tensor) -> tuple[Tensor, ...]:
        cache = filled(cached)
        states = text(
            inputs_embeds=embeds,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
        ).last_hidden_state
        return (head(states[:, -1:]), *halves(cache))

    def inputs(batch: int, length: int, before: int, *, padding: int = 0) -> Mapping[str, Tensor]:
        return _inputs(text.config, batch, length, before, padding, position_axes) | {
            name: torch.randn(_shape(text.config, batch, before)) for name in past
        }

    return trace(
        module_of(nn.ModuleList([text, head]), write),
        graph,
        inputs(2, 3, 5, padding=2),
        ["logits", *present],
        {
            "inputs_embeds": _TEXT,
            "attention_mask": {0: "batch", 1: "total"},
            "position_ids": _TEXT if position_axes == 1 else {1: "batch", 2: "tokens"},
            "logits": {0: "batch"},
            **{name: {0: "batch", 2: "past"} for name in past},
            **{name: {0: "batch", 2: "total"} for name in present},
        },
        others=[inputs(1, 9, 0), inputs(3, 1, 11, padding=4), inputs(1, 1, 1), inputs(2, 4, 6)],
    )


def _inputs(
    config: Any, batch: int, length: int, before: int, padding: int, position_axes: int
) -> dict[str, Tensor]:
    """Return what is read beside the past; the first row begins with padding."""
    mask = torch.ones(batch, before + length, dtype=torch.int64)
    mask[0, :padding] = 0
    positions = (mask.cumsum(1) - 1).clamp(min=0)[:, before:]
    if position_axes > 1:
        # In pictures they differ: one axis taken for another must show.
        positions = torch.stack([positions + 2 * axis for axis in range(position_axes)])
    return {
        "inputs_embeds": torch.randn(batch, length, config.hidden_size),
        "attention_mask": mask,
        "position_ids": positions,
    }


def _shape(config: Any, batch: int, before: int) -> tuple[int, ...]:
    """Return the shape of a layer's keys: (B, heads, past, width of a head)."""
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return batch, config.num_key_value_heads, before, width
