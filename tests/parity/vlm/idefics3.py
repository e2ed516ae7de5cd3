"""Idefics3 and SmolVLM, tiny and random: their files as published, and what transformers says of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from parity.pictures import odd_pictures
from parity.tiny_tokenizers import gpt2_tokenizer
from parity.vlm.idefics3_cases import CONVERSATIONS, STEPS
from PIL import Image
from torch import nn
from transformers import (
    AddedToken,
    GenerationConfig,
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    Idefics3ImageProcessorPil,
    Idefics3Processor,
    PreTrainedTokenizerFast,
    SmolVLMConfig,
    SmolVLMForConditionalGeneration,
    SmolVLMImageProcessorPil,
)

from enrich.exporters.idefics3 import export

__all__ = [
    "IDEFICS3",
    "SMOLVLM",
    "Kind",
    "make",
    "make_kind",
    "processor",
    "processor_of",
    "record",
    "record_kind",
]

_SEED = 58
_START, _END = "<|im_start|>", "<end_of_utterance>"
_MARKS = ("<fake_token_around_image>", "<image>", "<global-img>")
_PLACES = tuple(f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7))
# The form of SmolVLM's: one start, then who says what, each turn with its end.
_TEMPLATE = (
    "<|im_start|>"
    "{% for message in messages %}"
    "{{ message['role'] | capitalize }}"
    "{{ ':' if message['content'][0]['type'] == 'image' else ': ' }}"
    "{% for part in message['content'] %}"
    "{{ '<image>' if part['type'] == 'image' else part['text'] }}"
    "{% endfor %}"
    "<end_of_utterance>\n"
    "{% endfor %}"
    "{{ 'Assistant:' if add_generation_prompt else '' }}"
)


@dataclass(frozen=True)
class Kind:
    """One of the two, with edges that are no whole number of patches, or a finer grid.

    Parameters
    ----------
    config, model, processor : type
        transformers' classes.
    edge_px, patch_px, scale : int
        A tile, a patch, and how many patches side by side become one token.
    """

    config: type[Any]
    model: type[Any]
    processor: type[Any]
    edge_px: int
    patch_px: int
    scale: int

    @property
    def tokens(self) -> int:
        return (self.edge_px // self.patch_px // self.scale) ** 2


IDEFICS3 = Kind(Idefics3Config, Idefics3ForConditionalGeneration, Idefics3ImageProcessorPil, 18, 4, 2)
SMOLVLM = Kind(SmolVLMConfig, SmolVLMForConditionalGeneration, SmolVLMImageProcessorPil, 16, 2, 4)


def make(folder: Path) -> None:
    """Write ``torch`` and ``onnx`` of the tiny Idefics3 under ``folder``."""
    make_kind(folder, IDEFICS3)


def record(folder: Path) -> dict[str, NDArray[Any]]:
    """Return what the tiny Idefics3 that ``make`` wrote says; see ``record_kind``."""
    return record_kind(folder, IDEFICS3)


def processor(folder: Path) -> Idefics3Processor:
    """Return the processor of the tiny Idefics3 that ``make`` wrote."""
    return processor_of(folder, IDEFICS3)


def processor_of(folder: Path, kind: Kind) -> Idefics3Processor:
    """Return the processor that ``make_kind`` wrote."""
    source = folder / "torch"
    # SmolVLM's own differs by its videos alone, and wants a package for them.
    return Idefics3Processor(
        kind.processor.from_pretrained(source),
        PreTrainedTokenizerFast.from_pretrained(source, padding_side="left"),
        image_seq_len=kind.tokens,
        chat_template=_TEMPLATE,
    )


def make_kind(folder: Path, kind: Kind) -> None:
    """Write ``torch`` and ``onnx`` under ``folder``."""
    torch.manual_seed(_SEED)
    source, exported = folder / "torch", folder / "onnx"
    exported.mkdir(parents=True, exist_ok=True)
    tokenizer = _tokenizer()
    model = _model(kind, tokenizer)
    images = kind.processor(
        size={"longest_edge": 4 * kind.edge_px},
        max_image_size={"longest_edge": kind.edge_px},
        image_mean=[0.4, 0.5, 0.6],
        image_std=[0.5, 0.4, 0.3],
    )
    reader = Idefics3Processor(images, tokenizer, image_seq_len=kind.tokens, chat_template=_TEMPLATE)
    for place in (source, exported):
        reader.save_pretrained(place)
        model.generation_config.save_pretrained(place)
        model.config.save_pretrained(place)
    model.save_pretrained(source)
    export(model, exported)


def record_kind(folder: Path, kind: Kind) -> dict[str, NDArray[Any]]:
    """Return the reference's numbers.

    =====================  =================================================================
    ``pixels``             uint8, (all tiles, 3, H, W), before normalisation, of ``odd_pictures``
    ``grids``              (20, 2): rows and columns of each; 0, 0 where it is whole
    ``whole``              uint8, (20, 3, H, W): the same without splitting
    ``features``           (all tokens, D), of the conversations' pictures in turn
    ``features_whole``     the same without splitting
    ``prompts``            ids, filled up with -1
    ``greedy_alone``       tokens, each conversation alone; -1 after the end
    ``greedy``             all five in one batch
    ``beams4``             all five, four beams
    ``greedy_whole``       all five without splitting
    ``masked_*``           the vision graph's input of odd masks, and its output
    =====================  =================================================================
    """
    torch.set_num_threads(1)
    source = folder / "torch"
    model = kind.model.from_pretrained(source).eval()
    reader = processor_of(folder, kind)
    with torch.no_grad():
        numbers = _pictures(reader.image_processor)
        five = _inputs(reader, CONVERSATIONS)
        whole = _inputs(reader, CONVERSATIONS, do_image_splitting=False)
        alone = [_inputs(reader, [one]) for one in CONVERSATIONS]
        numbers |= {
            "features": _features(model, five),
            "features_whole": _features(model, whole),
            "prompts": _rows([one["input_ids"][0].tolist() for one in alone]),
            "greedy_alone": _rows([_written(model, one)[0] for one in alone]),
            "greedy": _rows(_written(model, five)),
            "beams4": _rows(_written(model, five, num_beams=4)),
            "greedy_whole": _rows(_written(model, whole)),
            **_masked(model, kind),
        }
    return numbers


def _pictures(processor: Any) -> dict[str, NDArray[Any]]:
    split, grids, whole = [], [], []
    for pixels in odd_pictures():
        images = [[Image.fromarray(pixels)]]
        made = processor(images, return_tensors="np", return_row_col_info=True)
        split.append(_levels(processor, made["pixel_values"][0]))
        grids.append((made["rows"][0][0], made["cols"][0][0]))
        one = processor(images, return_tensors="np", do_image_splitting=False)
        whole.append(_levels(processor, one["pixel_values"][0]))
    return {
        "pixels": np.concatenate(split),
        "grids": np.asarray(grids, np.int64),
        "whole": np.concatenate(whole),
    }


def _levels(processor: Any, pixels: NDArray[np.float32]) -> NDArray[np.uint8]:
    mean, std = (np.asarray(one)[:, None, None] for one in (processor.image_mean, processor.image_std))
    levels = (pixels * std + mean) * 255
    assert np.abs(levels - levels.round()).max() < 1e-3, "the resized picture is no longer of whole levels"
    return levels.round().astype(np.uint8)


def _inputs(processor: Idefics3Processor, conversations: Sequence[Any], **options: Any) -> Any:
    pictures = [Image.fromarray(one) for one in odd_pictures()]
    messages = [
        [{"role": role, "content": [_part(one) for one in content]} for role, content in conversation]
        for conversation in conversations
    ]
    images = [
        [pictures[one] for _, content in conversation for one in content if isinstance(one, int)]
        for conversation in conversations
    ]
    texts = [processor.apply_chat_template(one, add_generation_prompt=True) for one in messages]
    return processor(text=texts, images=images, padding=True, return_tensors="pt", **options)


def _part(content: int | str) -> dict[str, str]:
    return {"type": "image"} if isinstance(content, int) else {"type": "text", "text": content}


def _features(model: Any, inputs: Any) -> NDArray[np.float32]:
    seen = model.get_image_features(inputs["pixel_values"], inputs["pixel_attention_mask"])
    return torch.cat(list(seen.pooler_output)).numpy()


def _written(model: Any, inputs: Any, **decoding: Any) -> list[list[int]]:
    rows = model.generate(**inputs, max_new_tokens=STEPS, do_sample=False, **decoding)
    return [row.tolist() for row in rows[:, inputs["input_ids"].shape[1] :]]


def _masked(model: Any, kind: Kind) -> dict[str, NDArray[Any]]:
    """Return what the eyes make of five tiles of which less and less is picture."""
    rng = np.random.default_rng(_SEED)
    pixels = rng.normal(size=(1, 5, 3, kind.edge_px, kind.edge_px)).astype(np.float32)
    mask = np.zeros((1, 5, kind.edge_px, kind.edge_px), np.bool_)
    for tile in range(5):
        mask[0, tile, : kind.edge_px - 2 * tile, : kind.edge_px - 3 * tile] = True
    seen = model.get_image_features(torch.from_numpy(pixels), torch.from_numpy(mask)).pooler_output[0]
    return {"masked_pixels": pixels, "masked_mask": mask, "masked_features": seen.numpy()}


def _rows(rows: Sequence[Sequence[int]]) -> NDArray[np.int64]:
    made = np.full((len(rows), max(map(len, rows))), -1, np.int64)
    for place, row in enumerate(rows):
        made[place, : len(row)] = row
    return made


def _tokenizer() -> PreTrainedTokenizerFast:
    """Return a byte-level BPE as SmolLM2's, with the marks of pictures and turns behind it."""
    plain = gpt2_tokenizer().backend_tokenizer
    marks = [AddedToken(one, special=True, normalized=False) for one in (_START, *_MARKS, _END, *_PLACES)]
    plain.add_special_tokens(marks)
    return PreTrainedTokenizerFast(
        tokenizer_object=plain, bos_token=_START, eos_token=_END, unk_token="<|endoftext|>", pad_token=_START
    )


def _model(kind: Kind, tokenizer: PreTrainedTokenizerFast) -> Any:
    end = tokenizer.convert_tokens_to_ids(_END)
    start = tokenizer.convert_tokens_to_ids(_START)
    config = kind.config(
        vision_config={
            "hidden_size": 16,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 24,
            "image_size": kind.edge_px,
            "patch_size": kind.patch_px,
        },
        text_config={
            "model_type": "llama",
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "intermediate_size": 48,
            "vocab_size": len(tokenizer),
            "max_position_embeddings": 2048,
            "bos_token_id": start,
            "eos_token_id": end,
            "pad_token_id": start,
        },
        scale_factor=kind.scale,
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        pad_token_id=start,
    )
    config.architectures = [kind.model.__name__]
    model = kind.model(config).eval()
    rng = np.random.default_rng(_SEED)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            _fill(parameter, rng, 0.25)
    # Its logit is always 0, and never the greatest: 32 steps happen.
    model.lm_head.weight.data[end] = 0
    model.generation_config = GenerationConfig(bos_token_id=start, eos_token_id=end, pad_token_id=start)
    return model


def _fill(parameter: nn.Parameter, rng: np.random.Generator, spread: float) -> None:
    # numpy's numbers are the same on every processor, torch's are not. And half of the bits are
    # enough: the other half packs away.
    values = torch.from_numpy(rng.normal(scale=spread, size=parameter.shape))
    parameter.data = values.bfloat16().float()
