"""Make the tiny models and record what the reference implementations say: ``tests/references``.

    make references

runs this module in the export environment and writes the folder anew. On the machine and versions of
``about.json`` every byte of the numbers comes out as before; elsewhere floats differ by less than 1e-5
and tokens not at all: one thread, fixed seeds, no hash order (PYTHONHASHSEED=0). ``make parity`` makes
them too, in a folder of its own, compares the two, and our numbers with both.

=====================  ====================================================================
``models.tar.xz``      the ONNX folders as ``<architecture>/...``
``<architecture>.npz`` ``pixels`` uint8, (20, 3, H, W): what the processor makes of the twenty
                       pictures, before ``(x / 255 - mean) / std``; logits, embeddings, tokens
``strings.npz``        token ids of 300 odd strings for each tokenizer
``sampling.npz``       logits after the processors that shape a draw
``about.json``         versions, and what the numbers alone do not say
=====================  ====================================================================
"""

from __future__ import annotations

import importlib.metadata
import json
import lzma
import platform
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from parity.cases import GENERATORS, STRINGS, STRINGS_SEED, TEXTS, TOKENIZERS
from parity.pictures import CHOSEN, odd_pictures
from parity.sentences import odd_strings
from parity.speech import record_speech
from parity.tiny_models import make_models
from transformers import (
    AutoImageProcessor,
    AutoTokenizer,
    CLIPModel,
    LogitsProcessorList,
    RepetitionPenaltyLogitsProcessor,
    SiglipModel,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
    ViTForImageClassification,
)
from transformers.utils import logging

__all__ = ["record"]

FOLDER = Path(__file__).parents[1] / "references"
_VERSIONS = ("torch", "transformers", "tokenizers", "optimum-onnx", "onnxruntime", "numpy", "pillow")


def record(folder: Path, work: Path) -> None:
    """Write the references into ``folder``; the models, torch's too, stay in ``work``."""
    torch.set_num_threads(1)
    logging.set_verbosity_error()
    folder.mkdir(parents=True, exist_ok=True)
    make_models(work)
    about: dict[str, Any] = {
        "python": platform.python_version(),
        "versions": {name: importlib.metadata.version(name) for name in _VERSIONS},
    }
    with torch.no_grad():
        arrays = {
            "vit": _record_classifier(work / "vit" / "torch"),
            "clip": _record_dual(CLIPModel, work / "clip" / "torch", about),
            "siglip": _record_dual(SiglipModel, work / "siglip" / "torch", about),
            "strings": _record_strings(work),
            "sampling": _record_sampling(),
        }
        for name in GENERATORS:
            source = work / name / "torch"
            levels, pixels = _preprocess(source)
            speech, ends = record_speech(name, source, pixels[list(CHOSEN)])
            arrays[name] = {"pixels": levels, **speech}
            about[name] = {"ends": ends}
    for name, values in arrays.items():
        np.savez_compressed(folder / f"{name}.npz", allow_pickle=False, **values)
    (folder / "about.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
    _pack(work, folder / "models.tar.xz")


def _preprocess(source: Path) -> tuple[NDArray[np.uint8], torch.Tensor]:
    """Return what the processor makes of the pictures, as uint8 before and float32 after normalisation."""
    processor = AutoImageProcessor.from_pretrained(source, use_fast=False)
    # Said, because it takes a side of 1 or 3 px for the channels.
    pixels = processor(odd_pictures(), input_data_format="channels_last", return_tensors="np")["pixel_values"]
    mean, std = (
        np.asarray(values, np.float32)[:, None, None]
        for values in (processor.image_mean, processor.image_std)
    )
    levels = (pixels * std + mean) * 255
    assert np.abs(levels - levels.round()).max() < 1e-3, "the resized picture is no longer of whole levels"
    return levels.round().astype(np.uint8), torch.from_numpy(pixels)


def _record_classifier(source: Path) -> dict[str, NDArray[Any]]:
    levels, pixels = _preprocess(source)
    return {
        "pixels": levels,
        "logits": ViTForImageClassification.from_pretrained(source)(pixels).logits.numpy(),
    }


def _record_dual(kind: type[Any], source: Path, about: dict[str, Any]) -> dict[str, NDArray[Any]]:
    levels, pixels = _preprocess(source)
    model, tokenizer = kind.from_pretrained(source), AutoTokenizer.from_pretrained(source)
    # As their model cards say: SigLIP was trained with all texts padded to its full length.
    padding = "max_length" if kind is SiglipModel else True
    read = tokenizer(list(TEXTS), padding=padding, truncation=True, return_tensors="pt")
    inputs = {"input_ids": read.input_ids}
    if kind is CLIPModel:
        inputs["attention_mask"] = read.attention_mask
    result = model(pixel_values=pixels, **inputs)
    about[source.parent.name] = {
        "scale": float(model.logit_scale.exp()),
        "bias": float(model.logit_bias) if kind is SiglipModel else 0.0,
    }
    names = ("logits_per_image", "image_embeds", "text_embeds")
    return {"pixels": levels} | {name: result[name].numpy() for name in names}


def _record_strings(work: Path) -> dict[str, NDArray[Any]]:
    """Return, for each tokenizer, all ids in a row and how many belong to each string.

    ``<name>`` with special tokens around the text and read in it; ``<name>_plain`` without both.
    """
    strings = odd_strings(STRINGS, STRINGS_SEED)
    arrays = {}
    for name in TOKENIZERS:
        tokenizer = AutoTokenizer.from_pretrained(work / name / "torch")
        for key, options in {
            name: {},
            f"{name}_plain": {"add_special_tokens": False, "split_special_tokens": True},
        }.items():
            ids = tokenizer(strings, **options).input_ids
            arrays[key] = np.asarray([one for row in ids for one in row], np.int16)
            arrays[f"{key}_lengths"] = np.asarray([len(row) for row in ids], np.int16)
    return arrays


def _record_sampling() -> dict[str, NDArray[Any]]:
    """Return logits, what was said before, and the logits after each processor, and after all of them."""
    rng = np.random.default_rng(3)
    logits = (rng.normal(size=(8, 60)) * 3).astype(np.float32)
    # The fifth greatest twice: both stay, or neither.
    for row in logits:
        order = row.argsort()
        row[order[-6]] = row[order[-5]]
    said = torch.from_numpy(rng.integers(0, 60, (8, 7)))
    processors = {
        "repetition_penalty": RepetitionPenaltyLogitsProcessor(1.3),
        "temperature": TemperatureLogitsWarper(0.7),
        "top_k": TopKLogitsWarper(5),
        "top_p": TopPLogitsWarper(0.8),
    }
    shaped = {name: one(said, torch.from_numpy(logits.copy())).numpy() for name, one in processors.items()}
    together = LogitsProcessorList(processors.values())(said, torch.from_numpy(logits.copy())).numpy()
    return {"logits": logits, "said": said.numpy(), **shaped, "all": together}


def _pack(work: Path, archive: Path) -> None:
    """Pack the ONNX folders: no dates, no owners, one order."""
    with lzma.open(archive, "wb", preset=9) as packed, tarfile.open(fileobj=packed, mode="w") as tar:
        for file in sorted(work.glob("*/onnx/*")):
            entry = tarfile.TarInfo(f"{file.parents[1].name}/{file.name}")
            entry.size = file.stat().st_size
            with file.open("rb") as content:
                tar.addfile(entry, content)


def main() -> None:
    """Record into ``tests/references``."""
    if sys.flags.hash_randomization:
        raise SystemExit("the merged decoder's nodes come in hash order: set PYTHONHASHSEED=0")
    with tempfile.TemporaryDirectory() as work:
        record(FOLDER, Path(work))


if __name__ == "__main__":
    main()
