"""Florence-2's graphs: its eyes, its words, its encoder, and its decoder with both of its caches.

The decoder is one plain graph. Its keys and values over the encoder's states are those that it is given
as past, followed by those of the states that it is given; and where ``use_cache_branch`` says that there
is a past, those states are cut to none. So it takes and gives what the merged graphs of the hub's
repositories do, without holding every operation twice.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnx
import torch
from onnx import TensorProto, helper
from torch import Tensor
from transformers import Florence2ForConditionalGeneration
from transformers.cache_utils import DynamicCache, EncoderDecoderCache

from enrich.exporters.caches import present_names
from enrich.exporters.samples import OTHERS, TRACED, Size, ones, states
from enrich.exporters.tracing import compare, module_of, trace
from enrich.exporters.words import export_embedding

__all__ = ["export"]

_TEXT = {0: "batch", 1: "words"}
_SEEN = {0: "batch", 1: "states"}
_PAST = {0: "batch", 2: "past"}
_STATES, _BRANCH = "encoder_hidden_states", "use_cache_branch"
# Keys and values of the text, and of the encoder's states.
_OF_LAYER = ("decoder.key", "decoder.value", "encoder.key", "encoder.value")


def export(model: Florence2ForConditionalGeneration, folder: Path, *, edge_px: int = 768) -> dict[str, float]:
    """Write a model's four graphs in the layout of the hub's ONNX repositories.

    Parameters
    ----------
    model : Florence2ForConditionalGeneration
        In float32, on the CPU.
    folder : Path
        Where the graphs go.
    edge_px : int
        The edge of its pictures, as preprocessor_config.json says.

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
        "vision_encoder": _export_vision(model, folder / "vision_encoder.onnx", edge_px),
        "embed_tokens": export_embedding(model.get_input_embeddings(), folder / "embed_tokens.onnx"),
        "encoder_model": _export_encoder(model, folder / "encoder_model.onnx"),
        "decoder_model_merged": _export_decoder(model, folder / "decoder_model_merged.onnx"),
    }


def _export_vision(model: Florence2ForConditionalGeneration, graph: Path, edge_px: int) -> float:
    def see(pixels: Tensor) -> Tensor:
        features: Tensor = model.get_image_features(pixels).pooler_output
        return features

    def inputs(size: Size) -> dict[str, Tensor]:
        return {"pixel_values": torch.randn(size.batch, 3, edge_px, edge_px)}

    return trace(
        module_of(model, see),
        graph,
        inputs(TRACED),
        ["image_features"],
        {"pixel_values": {0: "batch"}, "image_features": {0: "batch"}},
        others=[inputs(size) for size in OTHERS],
    )


def _export_encoder(model: Florence2ForConditionalGeneration, graph: Path) -> float:
    encoder = model.model.language_model.encoder
    width = model.config.text_config.d_model

    def read(rows: Tensor, mask: Tensor) -> Tensor:
        read_rows: Tensor = encoder(inputs_embeds=rows, attention_mask=mask).last_hidden_state
        return read_rows

    def inputs(size: Size) -> dict[str, Tensor]:
        return {
            "inputs_embeds": torch.randn(size.batch, size.words, width),
            "attention_mask": ones(size.batch, size.words),
        }

    return trace(
        module_of(encoder, read),
        graph,
        inputs(TRACED),
        ["last_hidden_state"],
        {"inputs_embeds": _TEXT, "attention_mask": _TEXT, "last_hidden_state": _TEXT},
        others=[inputs(size) for size in OTHERS],
    )


def _export_decoder(model: Florence2ForConditionalGeneration, path: Path) -> float:
    """Export the decoder without its switch, then put that in, and compare once more."""
    layers = model.config.text_config.decoder_layers
    past = [f"past_key_values.{layer}.{part}" for layer in range(layers) for part in _OF_LAYER]
    present = present_names(past)
    outputs = ["logits", *present]

    trace(
        module_of(model, lambda *given: _speak(model, *given)),
        path,
        # What the states give comes behind what is there already: both must be free.
        _decoder_inputs(model, past, TRACED, TRACED.states + 2, TRACED.states),
        outputs,
        {
            "inputs_embeds": _TEXT,
            "encoder_attention_mask": _SEEN,
            _STATES: _SEEN,
            "logits": _TEXT,
            **dict.fromkeys((*past, *present), _PAST),
        },
        others=[_decoder_inputs(model, past, size, 0, size.states) for size in OTHERS],
    )
    _cut_states(path)
    return compare(module_of(model, _switched(model)), path, outputs, _runs(model, past))


def _switched(model: Florence2ForConditionalGeneration) -> Callable[..., tuple[Tensor, ...]]:
    """Return what the decoder with its switch does."""

    def speak(rows: Tensor, mask: Tensor, seen: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        *caches, has_past = rest
        return _speak(model, rows, mask, seen[:, : 0 if has_past.item() else None], *caches)

    return speak


def _runs(model: Florence2ForConditionalGeneration, past: list[str]) -> list[dict[str, Tensor]]:
    """Return first runs and later ones."""
    runs = []
    for size in OTHERS:
        first = _decoder_inputs(model, past, size, 0, size.states)
        later = _decoder_inputs(model, past, size, size.states, 0)
        # The states are given all the same, and must change nothing.
        later[_STATES] = states(size, model.config.text_config.d_model)
        runs += [first | {_BRANCH: torch.tensor([False])}, later | {_BRANCH: torch.tensor([True])}]
    return runs


def _decoder_inputs(
    model: Florence2ForConditionalGeneration, past: list[str], size: Size, seen: int, new: int
) -> dict[str, Tensor]:
    config = model.config.text_config
    heads, width = config.decoder_attention_heads, config.d_model // config.decoder_attention_heads
    lengths = {"decoder": size.past, "encoder": seen}
    caches = {name: torch.randn(size.batch, heads, lengths[name.split(".")[2]], width) for name in past}
    return {
        "inputs_embeds": torch.randn(size.batch, size.words, config.d_model),
        "encoder_attention_mask": ones(size.batch, seen + new),
        _STATES: torch.randn(size.batch, new, config.d_model),
        **caches,
    }


def _speak(
    model: Florence2ForConditionalGeneration, rows: Tensor, mask: Tensor, seen: Tensor, *past: Tensor
) -> tuple[Tensor, ...]:
    decoder = model.model.language_model.decoder
    own, other = DynamicCache(), DynamicCache()
    for place, layer in enumerate(decoder.layers):
        first = len(_OF_LAYER) * place
        keys, values, seen_keys, seen_values = past[first : first + len(_OF_LAYER)]
        own.update(keys, values, place)
        # Here and not in the layer, which takes them from a cache or makes them, and never both.
        attention = layer.encoder_attn
        keys = torch.cat([seen_keys, _by_head(attention.k_proj(seen), attention.num_heads)], dim=2)
        values = torch.cat([seen_values, _by_head(attention.v_proj(seen), attention.num_heads)], dim=2)
        other.update(keys, values, place)
    cache = EncoderDecoderCache(own, other)
    cache.is_updated = dict.fromkeys(cache.is_updated, True)
    least = torch.finfo(rows.dtype).min
    said = decoder(
        inputs_embeds=rows,
        # In this form it is taken as it is; the usual one is held against the states' length.
        encoder_attention_mask=(1 - mask[:, None, None, :].to(rows.dtype)) * least,
        encoder_hidden_states=seen,
        past_key_values=cache,
        use_cache=True,
    ).last_hidden_state
    present = [
        tensor
        for mine, theirs in zip(own.layers, other.layers, strict=True)
        for tensor in (mine.keys, mine.values, theirs.keys, theirs.values)
    ]
    return (model.lm_head(said), *present)


def _by_head(rows: Tensor, heads: int) -> Tensor:
    batch, length, width = rows.shape
    return rows.reshape(batch, length, heads, width // heads).transpose(1, 2)


def _cut_states(path: Path) -> None:
    """Let the encoder's states be none where ``use_cache_branch`` is true."""
    model = onnx.load(path, load_external_data=False)
    graph = model.graph
    for node in graph.node:
        for place, name in enumerate(node.input):
            if name == _STATES:
                node.input[place] = "states.left"
    graph.input.append(helper.make_tensor_value_info(_BRANCH, TensorProto.BOOL, [1]))
    for name, value in (("states.none", 0), ("states.axis", 1)):
        graph.initializer.append(helper.make_tensor(name, TensorProto.INT64, [1], [value]))
    cut = (
        helper.make_node("Not", [_BRANCH], ["states.is_first"]),
        helper.make_node("Cast", ["states.is_first"], ["states.share"], to=TensorProto.INT64),
        helper.make_node("Shape", [_STATES], ["states.length"], start=1, end=2),
        helper.make_node("Mul", ["states.length", "states.share"], ["states.end"]),
        helper.make_node("Slice", [_STATES, "states.none", "states.end", "states.axis"], ["states.left"]),
    )
    for place, node in enumerate(cut):
        graph.node.insert(place, node)
    onnx.save(model, path)
