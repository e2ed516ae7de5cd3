"""Make the tiny vision-language models and record what transformers says: ``tests/references/vlm``.

    PYTHONPATH=.:tests python -m parity.vlm.record [ARCHITECTURE ...]

runs in the export environment with transformers 5. Each architecture is a module of this package with

``make(folder)``
    writes ``folder/torch`` and ``folder/onnx``;
``record(folder)``
    returns the reference's numbers by name;
``processor(folder)``, where the model has a chat template
    returns transformers' processor, which is then asked for the tokens of ``random_conversations``.

``<architecture>.npz`` are the numbers (``conversations``: a digest of each prompt; ``logits``: after the
first of them), ``<architecture>.tar.xz`` the ONNX folder, and ``about.json`` the versions.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import itertools
import json
import lzma
import platform
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from parity.pictures import odd_pictures
from parity.vlm.conversations import LOGITS, digests, random_conversations
from PIL import Image
from transformers import AutoModelForImageTextToText
from transformers.utils import logging

__all__ = ["ARCHITECTURES", "FOLDER", "record"]

ARCHITECTURES = (
    *("florence2", "idefics3", "llava", "llava_next", "llava_siglip", "qwen2_5_vl", "qwen2_vl", "smolvlm"),
)
FOLDER = Path(__file__).parents[2] / "references" / "vlm"
_VERSIONS = ("torch", "transformers", "tokenizers", "onnx", "onnxscript", "onnxruntime", "numpy", "pillow")
_MAX_BYTES = 400_000


def record(folder: Path, work: Path, names: Sequence[str] = ARCHITECTURES) -> None:
    """Write the references of these architectures into ``folder``; the models stay in ``work``."""
    torch.set_num_threads(1)
    logging.set_verbosity_error()
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        module: Any = importlib.import_module(f"parity.vlm.{name}")
        place = work / name
        module.make(place)
        with torch.no_grad():
            numbers = module.record(place)
            if hasattr(module, "processor"):
                prompts = _prompts(module.processor(place))
                first = list(itertools.islice(prompts, LOGITS))
                read = (one["input_ids"][0].tolist() for one in itertools.chain(first, prompts))
                numbers["conversations"] = digests(list(read))
                numbers["logits"] = _logits(place / "torch", first)
        np.savez_compressed(folder / f"{name}.npz", allow_pickle=False, **numbers)
        _pack(place / "onnx", folder / f"{name}.tar.xz")
        _say(folder, name)
    about = {
        "python": platform.python_version(),
        "versions": {one: importlib.metadata.version(one) for one in _VERSIONS},
    }
    (folder / "about.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")


def _prompts(processor: Any) -> Iterator[Any]:
    """Yield what a model is given of each random conversation."""
    pictures = [Image.fromarray(one) for one in odd_pictures()]

    def part(content: int | str) -> dict[str, Any]:
        if isinstance(content, int):
            return {"type": "image", "image": pictures[content]}
        return {"type": "text", "text": content}

    for conversation in random_conversations():
        messages = [
            {"role": role, "content": [part(one) for one in contents]} for role, contents in conversation
        ]
        yield processor.apply_chat_template(
            messages, tokenize=True, return_dict=True, add_generation_prompt=True, return_tensors="pt"
        )


def _logits(source: Path, prompts: Sequence[Any]) -> NDArray[np.float32]:
    """Return what may come next in each conversation: float32, (N, V)."""
    model = AutoModelForImageTextToText.from_pretrained(source).eval()
    return np.stack([model(**one).logits[0, -1].numpy() for one in prompts])


def _pack(source: Path, archive: Path) -> None:
    """Pack an ONNX folder: no dates, no owners, one order."""
    with lzma.open(archive, "wb", preset=9) as packed, tarfile.open(fileobj=packed, mode="w") as tar:
        for file in sorted(path for path in source.rglob("*") if path.is_file()):
            entry = tarfile.TarInfo(str(file.relative_to(source)))
            entry.size = file.stat().st_size
            with file.open("rb") as content:
                tar.addfile(entry, content)


def _say(folder: Path, name: str) -> None:
    sizes = {ending: (folder / f"{name}.{ending}").stat().st_size for ending in ("npz", "tar.xz")}
    sys.stdout.write(f"{name}: {', '.join(f'{ending} {size:,}' for ending, size in sizes.items())} bytes\n")
    too_large = [ending for ending, size in sizes.items() if size > _MAX_BYTES]
    if too_large:
        raise SystemExit(f"{name}: {', '.join(too_large)}: more than {_MAX_BYTES:,} bytes")


def main() -> None:
    """Record those that are named, or all."""
    with tempfile.TemporaryDirectory() as work:
        record(FOLDER, Path(work), sys.argv[1:] or ARCHITECTURES)


if __name__ == "__main__":
    main()
