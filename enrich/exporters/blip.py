"""BLIP that writes captions, and BLIP that answers questions."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn
from transformers import BlipForConditionalGeneration, BlipForQuestionAnswering
from transformers.cache_utils import DynamicCache, EncoderDecoderCache

from enrich.exporters.caches import cache_names, filled, halves, present_names
from enrich.exporters.samples import OTHERS, TRACED, Size, cache, ones, states, tokens
from enrich.exporters.tracing import module_of, trace
from enrich.exporters.vision import export_vision

__all__ = ["export", "export_blip_answer", "export_blip_caption"]

_TEXT = {0: "batch", 1: "words"}


def export(model: BlipForConditionalGeneration | BlipForQuestionAnswering, folder: Path) -> dict[str, float]:
    """Write the model's graphs; return how far each lies from torch.

    Raises
    ------
    Refused
        A graph is not what torch's model is. Not retryable.
    """
    is_answering = isinstance(model, BlipForQuestionAnswering)
    return (export_blip_answer if is_answering else export_blip_caption)(model, folder)


def export_blip_caption(model: BlipForConditionalGeneration, folder: Path) -> dict[str, float]:
    """Write encoder_model.onnx and decoder_model_merged.onnx (one graph, the past may have length 0).

    Raises
    ------
    Refused
        A graph is not what torch's model is. Not retryable.
    """
    return {
        "encoder_model": _export_vision(model, folder / "encoder_model.onnx"),
        "decoder_model_merged": _export_decoder(model.text_decoder, folder / "decoder_model_merged.onnx"),
    }


def export_blip_answer(model: BlipForQuestionAnswering, folder: Path) -> dict[str, float]:
    """Write vision_encoder.onnx, text_encoder.onnx (the question over the picture) and the decoder.

    Raises
    ------
    Refused
        A graph is not what torch's model is. Not retryable.
    """
    return {
        "vision_encoder": _export_vision(model, folder / "vision_encoder.onnx"),
        "text_encoder": _export_question(model, folder / "text_encoder.onnx"),
        "decoder_model_merged": _export_decoder(model.text_decoder, folder / "decoder_model_merged.onnx"),
    }


def _export_vision(model: nn.Module, graph: Path) -> float:
    def see(pixels: Tensor) -> Tensor:
        return model.vision_model(pixel_values=pixels)[0]

    return export_vision(model.vision_model, see, model.config.vision_config, graph, "last_hidden_state")


def _export_question(model: BlipForQuestionAnswering, graph: Path) -> float:
    config = model.config.text_config

    def read(ids: Tensor, mask: Tensor, seen: Tensor) -> Tensor:
        return model.text_encoder(
            input_ids=ids,
            attention_mask=mask,
            encoder_hidden_states=seen,
            encoder_attention_mask=seen.new_ones(seen.shape[:2]).long(),
        )[0]

    def inputs(size: Size) -> dict[str, Tensor]:
        return {
            "input_ids": tokens(size, config.vocab_size),
            "attention_mask": ones(size.batch, size.words),
            "encoder_hidden_states": states(size, config.encoder_hidden_size),
        }

    return trace(
        module_of(model.text_encoder, read),
        graph,
        inputs(TRACED),
        ["last_hidden_state"],
        {
            "input_ids": _TEXT,
            "attention_mask": _TEXT,
            "encoder_hidden_states": {0: "batch", 1: "states"},
            "last_hidden_state": _TEXT,
        },
        others=[inputs(size) for size in OTHERS],
        by_script=True,
    )


def _export_decoder(decoder: nn.Module, graph: Path) -> float:
    """Export a BLIP text decoder with its cache: what was read before comes in and all goes out."""
    config = decoder.config
    heads = config.num_attention_heads
    past = cache_names(config.num_hidden_layers)
    present = present_names(past)

    def speak(ids: Tensor, mask: Tensor, states: Tensor, seen: Tensor, *cached: Tensor) -> tuple[Tensor, ...]:
        result = decoder(
            input_ids=ids,
            attention_mask=mask,
            encoder_hidden_states=states,
            encoder_attention_mask=seen,
            past_key_values=EncoderDecoderCache(filled(cached), DynamicCache()),
            use_cache=True,
        )
        return (result.logits, *halves(result.past_key_values.self_attention_cache))

    def inputs(size: Size) -> dict[str, Tensor]:
        return {
            "input_ids": tokens(size, config.vocab_size),
            "attention_mask": ones(size.batch, size.total),
            "encoder_hidden_states": states(size, config.encoder_hidden_size),
            "encoder_attention_mask": ones(size.batch, size.states),
            **cache(past, size, heads, config.hidden_size // heads),
        }

    axes = {
        "input_ids": _TEXT,
        "attention_mask": {0: "batch", 1: "total"},
        "encoder_hidden_states": {0: "batch", 1: "states"},
        "encoder_attention_mask": {0: "batch", 1: "states"},
        "logits": _TEXT,
        **{name: {0: "batch", 2: "past"} for name in past},
        **{name: {0: "batch", 2: "total"} for name in present},
    }
    return trace(
        module_of(decoder, speak),
        graph,
        inputs(TRACED),
        ["logits", *present],
        axes,
        others=[inputs(size) for size in OTHERS],
        by_script=True,
    )
