"""The folder of a drawings model: graphs with weights stored in half precision, and a manifest."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper

__all__ = ["MODELS_DIR", "halve", "round_weights", "write_manifest"]

MODELS_DIR = Path(__file__).parents[1] / "enrich" / "drawings" / "models"

# Smaller ones (biases, scales) are not worth a node each.
_SMALLEST = 256


def round_weights(model: torch.nn.Module) -> None:
    """Round all weights to what half precision holds, so that storing them so changes nothing."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.half().float())


def halve(graph: Path, target: Path) -> None:
    """Store a graph's large weights as float16; they are cast back once, when a session is opened."""
    model = onnx.load(graph)
    _halve_graph(model.graph)
    target.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, target)


def _halve_graph(graph: onnx.GraphProto) -> None:
    casts = []
    for index, tensor in enumerate(graph.initializer):
        if tensor.data_type == onnx.TensorProto.FLOAT and np.prod(tensor.dims) >= _SMALLEST:
            name = tensor.name
            values = numpy_helper.to_array(tensor).astype(np.float16)
            graph.initializer[index].CopyFrom(numpy_helper.from_array(values, f"{name}_half"))
            casts.append(
                onnx.helper.make_node(
                    "Cast",
                    [f"{name}_half"],
                    [name],
                    to=onnx.TensorProto.FLOAT,
                )
            )
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                _halve_graph(attribute.g)


def write_manifest(folder: Path, files: tuple[str, ...], **facts: Any) -> None:
    """Write manifest.json over the files of a model's folder."""
    manifest = {"name": folder.name, "revision": "1", "licence": "Apache-2.0", "knows": "drawings only"}
    manifest |= facts | {"files": [_entry(folder / name) for name in files]}
    (folder / "manifest.json").write_text(
        json.dumps(manifest, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
    )


def _entry(file: Path) -> dict[str, str | int]:
    content = file.read_bytes()
    return {"path": file.name, "sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
