"""CLIP and SigLIP in two graphs: a text costs no picture and a picture no text."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import CLIPModel, SiglipModel

from enrich.exporters.samples import TRACED, ones
from enrich.exporters.tracing import module_of, trace
from enrich.exporters.vision import export_vision

__all__ = ["export", "export_clip_split", "export_siglip_split", "zero_shot"]

_TEXT = {0: "batch", 1: "words"}


def export(model: CLIPModel | SiglipModel, folder: Path) -> dict[str, float]:
    """Write vision_model.onnx and text_model.onnx; return how far each lies from torch.

    Raises
    ------
    Refused
        A graph is not what torch's model is. Not retryable.
    """
    return (export_siglip_split if isinstance(model, SiglipModel) else export_clip_split)(model, folder)


def zero_shot(model: CLIPModel | SiglipModel) -> dict[str, Any]:
    """Return the weights' own scale and bias, which two graphs do not show, as manifest.json has them."""
    found = {"scale": float(model.logit_scale.exp())}
    return found | ({"bias": float(model.logit_bias)} if isinstance(model, SiglipModel) else {})


def export_clip_split(model: CLIPModel, folder: Path) -> dict[str, float]:
    """Write vision_model.onnx (pixel_values -> image_embeds) and text_model.onnx (-> text_embeds).

    The embeddings are projected and not normalised, as those of ``CLIPVisionModelWithProjection``.

    Raises
    ------
    Refused
        A graph is not what torch's model is. Not retryable.
    """
    text = model.config.text_config

    def see(pixels: Tensor) -> Tensor:
        return _vector(model.get_image_features(pixel_values=pixels))

    def read(ids: Tensor, mask: Tensor) -> Tensor:
        return _vector(model.get_text_features(input_ids=ids, attention_mask=mask))

    def inputs(batch: int, length: int) -> dict[str, Tensor]:
        ids = torch.arange(batch * length).reshape(batch, length) % text.vocab_size
        # CLIP's vector is that of the end token, or of the highest id where the configuration is an old one.
        ids[:, -1] = text.vocab_size - 1 if text.eos_token_id == 2 else text.eos_token_id
        return {"input_ids": ids, "attention_mask": ones(batch, length)}

    vision = export_vision(
        model, see, model.config.vision_config, folder / "vision_model.onnx", "image_embeds"
    )
    words = trace(
        module_of(model, read),
        folder / "text_model.onnx",
        inputs(TRACED.batch, TRACED.words),
        ["text_embeds"],
        {"input_ids": _TEXT, "attention_mask": _TEXT, "text_embeds": {0: "batch"}},
        others=[inputs(1, text.max_position_embeddings), inputs(5, 6)],
        by_script=True,
    )
    return {"vision_model": vision, "text_model": words}


def export_siglip_split(model: SiglipModel, folder: Path) -> dict[str, float]:
    """Write vision_model.onnx and text_model.onnx, both -> pooler_output, which is not normalised.

    Raises
    ------
    Refused
        A graph is not what torch's model is. Not retryable.
    """
    text = model.config.text_config
    length = text.max_position_embeddings

    def see(pixels: Tensor) -> Tensor:
        return _vector(model.get_image_features(pixel_values=pixels))

    def read(ids: Tensor) -> Tensor:
        return _vector(model.get_text_features(input_ids=ids))

    def inputs(batch: int) -> Mapping[str, Tensor]:
        return {"input_ids": torch.arange(batch * length).reshape(batch, length) % text.vocab_size}

    vision = export_vision(
        model, see, model.config.vision_config, folder / "vision_model.onnx", "pooler_output"
    )
    words = trace(
        module_of(model, read),
        folder / "text_model.onnx",
        inputs(TRACED.batch),
        ["pooler_output"],
        {"input_ids": _TEXT, "pooler_output": {0: "batch"}},
        others=[inputs(1), inputs(5)],
        by_script=True,
    )
    return {"vision_model": vision, "text_model": words}


def _vector(features: Any) -> Tensor:
    """Return the vectors themselves, which transformers 5 puts into an output object."""
    return features if isinstance(features, Tensor) else features.pooler_output
