"""The demo's steps: those for which everything needed is installed."""

from __future__ import annotations

import copy
import importlib.util
from pathlib import Path
from typing import Any

import click

__all__ = ["choose_steps"]

#: The steps, and the packages they need besides the base install.
_ONNX = ("onnxruntime",)
_SPEAKING = ("onnxruntime", "tokenizers")
_STEPS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "caption": ({"plugin": "caption", "model": "drawings-vlm", "lang": "en"}, _SPEAKING),
    "facts": (
        {
            "plugin": "answer",
            "model": "drawings-vlm",
            "questions": {
                "people": {"ask": "How many people are in the picture?", "type": "number"},
                "circle": {"ask": "Is there a circle?", "type": "boolean"},
            },
        },
        _SPEAKING,
    ),
    "age": ({"plugin": "age", "model": "drawings-age"}, _ONNX),
    "tags": (
        {
            "plugin": "tags",
            "model": "drawings-clip",
            "vocabulary": "vocabulary.txt",
            "threshold": 0.15,
            "limit": 3,
        },
        _SPEAKING,
    ),
    "colors": ({"plugin": "colors"}, ()),
    "quality": ({"plugin": "quality"}, ()),
    "ocr": ({"plugin": "ocr"}, ("onnxruntime", "rapidocr")),
}


def choose_steps(*names: str) -> dict[str, dict[str, Any]]:
    """Return those of the named steps that can run here, and say which cannot."""
    chosen: dict[str, dict[str, Any]] = {}
    left_out: dict[str, list[str]] = {}
    for name in names:
        step, packages = _STEPS[name]
        missing = _find_missing(packages, step.get("model"))
        if missing is None:
            chosen[name] = copy.deepcopy(step)
        else:
            left_out.setdefault(missing, []).append(name)
    for missing, left in left_out.items():
        click.echo(f"(left out: {missing}, so there is no step {', '.join(left)})")
    return chosen


def _find_missing(packages: tuple[str, ...], model: str | None) -> str | None:
    import enrich.drawings

    for package in packages:
        if importlib.util.find_spec(package) is None:
            return f"{package} is not installed"
    if model and not (Path(enrich.drawings.__file__).parent / "models" / model).is_dir():
        return f"the model {model} is not there"
    return None
