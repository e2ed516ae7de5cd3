"""Idefics3 and SmolVLM as three graphs, for any number of tiles, rows and tokens.

The model leaves out pictures that are all zeros, as padding, and so its number of tiles depends on what
is in them: a tracer bakes in what it saw. Here every tile counts; nobody is given one that is not wanted.

Source of the arithmetic: ``modeling_idefics3.py`` of Hugging Face transformers 5.23; ``modeling_smolvlm.py``
is the same.
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

_TILES = {0: "batch", 1: "tiles"}


def export(model: nn.Module, folder: Path) -> dict[str, float]:
    """Write vision_encoder.onnx, embed_tokens.onnx and decoder_model_merged.onnx.

    Parameters
    ----------
    model : torch.nn.Module
        ``Idefics3ForConditionalGeneration`` or ``SmolVLMForConditionalGeneration``, in float32.
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
        **export_text(inner.text_model, model.lm_head, folder),
    }


def _export_vision(model: Any, graph: Path) -> float:
    edge, patch = model.config.vision_config.image_size, model.config.vision_config.patch_size
    eyes, connector = model.vision_model, model.connector
    side = edge // patch

    def see(pixels: Tensor, mask: Tensor) -> Tensor:
        """Return features, (B N, T, D), of tiles (B, N, 3, H, W), of which the mask says what is picture."""
        # A tile need not be a whole number of patches: what is over is not looked at.
        whole = mask.flatten(0, 1)[:, : side * patch, : side * patch]
        patches = whole.reshape(-1, side, patch, side, patch).float().sum((2, 4)) > 0
        seen = eyes(pixel_values=pixels.flatten(0, 1), patch_attention_mask=patches)
        features: Tensor = connector(seen.last_hidden_state)
        return features

    def tiles(batch: int, count: int, *, picture_px: int = edge) -> Mapping[str, Tensor]:
        mask = torch.zeros(batch, count, edge, edge, dtype=torch.bool)
        mask[:, :-1] = True
        # Of the last tile only a corner may be picture.
        mask[:, -1, :picture_px, : (edge + picture_px) // 2] = True
        return {"pixel_values": torch.randn(batch, count, 3, edge, edge), "pixel_attention_mask": mask}

    return trace(
        module_of(nn.ModuleList([eyes, connector]), see),
        graph,
        tiles(2, 3, picture_px=edge // 2),
        ["image_features"],
        {"pixel_values": _TILES, "pixel_attention_mask": _TILES, "image_features": {0: "pictures"}},
        others=[tiles(1, 1), tiles(1, 2, picture_px=edge // 3), tiles(3, 1)],
    )
