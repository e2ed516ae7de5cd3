"""Qwen2-VL, tiny and random: its files as published, and what transformers says of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
import torch
from numpy.typing import NDArray
from parity.pictures import CHOSEN, odd_pictures
from parity.tiny_tokenizers import gpt2_tokenizer
from PIL import Image
from tokenizers import AddedToken
from torch import nn
from transformers import (
    GenerationConfig,
    PreTrainedTokenizerFast,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen2VLImageProcessorPil,
    Qwen2VLProcessor,
)

from enrich.exporters.qwen_vl import export

__all__ = ["configuration", "make", "processor", "record", "record_of", "write"]

_SEED, _STEPS, _BEAMS = 3, 32, 4
# Of the published vocabularies, in their order.
_TOKENS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
# What the published templates write, said anew: ChatML, and a picture between two tokens.
_TEMPLATE = """\
{%- if messages[0].role != 'system' -%}
{{ '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' }}
{%- endif -%}
{%- for message in messages -%}
  {{- '<|im_start|>' + message.role + '\\n' -}}
  {%- if message.content is string -%}
    {{- message.content -}}
  {%- else -%}
    {%- for part in message.content -%}
      {%- if part.type == 'image' -%}
        {{- '<|vision_start|><|image_pad|><|vision_end|>' -}}
      {%- elif part.text is defined -%}
        {{- part.text -}}
      {%- endif -%}
    {%- endfor -%}
  {%- endif -%}
  {{- '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
  {{- '<|im_start|>assistant\\n' -}}
{%- endif -%}
"""
_PROMPTS = (
    "Describe the picture.",
    "what colour is the dog?",
    "犬は何色ですか。",
    "Ein kleiner roter Kreis über einem großen blauen Quadrat: stimmt das?",
    "How many people are in the picture? Answer with a number.",
)
#: Who says what, over which of the five pictures: numbers are pictures, and texts are words.
_CONVERSATIONS: tuple[tuple[tuple[str, tuple[str | int, ...]], ...], ...] = (
    *((("user", (index, prompt)),) for index, prompt in enumerate(_PROMPTS)),
    (("user", (3, _PROMPTS[0])),),
    (("system", ("Be short.",)), ("user", (2, 0, "Which one is larger?"))),
    (
        ("user", ("Look at this:", 3)),
        ("assistant", ("Two people walk in the park.",)),
        ("user", ("and at these", 1, 4, "What is different?")),
    ),
    (("user", ("What is red?",)),),
)


class _PictureProcessor(Qwen2VLProcessor):
    """The processor without its part for videos, which needs torchvision."""

    def check_argument_for_proper_class(self, argument_name: str, argument: Any) -> Any:
        if argument_name == "video_processor":
            return None
        return super().check_argument_for_proper_class(argument_name, argument)


def make(folder: Path) -> None:
    """Write ``torch`` and ``onnx`` under ``folder``."""
    torch.manual_seed(_SEED)
    vision = {"depth": 2, "embed_dim": 16, "hidden_size": 16, "num_heads": 2, "mlp_ratio": 2}
    write(folder, Qwen2VLForConditionalGeneration(configuration(Qwen2VLConfig, vision)))


def record(folder: Path) -> dict[str, NDArray[Any]]:
    """Return pixels, features, prompts, positions and tokens of the model that ``make`` wrote."""
    return record_of(folder, Qwen2VLForConditionalGeneration)


def processor(folder: Path) -> Qwen2VLProcessor:
    """Return transformers' processor; that of Qwen2.5-VL differs in videos alone."""
    source = folder / "torch"
    tokenizer = PreTrainedTokenizerFast.from_pretrained(source)
    template = (source / "chat_template.jinja").read_text(encoding="utf-8")
    return _PictureProcessor(
        Qwen2VLImageProcessorPil.from_pretrained(source), tokenizer, chat_template=template
    )


def configuration(kind: type[Any], vision: dict[str, Any]) -> Any:
    """Return a configuration of this kind with a tiny text model."""
    vocabulary = _tokenizer()
    ids = {name: vocabulary.convert_tokens_to_ids(name) for name in _TOKENS}
    return kind(
        vision_config=vision,
        text_config={
            "hidden_size": 16,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "intermediate_size": 32,
            "vocab_size": len(vocabulary),
            "max_position_embeddings": 1024,
            "bos_token_id": ids["<|endoftext|>"],
            "eos_token_id": ids["<|im_end|>"],
            "rope_parameters": {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 1e6},
        },
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
    )


def write(folder: Path, model: nn.Module) -> None:
    """Give a model large weights, and write it with its other files."""
    source, exported = folder / "torch", folder / "onnx"
    exported.mkdir(parents=True, exist_ok=True)
    for weights in model.parameters():
        if weights.dim() > 1:
            nn.init.normal_(weights, std=0.3)
        # Half of each number is zeros, which halves the archive.
        weights.data = weights.data.bfloat16().float()
    export(model.eval(), exported)
    model.save_pretrained(source)
    tokenizer = _tokenizer()
    ends = [tokenizer.convert_tokens_to_ids(token) for token in ("<|im_end|>", "<|endoftext|>")]
    generation = GenerationConfig(bos_token_id=ends[1], eos_token_id=ends, pad_token_id=ends[1])
    for place in (source, exported):
        tokenizer.save_pretrained(place)
        generation.save_pretrained(place)
        model.config.save_pretrained(place)
        (place / "chat_template.jinja").write_text(_TEMPLATE, encoding="utf-8")
        # The published file, but for the bounds: 4 to 20 tokens.
        values = {
            "min_pixels": 56 * 56,
            "max_pixels": 20 * 28 * 28,
            "patch_size": 14,
            "temporal_patch_size": 2,
            "merge_size": 2,
            "image_mean": [0.48145466, 0.4578275, 0.40821073],
            "image_std": [0.26862954, 0.26130258, 0.27577711],
            "image_processor_type": "Qwen2VLImageProcessor",
            "processor_class": "Qwen2VLProcessor",
        }
        text = json.dumps(values, indent=2) + "\n"
        (place / "preprocessor_config.json").write_text(text, encoding="utf-8")


def record_of(folder: Path, kind: type[Any]) -> dict[str, NDArray[Any]]:
    """Return what ``record`` does, of a model of this class."""
    torch.set_num_threads(1)
    source = folder / "torch"
    model = kind.from_pretrained(source).eval()
    tokenizer = PreTrainedTokenizerFast.from_pretrained(source, padding_side="left")
    images = Qwen2VLImageProcessorPil.from_pretrained(source)
    prepared = images([Image.fromarray(odd_pictures()[index]) for index in CHOSEN], return_tensors="pt")
    grids = prepared["image_grid_thw"]
    cuts = np.cumsum(grids.prod(1).numpy())[:-1]
    patches = [torch.from_numpy(part) for part in np.split(prepared["pixel_values"].numpy(), cuts)]
    prompts = [_prompt(tokenizer, conversation, grids) for conversation in _CONVERSATIONS]
    with torch.no_grad():
        features = model.model.get_image_features(prepared["pixel_values"], grids).pooler_output
        inputs = [
            _inputs(tokenizer, [ids], [_pictures(conversation)], patches, grids)
            for ids, conversation in zip(prompts, _CONVERSATIONS, strict=True)
        ]
        together = _inputs(
            tokenizer, prompts[:5], [_pictures(one) for one in _CONVERSATIONS[:5]], patches, grids
        )
        positions = [_positions(model, one) for one in inputs]
        alone = [_written(model, one)[0] for one in inputs]
        assert alone[:5] == _written(model, together), "padding changed what was said: take another seed"
        beams = [_written(model, one, num_beams=_BEAMS)[0] for one in inputs]
        careful = [_written(model, one, repetition_penalty=1.05)[0] for one in inputs]
    return {
        "pixels": _levels(images, prepared["pixel_values"].numpy()),
        "grids": grids.numpy(),
        "features": torch.cat(tuple(features)).numpy(),
        "prompts": _rows(prompts),
        "positions": np.concatenate([positions for positions, _ in positions], axis=1),
        "ahead": np.asarray([ahead for _, ahead in positions]),
        "greedy": _rows(alone),
        "beams4": _rows(beams),
        "penalty": _rows(careful),
    }


def _tokenizer() -> PreTrainedTokenizerFast:
    made = tokenizers.Tokenizer.from_str(gpt2_tokenizer().backend_tokenizer.to_str())
    made.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in _TOKENS])
    return PreTrainedTokenizerFast(
        tokenizer_object=made, eos_token="<|im_end|>", pad_token="<|endoftext|>", padding_side="left"
    )


def _prompt(tokenizer: PreTrainedTokenizerFast, conversation: Any, grids: torch.Tensor) -> list[int]:
    """Return the ids of a conversation, its pictures written out."""
    messages = [
        {
            "role": role,
            "content": [
                {"type": "image"} if isinstance(part, int) else {"type": "text", "text": part}
                for part in parts
            ],
        }
        for role, parts in conversation
    ]
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    first, *others = text.split("<|image_pad|>")
    for picture, words in zip(_pictures(conversation), others, strict=True):
        first += "<|image_pad|>" * (int(grids[picture].prod()) // 4) + words
    ids: list[int] = tokenizer(first)["input_ids"]
    return ids


def _pictures(conversation: Any) -> list[int]:
    return [part for _, parts in conversation for part in parts if isinstance(part, int)]


def _inputs(
    tokenizer: PreTrainedTokenizerFast,
    prompts: list[list[int]],
    pictures: list[list[int]],
    patches: list[torch.Tensor],
    grids: torch.Tensor,
) -> dict[str, torch.Tensor]:
    padded = tokenizer.pad({"input_ids": prompts}, return_tensors="pt")
    ids = padded["input_ids"]
    inputs = {"input_ids": ids, "attention_mask": padded["attention_mask"]}
    inputs["mm_token_type_ids"] = (ids == tokenizer.convert_tokens_to_ids("<|image_pad|>")).int()
    shown = [picture for row in pictures for picture in row]
    if shown:
        inputs["pixel_values"] = torch.cat([patches[picture] for picture in shown])
        inputs["image_grid_thw"] = grids[shown]
    return inputs


def _positions(model: Any, inputs: dict[str, torch.Tensor]) -> tuple[NDArray[np.int64], int]:
    if "image_grid_thw" not in inputs:
        return np.tile(np.arange(inputs["input_ids"].shape[1]), (3, 1)), 0
    positions, ahead = model.model.get_rope_index(
        inputs["input_ids"],
        inputs["mm_token_type_ids"],
        image_grid_thw=inputs["image_grid_thw"],
        attention_mask=inputs["attention_mask"],
    )
    return positions[:, 0].numpy(), int(ahead[0, 0])


def _written(model: Any, inputs: dict[str, torch.Tensor], **decoding: Any) -> list[list[int]]:
    rows = model.generate(**inputs, max_new_tokens=_STEPS, do_sample=False, **decoding)
    pad = model.generation_config.pad_token_id
    kept = []
    for row in rows[:, inputs["input_ids"].shape[1] :].tolist():
        # The pad token, which ends texts too, fills shorter ones up.
        kept.append(row[: row.index(pad) + 1] if pad in row else row)
    return kept


def _levels(images: Qwen2VLImageProcessorPil, patches: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return patches as the grey levels they were made of, one of the two frames, which are alike."""
    frames = patches.reshape(len(patches), 3, 2, -1)
    assert (frames[:, :, 0] == frames[:, :, 1]).all()
    mean, std = (np.asarray(values)[:, None] for values in (images.image_mean, images.image_std))
    levels = (frames[:, :, 0].astype(np.float64) * std + mean) * 255
    assert np.abs(levels - levels.round()).max() < 1e-3
    return levels.round().astype(np.uint8)


def _rows(rows: list[list[int]]) -> NDArray[np.int64]:
    made = np.full((len(rows), max(map(len, rows))), -1, np.int64)
    for place, row in enumerate(rows):
        made[place, : len(row)] = row
    return made
