"""A vision encoder with a GPT-2 that looks at its states, whose cache holds the picture too.

optimum exports these as well; its graph makes the keys and values over the picture anew for every
token, from all states.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from optimum.onnx import merge_decoders
from torch import Tensor, nn
from transformers import VisionEncoderDecoderModel
from transformers.cache_utils import DynamicCache, EncoderDecoderCache
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from enrich.exporters.caches import cache_names, filled, halves, present_names
from enrich.exporters.samples import OTHERS, TRACED, Size, cache, states, tokens
from enrich.exporters.tracing import Refused, apart, module_of, run, trace
from enrich.exporters.vision import export_vision

__all__ = ["export", "export_vision_writer"]

_TEXT = {0: "batch", 1: "words"}
_PLAIN = "plain"


def export(model: VisionEncoderDecoderModel, folder: Path) -> dict[str, float]:
    """Write the model's graphs; return how far each lies from torch.

    Raises
    ------
    Refused
        Its decoder is no GPT-2, or a graph is not what torch's model is. Not retryable.
    """
    decoder = model.config.decoder.model_type
    if decoder != "gpt2":
        raise Refused(
            f"the decoder is a {decoder}, and only vision encoder-decoders with a GPT-2 are exported; "
            "optimum-cli export onnx --task image-to-text-with-past can try others"
        )
    return export_vision_writer(model, folder)


def export_vision_writer(model: VisionEncoderDecoderModel, folder: Path) -> dict[str, float]:
    """Write encoder_model.onnx and decoder_model_merged.onnx of a vision encoder with a GPT-2 decoder.

    The graphs are optimum's, with one difference: the keys and values over the encoder's states are
    part of the cache (``past_key_values.0.encoder.key`` ...), made in the first run and taken as they
    are in all others.

    Raises
    ------
    Refused
        A graph is not what torch's model is. Not retryable.
    """
    seen = _export_vision(model, folder / "encoder_model.onnx")
    first, later = folder / "decoder_model.onnx", folder / "decoder_with_past_model.onnx"
    with _plain_attention(model.decoder):
        traced = max(_export_first(model, first), _export_later(model, later))
    whole = _compare_whole(model, first, later)
    with warnings.catch_warnings():
        # Of names that both graphs share, which is what merging is for.
        warnings.simplefilter("ignore")
        merge_decoders(first, later, save_path=folder / "decoder_model_merged.onnx", strict=False)
    first.unlink()
    later.unlink()
    return {"encoder_model": seen, "decoder_model_merged": max(traced, whole)}


def _export_vision(model: VisionEncoderDecoderModel, graph: Path) -> float:
    def see(pixels: Tensor) -> Tensor:
        return model.encoder(pixel_values=pixels)[0]

    return export_vision(model.encoder, see, model.config.encoder, graph, "last_hidden_state")


def _export_first(model: VisionEncoderDecoderModel, graph: Path) -> float:
    config = model.config.decoder

    def speak(ids: Tensor, states: Tensor) -> tuple[Tensor, ...]:
        if hasattr(model, "enc_to_dec_proj"):
            states = model.enc_to_dec_proj(states)
        kept = EncoderDecoderCache(DynamicCache(), DynamicCache())
        logits = _read_on(model.decoder, ids, 0, kept, states)
        return (logits, *halves(kept.self_attention_cache), *halves(kept.cross_attention_cache))

    def inputs(size: Size) -> dict[str, Tensor]:
        seen = states(size, model.config.encoder.hidden_size)
        return {"input_ids": tokens(size, config.vocab_size), "encoder_hidden_states": seen}

    layers = config.num_hidden_layers
    names = (*cache_names(layers, "decoder"), *cache_names(layers, "encoder"))
    present = present_names(names)
    axes = {name: {0: "batch", 2: "states" if ".encoder." in name else "total"} for name in present}
    axes |= {"input_ids": _TEXT, "encoder_hidden_states": {0: "batch", 1: "states"}, "logits": _TEXT}
    return trace(
        module_of(model, speak),
        graph,
        inputs(TRACED),
        ["logits", *present],
        axes,
        others=[inputs(size) for size in OTHERS],
        by_script=True,
    )


def _export_later(model: VisionEncoderDecoderModel, graph: Path) -> float:
    config = model.config.decoder
    layers, heads = config.num_hidden_layers, config.num_attention_heads
    own, seen = cache_names(layers, "decoder"), cache_names(layers, "encoder")

    def speak(ids: Tensor, *cached: Tensor) -> tuple[Tensor, ...]:
        before, crossed = filled(cached[: len(own)]), filled(cached[len(own) :])
        # What the states would be made into is in the cache; they are only asked whether they are there.
        kept = EncoderDecoderCache(before, crossed)
        logits = _read_on(model.decoder, ids, cached[0].shape[2], kept, cached[len(own)])
        return (logits, *halves(before))

    def inputs(size: Size) -> dict[str, Tensor]:
        # One token a run: then nothing has to be hidden.
        ids = tokens(size, config.vocab_size)[:, :1]
        return {"input_ids": ids, **cache((*own, *seen), size, heads, config.hidden_size // heads)}

    present = present_names(own)
    axes: dict[str, dict[int, str]] = {"input_ids": {0: "batch"}, "logits": {0: "batch"}}
    axes |= {name: {0: "batch", 2: "past"} for name in own}
    axes |= {name: {0: "batch", 2: "states"} for name in seen}
    axes |= {name: {0: "batch", 2: "total"} for name in present}
    return trace(
        module_of(model.decoder, speak),
        graph,
        inputs(TRACED),
        ["logits", *present],
        axes,
        # What was said before is at least the start token.
        others=[inputs(size) for size in OTHERS if size.past],
        by_script=True,
    )


def _compare_whole(model: VisionEncoderDecoderModel, first: Path, later: Path) -> float:
    """Compare both graphs, one after the other, with the model's own ``forward``: ours was written anew."""
    heads = cache_names(model.config.decoder.num_hidden_layers, "decoder")
    seen = cache_names(model.config.decoder.num_hidden_layers, "encoder")
    names = present_names((*heads, *seen))
    size = Size(batch=3, words=6, past=0, states=8)
    ids = tokens(size, model.config.decoder.vocab_size)
    hidden = states(size, model.config.encoder.hidden_size)
    with torch.no_grad():
        expected = model(encoder_outputs=(hidden,), decoder_input_ids=ids).logits[:, -1:]
    _, *kept = run(first, {"input_ids": ids[:, :-1], "encoder_hidden_states": hidden}, ["logits", *names])
    feeds = {"input_ids": ids[:, -1:], **dict(zip((*heads, *seen), kept, strict=True))}
    (logits,) = run(later, feeds, ["logits"])
    return apart(later, "logits", logits, expected, "after five words")


def _read_on(decoder: nn.Module, ids: Tensor, past: int, kept: EncoderDecoderCache, states: Tensor) -> Tensor:
    """Run GPT-2 on tokens after ``past`` others; fills the cache.

    Block by block, because the model's own ``forward`` makes masks that the tracer cannot follow, and
    one over the picture that hides nothing.
    """
    body = decoder.transformer
    hidden = body.wte(ids) + body.wpe(torch.arange(past, past + ids.shape[1])[None])
    for block in body.h:
        hidden = block(hidden, past_key_values=kept, encoder_hidden_states=states, use_cache=True)[0]
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


@contextlib.contextmanager
def _plain_attention(decoder: nn.Module) -> Iterator[None]:
    usual = decoder.config._attn_implementation
    decoder.config._attn_implementation = _PLAIN
    try:
        yield
    finally:
        decoder.config._attn_implementation = usual


ALL_ATTENTION_FUNCTIONS.register(_PLAIN, _attend)
