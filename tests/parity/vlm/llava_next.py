"""LLaVA-NeXT, tiny and random: its files as published, and what transformers says of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from parity.pictures import odd_pictures
from parity.vlm.llava import (
    CLIP_NORMS,
    TEXT,
    configure,
    ids_of,
    levels_of,
    llama_tokenizer,
    record_speech,
    save,
)
from PIL import Image
from transformers import (
    LlavaNextConfig,
    LlavaNextForConditionalGeneration,
    LlavaNextImageProcessorPil,
    LlavaNextProcessor,
)

__all__ = ["make", "processor", "record"]

_SEED, _EDGE_PX, _PATCH_PX = 62, 24, 6
_PINPOINTS = [[24, 48], [48, 24], [48, 48], [72, 24], [24, 72]]
# The form of LLaVA 1.6's over Mistral: instructions in brackets, the model's own with an end each.
_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'system' %}{{ '<<SYS>>\n' + message['content'][0]['text'] + '\n<</SYS>>\n\n' }}"
    "{% elif message['role'] == 'user' %}{{ '[INST] ' }}"
    "{% for part in message['content'] | selectattr('type', 'equalto', 'image') %}{{ '<image>\n' }}"
    "{% endfor %}"
    "{% for part in message['content'] | selectattr('type', 'equalto', 'text') %}{{ part['text'] | trim }}"
    "{% endfor %}"
    "{{ ' [/INST]' }}"
    "{% elif message['role'] == 'assistant' %}"
    "{% generation %}{{ ' ' + message['content'][0]['text'] + '</s> ' }}{% endgeneration %}"
    "{% else %}{{ raise_exception('Only user and assistant roles are supported!') }}{% endif %}"
    "{% endfor %}"
)


def make(folder: Path) -> None:
    """Write ``torch`` and ``onnx`` under ``folder``."""
    torch.manual_seed(_SEED)
    tokenizer = llama_tokenizer()
    images = LlavaNextImageProcessorPil(
        size={"shortest_edge": _EDGE_PX},
        crop_size={"height": _EDGE_PX, "width": _EDGE_PX},
        image_grid_pinpoints=_PINPOINTS,
        **CLIP_NORMS,
    )
    reader = LlavaNextProcessor(
        images,
        tokenizer,
        patch_size=_PATCH_PX,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=_TEMPLATE,
    )
    config = LlavaNextConfig(
        vision_config={"model_type": "clip_vision_model", **configure(_EDGE_PX, _PATCH_PX)},
        text_config={"model_type": "mistral", "sliding_window": None, **TEXT, **ids_of(tokenizer)},
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        image_grid_pinpoints=_PINPOINTS,
    )
    save(folder, LlavaNextForConditionalGeneration(config), reader)


def processor(folder: Path) -> LlavaNextProcessor:
    """Return the processor that ``make`` wrote."""
    return LlavaNextProcessor.from_pretrained(folder / "torch")


def record(folder: Path) -> dict[str, NDArray[Any]]:
    """Return the numbers of LLaVA, with ``pixels`` of all tiles in a row and ``tiles`` of each picture."""
    model = LlavaNextForConditionalGeneration.from_pretrained(folder / "torch").eval()
    reader = processor(folder)
    pixels = [
        reader.image_processor(Image.fromarray(one), return_tensors="np")["pixel_values"][0]
        for one in odd_pictures()
    ]
    return {
        "pixels": levels_of(reader.image_processor, np.concatenate(pixels)),
        "tiles": np.asarray([len(one) for one in pixels], np.int64),
        **record_speech(model, reader),
    }
