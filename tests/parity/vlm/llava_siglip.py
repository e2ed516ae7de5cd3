"""LLaVA over SigLIP and Mistral, tiny and random: no class token, features of two layers side by side."""

from __future__ import annotations

from pathlib import Path

import torch
from parity.vlm.llava import CLIP_NORMS, TEXT, configure, ids_of, llama_tokenizer, processor, record, save
from transformers import LlavaConfig, LlavaForConditionalGeneration, LlavaProcessor, SiglipImageProcessorPil

__all__ = ["make", "processor", "record"]

_SEED, _EDGE_PX, _PATCH_PX = 63, 30, 6
# The form of ChatML, as the interleaved models have it.
_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + ' ' }}"
    "{% for part in message['content'] | selectattr('type', 'equalto', 'image') %}{{ '<image>' }}{% endfor %}"
    "{% for part in message['content'] | selectattr('type', 'equalto', 'text') %}{{ '\n' + part['text'] }}"
    "{% endfor %}{{ '<|im_end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def make(folder: Path) -> None:
    """Write ``torch`` and ``onnx`` under ``folder``."""
    torch.manual_seed(_SEED)
    tokenizer = llama_tokenizer()
    images = SiglipImageProcessorPil(size={"height": _EDGE_PX, "width": _EDGE_PX}, **CLIP_NORMS)
    reader = LlavaProcessor(
        images,
        tokenizer,
        patch_size=_PATCH_PX,
        vision_feature_select_strategy="full",
        num_additional_image_tokens=0,
        chat_template=_TEMPLATE,
    )
    vision = {key: one for key, one in configure(_EDGE_PX, _PATCH_PX).items() if key != "projection_dim"}
    config = LlavaConfig(
        vision_config={"model_type": "siglip_vision_model", "vision_use_head": False, **vision},
        text_config={"model_type": "mistral", "sliding_window": None, **TEXT, **ids_of(tokenizer)},
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        vision_feature_select_strategy="full",
        vision_feature_layer=[-2, -1],
    )
    save(folder, LlavaForConditionalGeneration(config), reader)
