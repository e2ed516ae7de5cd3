"""Tiny ONNX graphs whose answer is known by heart, for tests of what runs them."""

import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

# Old enough for every ONNX Runtime that pyproject.toml allows.
OPSET, IR_VERSION = 17, 9


def save(path: Path, nodes: list, inputs: list, outputs: list, constants: dict | None = None) -> Path:
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(*one) for one in inputs],
        [helper.make_tensor_value_info(*one) for one in outputs],
        [numpy_helper.from_array(value, name) for name, value in (constants or {}).items()],
    )
    opset = [helper.make_opsetid("", OPSET)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=IR_VERSION), path)
    return path


def save_colour_means(
    path: Path,
    *,
    batch: int | str = "batch",
    dtype: int = TensorProto.FLOAT,
    nhwc: bool = False,
    side: int = 8,
) -> Path:
    """A classifier of three labels whose scores are the means of the three channels."""
    axes = (1, 2) if nhwc else (2, 3)
    shape = [batch, side, side, 3] if nhwc else [batch, 3, side, side]
    nodes = [helper.make_node("ReduceMean", ["pixels"], ["scores"], axes=axes, keepdims=0)]
    return save(path, nodes, [("pixels", dtype, shape)], [("scores", dtype, [batch, 3])])


def save_refusing(path: Path) -> Path:
    """Give back each item of (N, 1); a batch that holds a negative one is refused at run time."""
    nodes = [
        helper.make_node("Cast", ["x"], ["place"], to=TensorProto.INT64),
        helper.make_node("Gather", ["table", "place"], ["y"], axis=0),
    ]
    ports = [("x", TensorProto.FLOAT, ["n", 1])], [("y", TensorProto.FLOAT, ["n", 1])]
    # Gather takes -8..7 for a table of eight.
    return save(path, nodes, *ports, {"table": np.arange(8, dtype=np.float32)})


def write_model(folder: Path, **manifest: object) -> Path:
    """A model's folder around the colour means, reading plain 0..255 pixels unless told otherwise."""
    folder.mkdir(parents=True)
    save_colour_means(folder / "model.onnx")
    values = {
        "labels": ["red", "green", "blue"],
        "input": {"resize": {"height": 8, "width": 8}, "scale": 1},
        "output": {"activation": "none"},
        **manifest,
    }
    (folder / "manifest.json").write_text(json.dumps(values))
    return folder


def save_weighty(path: Path, megabytes: int) -> Path:
    """The colour means, after a product of matrices whose weights fill so many MB and change nothing."""
    side = 1024
    weights = np.zeros((side, side * megabytes // 4), np.float32)
    nodes = [
        helper.make_node("ReduceMean", ["pixels"], ["means"], axes=(2, 3), keepdims=0),
        helper.make_node("Pad", ["means", "pads"], ["wide"]),
        helper.make_node("MatMul", ["wide", "weights"], ["nothing"]),
        helper.make_node("ReduceSum", ["nothing"], ["zero"], keepdims=1),
        helper.make_node("Add", ["means", "zero"], ["scores"]),
    ]
    constants = {"pads": np.array([0, 0, 0, side - 3], np.int64), "weights": weights}
    ports = [("pixels", TensorProto.FLOAT, ["batch", 3, 8, 8])], [("scores", TensorProto.FLOAT, ["batch", 3])]
    return save(path, nodes, *ports, constants)
