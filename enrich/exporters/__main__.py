"""``python -m enrich.exporters SOURCE FOLDER``: export one model, and say how it goes in lines of JSON.

SOURCE is a folder as ``save_pretrained`` leaves it, with weights in safetensors; the graphs and, where
one must be made, tokenizer.json go to FOLDER. Each line of the output is an object with one key: ``said``
(what is done now), ``done`` (``figures``: how far each graph lies from torch; ``manifest``: what
manifest.json must say of it; ``versions``), or ``refused`` (why there is no export). No code but
transformers' own is run.
"""

from __future__ import annotations

import importlib
import inspect
import json
import os
import sys
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
import transformers
from torch import nn

from enrich.exporters.recipes import recipe_of
from enrich.exporters.tracing import Refused, quiet

_VERSIONS = ("torch", "transformers", "optimum-onnx", "onnx", "onnxscript")
_TOKENIZER = "tokenizer.json"
# What a tokenizer without a tokenizer.json is made of.
_SLOW = ("vocab.json", "vocab.txt", "spiece.model", "tokenizer.model")


def main(source: Path, folder: Path) -> dict[str, Any]:
    """Export a model; return what is done.

    Raises
    ------
    Refused
        It cannot be exported, or came out as something else. Not retryable.
    """
    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    found = recipe_of([str(name) for name in config.get("architectures") or []])
    if found is None:
        raise Refused(f"architectures: {config.get('architectures')}: there is no exporter for it")
    architecture, recipe = found
    _say({"said": f"loading {architecture}"})
    model = _load(architecture, source)
    exporter = importlib.import_module(f"enrich.exporters.{recipe.module}")
    size = sum(weight.numel() for weight in model.parameters()) / 1e6
    _say({"said": f"exporting {size:,.0f} million parameters and comparing the graphs with torch"})
    torch.manual_seed(0)
    figures = exporter.export(model, folder, **_options(exporter, source))
    if not figures:
        raise Refused(f"the exporter {recipe.module} compared nothing with torch")
    _make_tokenizer(source, folder)
    manifest = {"zero_shot": exporter.zero_shot(model)} if hasattr(exporter, "zero_shot") else {}
    return {"figures": figures, "manifest": manifest, "versions": _versions()}


def _load(architecture: str, source: Path) -> nn.Module:
    known = getattr(transformers, architecture, None)
    if known is None:
        raise Refused(f"transformers {transformers.__version__} has no {architecture}")
    try:
        with quiet():
            model = known.from_pretrained(
                source,
                dtype=torch.float32,
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
            )
    # OSError: a file is missing or broken; the others: the configuration is not what the class takes.
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise Refused(f"{source} cannot be loaded: {_one_line(error)}") from error
    return model.eval()


def _options(exporter: ModuleType, source: Path) -> dict[str, Any]:
    """Return what an exporter wants to know besides the model: the size of its pictures."""
    if "edge_px" not in inspect.signature(exporter.export).parameters:
        return {}
    for name in ("preprocessor_config.json", "processor_config.json"):
        if (source / name).is_file():
            values = json.loads((source / name).read_text(encoding="utf-8"))
            values = values.get("image_processor", values)
            size = values.get("crop_size") if values.get("do_center_crop") else values.get("size")
            if isinstance(size, dict) and size.get("height") and size.get("height") == size.get("width"):
                return {"edge_px": int(size["height"])}
    raise Refused(f"{source}: preprocessor_config.json does not say a size with equal height and width")


def _make_tokenizer(source: Path, folder: Path) -> None:
    if (source / _TOKENIZER).is_file() or not any((source / name).is_file() for name in _SLOW):
        return
    _say({"said": f"making {_TOKENIZER}"})
    with quiet():
        tokenizer = transformers.AutoTokenizer.from_pretrained(
            source, local_files_only=True, trust_remote_code=False
        )
    tokenizer.backend_tokenizer.save(str(folder / _TOKENIZER))


def _versions() -> dict[str, str]:
    found = {}
    for name in _VERSIONS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _say(line: dict[str, Any]) -> None:
    _out.write(json.dumps(line) + "\n")
    _out.flush()


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:600]


if __name__ == "__main__":
    # Libraries print as they like; the lines of this program are kept apart from theirs.
    _out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1))
    try:
        _say({"done": main(Path(sys.argv[1]), Path(sys.argv[2]))})
    except Refused as error:
        _say({"refused": str(error)})
        sys.exit(1)
