"""LLaVA and LLaVA-NeXT as three graphs, for any number of pictures or tiles, rows and tokens.

Source of the arithmetic: ``get_image_features`` in ``modeling_llava.py`` and ``modeling_llava_next.py`` of
Hugging Face transformers 5.23. What LLaVA-NeXT does with the features of its tiles depends on the shape of
each picture, and is done outside: ``enrich.inference.llava_next``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from enrich.exporters.joint_decoder import export_text
from enrich.exporters.tracing import module_of, trace

__all__ = ["export"]


def export(model: nn.Module, folder: Path) -> dict[str, float]:
    """Write vision_encoder.onnx, embed_tokens.onnx and decoder_model_merged.onnx.

    Parameters
    ----------
    model : torch.nn.Module
        ``LlavaForConditionalGeneration`` or ``LlavaNextForConditionalGeneration``, in float32.
    folder : Path
        Where.

    Returns
    -------
    dict of str to float
        By graph, how far it was from torch at most, as a share of torch's largest number.

    Raises
    ------
    Refused
        A graph is not what torch's model is. Not retryable.
    """
    inner: Any = model.eval().model
    return {
        "vision_encoder": _export_vision(inner, folder / "vision_encoder.onnx"),
        **export_text(inner.language_model, model.lm_head, folder),
    }


def _export_vision(model: Any, graph: Path) -> float:
    config = model.config
    eyes, projector = model.vision_tower, model.multi_modal_projector
    said = config.vision_feature_layer
    layers = [said] if isinstance(said, int) else list(said)
    # The first row is CLIP's class token; SigLIP has none.
    first = 1 if config.vision_feature_select_strategy == "default" else 0
    newline = getattr(model, "image_newline", None)

    def see(pixels: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Return features, (B, T, D), of pictures (B, 3, H, W); of LLaVA-NeXT the end of a row, (D,), too."""
        states = eyes(pixels, output_hidden_states=True).hidden_states
        features = projector(torch.cat([states[layer] for layer in layers], dim=-1)[:, first:])
        # A constant alone would be no output of a graph.
        return features if newline is None else (features, newline * 1)

    def pictures(batch: int) -> Mapping[str, Tensor]:
        edge = config.vision_config.image_size
        return {"pixel_values": torch.randn(batch, 3, edge, edge)}

    batch = {0: "batch"}
    return trace(
        module_of(model, see),
        graph,
        pictures(2),
        ["image_features"] if newline is None else ["image_features", "image_newline"],
        {"pixel_values": batch, "image_features": batch},
        others=[pictures(1), pictures(5)],
    )
