"""SmolVLM, tiny and random: Idefics3 under a name and configuration of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from parity.vlm.idefics3 import SMOLVLM, make_kind, processor_of, record_kind
from transformers import Idefics3Processor

__all__ = ["make", "processor", "record"]


def make(folder: Path) -> None:
    """Write ``torch`` and ``onnx`` under ``folder``."""
    make_kind(folder, SMOLVLM)


def processor(folder: Path) -> Idefics3Processor:
    """Return the processor of the model that ``make`` wrote."""
    return processor_of(folder, SMOLVLM)


def record(folder: Path) -> dict[str, NDArray[Any]]:
    """Return what the model that ``make`` wrote says; see ``record_kind``."""
    return record_kind(folder, SMOLVLM)
