"""Tiny random models of the architectures the families know, saved and exported.

The weights are large, so that logits lie apart and no token is a matter of rounding; token ids stand
where the published models have them.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from parity.tiny_tokenizers import blip_tokenizer, clip_tokenizer, gpt2_tokenizer, siglip_tokenizer
from torch import nn
from transformers import (
    BlipConfig,
    BlipForConditionalGeneration,
    BlipForQuestionAnswering,
    BlipImageProcessor,
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    GPT2Config,
    GPT2LMHeadModel,
    SiglipConfig,
    SiglipImageProcessor,
    SiglipModel,
    VisionEncoderDecoderModel,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessor,
    ViTModel,
)

from enrich.exporters.blip import export_blip_answer, export_blip_caption
from enrich.exporters.dual import export_clip_split, export_siglip_split
from enrich.exporters.optimum import export_with_optimum
from enrich.exporters.vision_writer import export_vision_writer

__all__ = ["ARCHITECTURES", "make_models"]

_SEED = 58
_EDGE_PX, _PATCH_PX = 32, 8
_SHAPE: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
}
_SIGHT = {**_SHAPE, "image_size": _EDGE_PX, "patch_size": _PATCH_PX}
_PROCESSORS = ("config.json", "preprocessor_config.json")
_TEXT_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")


def make_models(folder: Path) -> None:
    """Write ``<architecture>/torch`` and ``<architecture>/onnx`` for each architecture under ``folder``."""
    for name, make in ARCHITECTURES.items():
        # What the tracer is fed; the weights have a seed of their own.
        torch.manual_seed(_SEED)
        source, exported = folder / name / "torch", folder / name / "onnx"
        exported.mkdir(parents=True, exist_ok=True)
        make(source, exported)


def _make_vit(source: Path, exported: Path) -> None:
    config = ViTConfig(**_SIGHT, num_labels=9, id2label={index: f"label {index}" for index in range(9)})
    _save(ViTForImageClassification(config), source, 0.3)
    ViTImageProcessor(size=_square()).save_pretrained(source)
    export_with_optimum(source, exported, "image-classification")


def _make_clip(source: Path, exported: Path) -> None:
    _save_clip(source)
    export_with_optimum(source, exported, "zero-shot-image-classification")


def _make_clip_split(source: Path, exported: Path) -> None:
    model = _save_clip(source)
    export_clip_split(model, exported)
    _copy(source, exported, *_PROCESSORS, *_TEXT_FILES)


def _save_clip(source: Path) -> CLIPModel:
    tokenizer = clip_tokenizer()
    text = {
        **_SHAPE,
        "vocab_size": len(tokenizer),
        "max_position_embeddings": 77,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    model = CLIPModel(CLIPConfig(text_config=text, vision_config=_SIGHT, projection_dim=16))
    # Another scale than a new model's, so that one that is guessed shows.
    model.logit_scale.data.fill_(3.1)
    processor = CLIPImageProcessor(
        size={"shortest_edge": 36}, crop_size={"height": _EDGE_PX, "width": _EDGE_PX}
    )
    processor.save_pretrained(source)
    tokenizer.save_pretrained(source)
    return _save(model, source, 0.2)


def _make_siglip(source: Path, exported: Path) -> None:
    _save_siglip(source)
    export_with_optimum(source, exported, "zero-shot-image-classification")


def _make_siglip_split(source: Path, exported: Path) -> None:
    export_siglip_split(_save_siglip(source), exported)
    _copy(source, exported, *_PROCESSORS, *_TEXT_FILES)


def _save_siglip(source: Path) -> SiglipModel:
    tokenizer = siglip_tokenizer()
    text = {
        **_SHAPE,
        "vocab_size": len(tokenizer),
        "max_position_embeddings": 64,
        "projection_size": 32,
        "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    model = SiglipModel(SiglipConfig(text_config=text, vision_config=_SIGHT))
    model.logit_scale.data.fill_(2.3)
    model.logit_bias.data.fill_(-3.0)
    SiglipImageProcessor(size=_square()).save_pretrained(source)
    tokenizer.save_pretrained(source)
    return _save(model, source, 0.2)


def _make_ved(source: Path, exported: Path) -> None:
    _save_ved(source)
    export_with_optimum(source, exported, "image-to-text-with-past")


def _make_ved_cached(source: Path, exported: Path) -> None:
    export_vision_writer(_save_ved(source), exported)
    _copy(source, exported, *_PROCESSORS, *_TEXT_FILES, "generation_config.json")


def _save_ved(source: Path) -> VisionEncoderDecoderModel:
    tokenizer = gpt2_tokenizer()
    encoder = ViTModel(ViTConfig(**_SIGHT), add_pooling_layer=False)
    decoder = GPT2LMHeadModel(
        GPT2Config(
            n_embd=32,
            n_layer=2,
            n_head=4,
            n_inner=48,
            n_positions=64,
            vocab_size=len(tokenizer),
            add_cross_attention=True,
            is_decoder=True,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
    )
    model = VisionEncoderDecoderModel(encoder=encoder, decoder=decoder)
    for config in (model.config, model.generation_config):
        config.decoder_start_token_id = tokenizer.bos_token_id
        config.eos_token_id = tokenizer.eos_token_id
        config.pad_token_id = tokenizer.pad_token_id
    ViTImageProcessor(size=_square(), resample=3, image_mean=[0.4, 0.5, 0.6]).save_pretrained(source)
    tokenizer.save_pretrained(source)
    _widen(model, 0.3)
    # Its logit is always 0, and never the greatest: 32 steps happen, unless a test wants another end.
    decoder.transformer.wte.weight.data[tokenizer.eos_token_id] = 0
    model.save_pretrained(source)
    return model


def _make_blip_caption(source: Path, exported: Path) -> None:
    model = _save_blip(BlipForConditionalGeneration, source)
    export_blip_caption(model, exported)
    _copy(source, exported, *_PROCESSORS, *_TEXT_FILES, "generation_config.json")


def _make_blip_answer(source: Path, exported: Path) -> None:
    model = _save_blip(BlipForQuestionAnswering, source)
    export_blip_answer(model, exported)
    _copy(source, exported, *_PROCESSORS, *_TEXT_FILES, "generation_config.json")


def _save_blip(kind: type[Any], source: Path) -> Any:
    tokenizer = blip_tokenizer()
    text = {
        **_SHAPE,
        "encoder_hidden_size": 32,
        "vocab_size": len(tokenizer),
        "max_position_embeddings": 64,
        "bos_token_id": tokenizer.convert_tokens_to_ids("[DEC]"),
        "sep_token_id": tokenizer.sep_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        # As published: a number that means nothing; the end is sep_token_id.
        "eos_token_id": 2,
        "is_decoder": True,
    }
    model = _widen(kind(BlipConfig(text_config=text, vision_config=_SIGHT, projection_dim=16)), 0.3)
    _liven(model)
    # Never the greatest: 32 steps happen, unless a test wants another end.
    model.text_decoder.cls.predictions.bias.data[tokenizer.sep_token_id] = -60.0
    BlipImageProcessor(size=_square()).save_pretrained(source)
    tokenizer.save_pretrained(source)
    model.save_pretrained(source)
    return model


def _liven(model: nn.Module) -> None:
    """Let the place count for more and the picture for less: else the same word is said 32 times."""
    rng = np.random.default_rng(_SEED)
    for name, parameter in model.named_parameters():
        if name.endswith("embeddings.position_embeddings.weight"):
            _fill(parameter, rng, 1.0)
        elif name.endswith("crossattention.output.dense.weight"):
            _fill(parameter, rng, 0.1)


def _square() -> dict[str, int]:
    return {"height": _EDGE_PX, "width": _EDGE_PX}


def _save(model: Any, source: Path, spread: float) -> Any:
    _widen(model, spread).save_pretrained(source)
    return model


def _widen(model: nn.Module, spread: float) -> nn.Module:
    rng = np.random.default_rng(_SEED)
    for name, parameter in model.named_parameters():
        if parameter.dim() > 1 or name.endswith("class_embedding"):
            _fill(parameter, rng, spread)
    return model.eval()


def _fill(parameter: nn.Parameter, rng: np.random.Generator, spread: float) -> None:
    # numpy's numbers are the same on every processor, torch's are not. And half of the bits are
    # enough: the other half packs away.
    values = torch.from_numpy(rng.normal(scale=spread, size=parameter.shape))
    parameter.data = values.bfloat16().float()


def _copy(source: Path, exported: Path, *names: str) -> None:
    for name in names:
        if (source / name).exists():
            shutil.copyfile(source / name, exported / name)


#: What is made, and how.
ARCHITECTURES: dict[str, Callable[[Path, Path], None]] = {
    "vit": _make_vit,
    "clip": _make_clip,
    "clip-split": _make_clip_split,
    "siglip": _make_siglip,
    "siglip-split": _make_siglip_split,
    "ved": _make_ved,
    "ved-cached": _make_ved_cached,
    "blip-caption": _make_blip_caption,
    "blip-vqa": _make_blip_answer,
}
