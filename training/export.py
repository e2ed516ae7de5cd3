"""Exporters to ONNX, shared by training and parity: optimum where it can, torch.onnx for the rest.

optimum-onnx 0.1.0 exports ViT, CLIP, SigLIP and vision encoder-decoders; it knows no BLIP, of the dual
encoders only both halves in one graph, and of a GPT-2 that looks at a picture only one that makes its
keys and values over the picture anew for every token.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from optimum.exporters.onnx import main_export
from optimum.onnx import merge_decoders
from torch import Tensor, nn
from transformers import (
    BlipForConditionalGeneration,
    BlipForQuestionAnswering,
    CLIPModel,
    SiglipModel,
    VisionEncoderDecoderModel,
)
from transformers.cache_utils import DynamicCache, EncoderDecoderCache
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

__all__ = [
    "export_blip_answer",
    "export_blip_caption",
    "export_clip_split",
    "export_siglip_split",
    "export_vision_writer",
    "export_with_optimum",
]

OPSET = 18
# Traced with sizes that are used nowhere else, so that one that was baked in shows.
_BATCH, _WORDS, _PAST, _STATES = 2, 3, 5, 7
_TEXT = {0: "batch", 1: "words"}
_PLAIN = "plain"


def export_with_optimum(source: Path, folder: Path, task: str) -> None:
    """Export a saved transformers folder; the configuration and processor files go along.

    Parameters
    ----------
    source, folder : Path
        What ``save_pretrained`` wrote, and where the graphs go.
    task : str
        optimum's name: ``image-classification``, ``zero-shot-image-classification`` (CLIP and SigLIP),
        ``image-to-text-with-past`` (vision encoder-decoders).
    """
    with warnings.catch_warnings():
        # Of the tracer: shapes that are the same for every picture become constants, as they should.
        warnings.simplefilter("ignore")
        main_export(str(source), output=folder, task=task, do_validation=False)


def export_clip_split(model: CLIPModel, folder: Path) -> None:
    """Write vision_model.onnx (pixel_values -> image_embeds) and text_model.onnx (-> text_embeds).

    The embeddings are projected and not normalised, as those of ``CLIPVisionModelWithProjection``.
    """

    def see(pixels: Tensor) -> Tensor:
        return model.get_image_features(pixel_values=pixels)

    def read(ids: Tensor, mask: Tensor) -> Tensor:
        return model.get_text_features(input_ids=ids, attention_mask=mask)

    _export_vision(see, model, folder / "vision_model.onnx", "image_embeds")
    _trace(
        _module(read, model),
        folder / "text_model.onnx",
        {"input_ids": _ids(model.config.text_config), "attention_mask": _ones(_WORDS)},
        ["text_embeds"],
        {"input_ids": _TEXT, "attention_mask": _TEXT, "text_embeds": {0: "batch"}},
    )


def export_siglip_split(model: SiglipModel, folder: Path) -> None:
    """Write vision_model.onnx and text_model.onnx, both -> pooler_output, which is not normalised."""
    text = model.config.text_config

    def see(pixels: Tensor) -> Tensor:
        return model.get_image_features(pixel_values=pixels)

    def read(ids: Tensor) -> Tensor:
        return model.get_text_features(input_ids=ids)

    _export_vision(see, model, folder / "vision_model.onnx", "pooler_output")
    _trace(
        _module(read, model),
        folder / "text_model.onnx",
        {"input_ids": torch.full((_BATCH, text.max_position_embeddings), text.vocab_size - 1)},
        ["pooler_output"],
        {"input_ids": _TEXT, "pooler_output": {0: "batch"}},
    )


def export_blip_caption(model: BlipForConditionalGeneration, folder: Path) -> None:
    """Write encoder_model.onnx and decoder_model_merged.onnx (one graph, the past may have length 0)."""

    def see(pixels: Tensor) -> Tensor:
        return model.vision_model(pixel_values=pixels)[0]

    _export_vision(see, model, folder / "encoder_model.onnx", "last_hidden_state")
    _export_blip_decoder(model.text_decoder, folder / "decoder_model_merged.onnx")


def export_blip_answer(model: BlipForQuestionAnswering, folder: Path) -> None:
    """Write vision_encoder.onnx, text_encoder.onnx (the question over the picture) and the decoder."""

    def see(pixels: Tensor) -> Tensor:
        return model.vision_model(pixel_values=pixels)[0]

    def read(ids: Tensor, mask: Tensor, states: Tensor) -> Tensor:
        seen = torch.ones(states.shape[:2], dtype=torch.long)
        return model.text_encoder(
            input_ids=ids, attention_mask=mask, encoder_hidden_states=states, encoder_attention_mask=seen
        )[0]

    _export_vision(see, model, folder / "vision_encoder.onnx", "last_hidden_state")
    text = model.config.text_config
    inputs = {
        "input_ids": _ids(text),
        "attention_mask": _ones(_WORDS),
        "encoder_hidden_states": torch.randn(_BATCH, _STATES, text.encoder_hidden_size),
    }
    axes = dict.fromkeys(inputs, _TEXT) | {"encoder_hidden_states": {0: "batch", 1: "states"}}
    axes["last_hidden_state"] = _TEXT
    _trace(_module(read, model), folder / "text_encoder.onnx", inputs, ["last_hidden_state"], axes)
    _export_blip_decoder(model.text_decoder, folder / "decoder_model_merged.onnx")


def export_vision_writer(model: VisionEncoderDecoderModel, folder: Path) -> None:
    """Write encoder_model.onnx and decoder_model_merged.onnx of a vision encoder with a GPT-2 decoder.

    The graphs are optimum's, with one difference: the keys and values over the encoder's states are
    part of the cache (``past_key_values.0.encoder.key`` ...), made in the first run and taken as they
    are in all others. optimum's graph makes them anew for each token, from all states.
    """

    def see(pixels: Tensor) -> Tensor:
        return model.encoder(pixel_values=pixels)[0]

    config = model.config.encoder
    pixels = torch.randn(_BATCH, config.num_channels, config.image_size, config.image_size)
    _trace(
        _module(see, model),
        folder / "encoder_model.onnx",
        {"pixel_values": pixels},
        ["last_hidden_state"],
        {"pixel_values": {0: "batch"}, "last_hidden_state": {0: "batch"}},
    )
    first, later = folder / "decoder_model.onnx", folder / "decoder_with_past_model.onnx"
    usual = model.decoder.config._attn_implementation
    model.decoder.config._attn_implementation = _PLAIN
    try:
        _export_writer_first(model, first)
        _export_writer_later(model, later)
    finally:
        model.decoder.config._attn_implementation = usual
    merge_decoders(first, later, save_path=folder / "decoder_model_merged.onnx", strict=False)
    first.unlink()
    later.unlink()


def _export_writer_first(model: VisionEncoderDecoderModel, graph: Path) -> None:
    config = model.config.decoder

    def speak(ids: Tensor, states: Tensor) -> tuple[Tensor, ...]:
        if hasattr(model, "enc_to_dec_proj"):
            states = model.enc_to_dec_proj(states)
        cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
        logits = _read_on(model.decoder, ids, 0, cache, states)
        return (logits, *_halves(cache.self_attention_cache), *_halves(cache.cross_attention_cache))

    own, seen = _cache_names(config, "decoder"), _cache_names(config, "encoder")
    present = [name.replace("past_key_values", "present") for name in (*own, *seen)]
    states = torch.randn(_BATCH, _STATES, model.config.encoder.hidden_size)
    axes = {name: {0: "batch", 2: "states" if ".encoder." in name else "total"} for name in present}
    axes |= {"input_ids": _TEXT, "encoder_hidden_states": {0: "batch", 1: "states"}, "logits": _TEXT}
    inputs = {"input_ids": _ids(config), "encoder_hidden_states": states}
    _trace(_module(speak, model), graph, inputs, ["logits", *present], axes)


def _export_writer_later(model: VisionEncoderDecoderModel, graph: Path) -> None:
    config = model.config.decoder
    own, seen = _cache_names(config, "decoder"), _cache_names(config, "encoder")

    def speak(ids: Tensor, *cached: Tensor) -> tuple[Tensor, ...]:
        cache, crossed = DynamicCache(), DynamicCache()
        for layer in range(config.num_hidden_layers):
            cache.update(cached[2 * layer], cached[2 * layer + 1], layer)
            crossed.update(*cached[len(own) + 2 * layer : len(own) + 2 * layer + 2], layer)
        # What the states would be made into is in the cache; they are only asked whether they are there.
        states = cached[len(own)]
        logits = _read_on(model.decoder, ids, cached[0].shape[2], EncoderDecoderCache(cache, crossed), states)
        return (logits, *_halves(cache))

    heads, width = config.num_attention_heads, config.hidden_size // config.num_attention_heads
    inputs = {
        "input_ids": _ids(config)[:, :1],
        **{name: torch.randn(_BATCH, heads, _PAST, width) for name in own},
        **{name: torch.randn(_BATCH, heads, _STATES, width) for name in seen},
    }
    present = [name.replace("past_key_values", "present") for name in own]
    # One token a run: then nothing has to be hidden.
    axes = {"input_ids": {0: "batch"}, "logits": {0: "batch"}}
    axes |= {name: {0: "batch", 2: "past"} for name in own} | {
        name: {0: "batch", 2: "states"} for name in seen
    }
    axes |= {name: {0: "batch", 2: "total"} for name in present}
    _trace(_module(speak, model), graph, inputs, ["logits", *present], axes)


def _read_on(
    decoder: nn.Module, ids: Tensor, past: int, cache: EncoderDecoderCache, states: Tensor
) -> Tensor:
    """Run GPT-2 on tokens after ``past`` others; fills the cache.

    Block by block, because the model's own ``forward`` makes masks that the tracer cannot follow, and
    one over the picture that hides nothing.
    """
    body = decoder.transformer
    hidden = body.wte(ids) + body.wpe(torch.arange(past, past + ids.shape[1])[None])
    for block in body.h:
        hidden = block(hidden, past_key_values=cache, encoder_hidden_states=states, use_cache=True)[0]
    return decoder.lm_head(body.ln_f(hidden))


def _attend(
    module: nn.Module,
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    attention_mask: Tensor | None,
    *,
    is_causal: bool,
    **others: Any,
) -> tuple[Tensor, None]:
    """Attend as GPT-2 does, in few operators: it is the query that is scaled, the shortest of the three."""
    assert attention_mask is None
    scores = (queries / queries.shape[-1] ** 0.5) @ keys.transpose(-1, -2)
    if is_causal:
        # Only of the first run: later ones read one token.
        ahead = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
        scores = scores.masked_fill(ahead, torch.finfo(scores.dtype).min)
    return (scores.softmax(-1) @ values).transpose(1, 2), None


def _halves(cache: DynamicCache) -> tuple[Tensor, ...]:
    return tuple(half for layer in cache.layers for half in (layer.keys, layer.values))


def _cache_names(config: Any, owner: str) -> list[str]:
    layers = range(config.num_hidden_layers)
    return [f"past_key_values.{layer}.{owner}.{half}" for layer in layers for half in ("key", "value")]


def _export_vision(see: Callable[..., Tensor], model: nn.Module, graph: Path, output: str) -> None:
    edge = model.config.vision_config.image_size
    pixels = torch.randn(_BATCH, 3, edge, edge)
    axes = {"pixel_values": {0: "batch"}, output: {0: "batch"}}
    _trace(_module(see, model), graph, {"pixel_values": pixels}, [output], axes)


def _export_blip_decoder(decoder: nn.Module, graph: Path) -> None:
    """Export a BLIP text decoder with its cache: what was read before comes in and all goes out."""
    config = decoder.config
    layers, heads = config.num_hidden_layers, config.num_attention_heads
    past = {
        f"past_key_values.{layer}.{half}": torch.randn(_BATCH, heads, _PAST, config.hidden_size // heads)
        for layer in range(layers)
        for half in ("key", "value")
    }

    def speak(ids: Tensor, mask: Tensor, states: Tensor, seen: Tensor, *cached: Tensor) -> tuple[Tensor, ...]:
        cache = DynamicCache()
        for layer in range(layers):
            cache.update(cached[2 * layer], cached[2 * layer + 1], layer)
        result = decoder(
            input_ids=ids,
            attention_mask=mask,
            encoder_hidden_states=states,
            encoder_attention_mask=seen,
            past_key_values=EncoderDecoderCache(cache, DynamicCache()),
            use_cache=True,
        )
        kept = result.past_key_values.self_attention_cache.layers
        return (result.logits, *(half for layer in kept for half in (layer.keys, layer.values)))

    inputs = {
        "input_ids": _ids(config),
        "attention_mask": _ones(_PAST + _WORDS),
        "encoder_hidden_states": torch.randn(_BATCH, _STATES, config.encoder_hidden_size),
        "encoder_attention_mask": _ones(_STATES),
        **past,
    }
    present = [name.replace("past_key_values", "present") for name in past]
    axes = {
        "input_ids": _TEXT,
        "attention_mask": {0: "batch", 1: "total"},
        "encoder_hidden_states": {0: "batch", 1: "states"},
        "encoder_attention_mask": {0: "batch", 1: "states"},
        "logits": _TEXT,
        **{name: {0: "batch", 2: "past"} for name in past},
        **{name: {0: "batch", 2: "total"} for name in present},
    }
    _trace(_module(speak, decoder), graph, inputs, ["logits", *present], axes)


def _trace(
    module: nn.Module,
    graph: Path,
    inputs: Mapping[str, Tensor],
    outputs: Sequence[str],
    axes: Mapping[str, Mapping[int, str]],
) -> None:
    graph.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings(), torch.no_grad():
        # Of the tracer, as above; and that it is the older of torch's two, which writes small graphs.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            tuple(inputs.values()),
            str(graph),
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_axes={name: dict(axis) for name, axis in axes.items()},
            opset_version=OPSET,
            dynamo=False,
        )


def _module(forward: Callable[..., Any], model: nn.Module) -> nn.Module:
    """Return a module over ``model``'s weights that runs ``forward``: the tracer takes no functions."""

    class Part(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, *inputs: Tensor) -> Any:
            return forward(*inputs)

    return Part().eval()


def _ids(config: Any) -> Tensor:
    return torch.arange(_BATCH * _WORDS).reshape(_BATCH, _WORDS) % config.vocab_size


def _ones(length: int) -> Tensor:
    return torch.ones(_BATCH, length, dtype=torch.long)


ALL_ATTENTION_FUNCTIONS.register(_PLAIN, _attend)
