"""LLaVA, tiny and random: its files as published, and what transformers says of it."""

from __future__ import annotations

import string
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
import torch
from numpy.typing import NDArray
from parity.pictures import odd_pictures
from parity.sentences import SENTENCES
from parity.vlm.llava_cases import CONVERSATIONS, STEPS
from PIL import Image
from tokenizers import AddedToken, decoders, models, normalizers, processors
from torch import nn
from transformers import (
    CLIPImageProcessorPil,
    GenerationConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)

from enrich.exporters.llava import export

__all__ = [
    "CLIP_NORMS",
    "TEXT",
    "configure",
    "fill",
    "ids_of",
    "levels_of",
    "llama_tokenizer",
    "make",
    "processor",
    "record",
    "record_speech",
    "save",
]

_SEED, EDGE_PX, PATCH_PX = 61, 32, 8
_START, _END, _UNKNOWN, _PAD, _IMAGE = "<s>", "</s>", "<unk>", "<pad>", "<image>"
CLIP_NORMS = {"image_mean": [0.4, 0.5, 0.6], "image_std": [0.5, 0.4, 0.3]}
TEXT = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": 2048,
}
# The form of LLaVA 1.5's: who says it, the pictures before the words, the model's own between its marks.
_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] != 'system' %}{{ message['role'].upper() + ': ' }}{% endif %}"
    "{% for part in message['content'] | selectattr('type', 'equalto', 'image') %}{{ '<image>\n' }}"
    "{% endfor %}"
    "{% if message['role'] == 'assistant' %}"
    "{% for part in message['content'] | selectattr('type', 'equalto', 'text') %}"
    "{% generation %}{{ part['text'] + ' ' }}{% endgeneration %}"
    "{% endfor %}"
    "{% else %}"
    "{% for part in message['content'] | selectattr('type', 'equalto', 'text') %}{{ part['text'] + ' ' }}"
    "{% endfor %}"
    "{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)


def make(folder: Path) -> None:
    """Write ``torch`` and ``onnx`` under ``folder``."""
    torch.manual_seed(_SEED)
    tokenizer = llama_tokenizer()
    images = CLIPImageProcessorPil(
        size={"shortest_edge": EDGE_PX}, crop_size={"height": EDGE_PX, "width": EDGE_PX}, **CLIP_NORMS
    )
    reader = LlavaProcessor(
        images,
        tokenizer,
        patch_size=PATCH_PX,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=_TEMPLATE,
    )
    config = LlavaConfig(
        vision_config={"model_type": "clip_vision_model", **configure(EDGE_PX, PATCH_PX)},
        text_config={"model_type": "llama", **TEXT, **ids_of(tokenizer)},
        image_token_index=tokenizer.convert_tokens_to_ids(_IMAGE),
    )
    save(folder, LlavaForConditionalGeneration(config), reader)


def processor(folder: Path) -> LlavaProcessor:
    """Return the processor that ``make`` wrote."""
    return LlavaProcessor.from_pretrained(folder / "torch")


def record(folder: Path) -> dict[str, NDArray[Any]]:
    """Return the reference's numbers.

    =====================  =================================================================
    ``pixels``             uint8, (20, 3, H, W), before normalisation, of ``odd_pictures``
    ``features``           (all tokens, D), of the conversations' pictures in turn
    ``prompts``            ids, filled up with -1
    ``greedy_alone``       tokens, each conversation alone; -1 after the end
    ``greedy``             all five in one batch
    ``beams4``             all five, four beams
    =====================  =================================================================
    """
    model = LlavaForConditionalGeneration.from_pretrained(folder / "torch").eval()
    reader = processor(folder)
    pixels = [
        reader.image_processor(Image.fromarray(one), return_tensors="np")["pixel_values"][0]
        for one in odd_pictures()
    ]
    return {
        "pixels": levels_of(reader.image_processor, np.stack(pixels)),
        **record_speech(model, reader),
    }


def record_speech(model: Any, reader: Any) -> dict[str, NDArray[Any]]:
    """Return features, prompts and tokens of the conversations."""
    reader.tokenizer.padding_side = "left"
    five = _inputs(reader, CONVERSATIONS)
    alone = [_inputs(reader, [one]) for one in CONVERSATIONS]
    sizes = {"image_sizes": five["image_sizes"]} if "image_sizes" in five else {}
    seen = model.get_image_features(five["pixel_values"], **sizes).pooler_output
    return {
        "features": torch.cat(list(seen)).numpy(),
        "prompts": _rows([one["input_ids"][0].tolist() for one in alone]),
        "greedy_alone": _rows([_written(model, one)[0] for one in alone]),
        "greedy": _rows(_written(model, five)),
        "beams4": _rows(_written(model, five, num_beams=4)),
    }


def levels_of(images: Any, pixels: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return what the pixels were before normalisation."""
    mean, std = (np.asarray(one)[:, None, None] for one in (images.image_mean, images.image_std))
    levels = (pixels * std + mean) * 255
    assert np.abs(levels - levels.round()).max() < 1e-3, "the resized picture is no longer of whole levels"
    return levels.round().astype(np.uint8)


def configure(edge_px: int, patch_px: int) -> dict[str, Any]:
    """Return the eyes' configuration."""
    return {
        "hidden_size": 16,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "intermediate_size": 24,
        "image_size": edge_px,
        "patch_size": patch_px,
        "projection_dim": 16,
    }


def save(folder: Path, model: Any, reader: Any) -> None:
    """Fill a model with random numbers, and write it in both forms."""
    source, exported = folder / "torch", folder / "onnx"
    exported.mkdir(parents=True, exist_ok=True)
    tokenizer = reader.tokenizer
    ids = ids_of(tokenizer)
    rng = np.random.default_rng(_SEED)
    for name, parameter in model.named_parameters():
        if parameter.dim() > 1 or name.endswith("image_newline"):
            fill(parameter, rng, 0.25)
    # Its logit is always 0, and never the greatest: 32 steps happen.
    model.lm_head.weight.data[ids["eos_token_id"]] = 0
    model.generation_config = GenerationConfig(
        **{key: one for key, one in ids.items() if key != "vocab_size"}
    )
    model.config.architectures = [type(model).__name__]
    for place in (source, exported):
        reader.save_pretrained(place)
        model.generation_config.save_pretrained(place)
        model.config.save_pretrained(place)
    model.save_pretrained(source)
    export(model.eval(), exported)


def fill(parameter: nn.Parameter, rng: np.random.Generator, spread: float) -> None:
    """Fill a parameter with numpy's numbers, which are the same on every processor; torch's are not."""
    values = torch.from_numpy(rng.normal(scale=spread, size=tuple(parameter.shape)))
    # Half of the bits are enough: the other half packs away.
    parameter.data = values.bfloat16().float()


def llama_tokenizer() -> PreTrainedTokenizerFast:
    """Return a BPE as Llama's: spaces are letters, one before each piece, and bytes for what is unknown."""
    spoken = {letter for texts in SENTENCES.values() for text in texts for letter in text}
    letters = sorted(spoken.union(string.ascii_letters) - {" "})
    names = [_UNKNOWN, _START, _END, *(f"<0x{byte:02X}>" for byte in range(256)), "▁", *letters]
    merges: list[tuple[str, str]] = []
    for word in (" the", " a", " is", " of", " picture", " What", " ASS", " colour", "ing", "▁▁"):
        parts = list(word.replace(" ", "▁"))
        while len(parts) > 1:
            pair = (parts[0], parts[1])
            if pair not in merges:
                merges.append(pair)
            parts = ["".join(pair), *parts[2:]]
    names += ["".join(pair) for pair in merges]
    vocabulary = {name: place for place, name in enumerate(dict.fromkeys(names))}
    made = tokenizers.Tokenizer(
        models.BPE(vocabulary, merges, unk_token=_UNKNOWN, byte_fallback=True, fuse_unk=True)
    )
    made.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    made.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    made.post_processor = processors.TemplateProcessing(
        single=f"{_START} $A",
        pair=f"{_START} $A {_START}:1 $B:1",
        special_tokens=[(_START, vocabulary[_START])],
    )
    made.add_special_tokens(
        [AddedToken(one, special=True, normalized=False) for one in (_UNKNOWN, _START, _END, _IMAGE, _PAD)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=made, bos_token=_START, eos_token=_END, unk_token=_UNKNOWN, pad_token=_PAD
    )


def ids_of(tokenizer: PreTrainedTokenizerFast) -> dict[str, int]:
    """Return the vocabulary's size and special tokens, in a configuration's words."""
    return {
        "vocab_size": len(tokenizer),
        "bos_token_id": tokenizer.convert_tokens_to_ids(_START),
        "eos_token_id": tokenizer.convert_tokens_to_ids(_END),
        "pad_token_id": tokenizer.convert_tokens_to_ids(_PAD),
    }


def _inputs(reader: Any, conversations: Sequence[Any]) -> Any:
    pictures = [Image.fromarray(one) for one in odd_pictures()]
    messages = [
        [{"role": role, "content": [_part(one) for one in content]} for role, content in conversation]
        for conversation in conversations
    ]
    images = [
        pictures[one]
        for conversation in conversations
        for _, content in conversation
        for one in content
        if isinstance(one, int)
    ]
    texts = [reader.apply_chat_template(one, add_generation_prompt=True) for one in messages]
    return reader(text=texts, images=images, padding=True, return_tensors="pt")


def _part(content: int | str) -> dict[str, str]:
    return {"type": "image"} if isinstance(content, int) else {"type": "text", "text": content}


def _written(model: Any, inputs: Any, **decoding: Any) -> list[list[int]]:
    rows = model.generate(**inputs, max_new_tokens=STEPS, do_sample=False, **decoding)
    return [row.tolist() for row in rows[:, inputs["input_ids"].shape[1] :]]


def _rows(rows: Sequence[Sequence[int]]) -> NDArray[np.int64]:
    made = np.full((len(rows), max(map(len, rows))), -1, np.int64)
    for place, row in enumerate(rows):
        made[place, : len(row)] = row
    return made
