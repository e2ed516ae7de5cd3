"""Qwen2.5-VL, tiny and random: the same files and questions as Qwen2-VL's, over a tower with windows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from parity.vlm.qwen2_vl import configuration, processor, record_of, write
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

__all__ = ["make", "processor", "record"]

_SEED = 5


def make(folder: Path) -> None:
    """Write ``torch`` and ``onnx`` under ``folder``."""
    torch.manual_seed(_SEED)
    vision = {
        "depth": 3,
        "hidden_size": 16,
        "num_heads": 2,
        "intermediate_size": 32,
        "out_hidden_size": 16,
        # Two tokens each way, so that small pictures have several windows, and some of them cut off.
        "window_size": 56,
        "fullatt_block_indexes": [1],
    }
    write(folder, Qwen2_5_VLForConditionalGeneration(configuration(Qwen2_5_VLConfig, vision)))


def record(folder: Path) -> dict[str, NDArray[Any]]:
    """Return pixels, features, prompts, positions and tokens of the model that ``make`` wrote."""
    return record_of(folder, Qwen2_5_VLForConditionalGeneration)
