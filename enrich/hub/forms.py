"""Other forms of one graph: float16, static int8, and weights of 8 or 4 bits."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from enrich.errors import ConversionRefused, ExtraMissing
from enrich.hub.weights import Bits, copied, names_read, round_weights
from enrich.inference.runtime import load_runtime

__all__ = ["SUFFIXES", "Form", "check_tools", "write_float16", "write_rounded", "write_static"]

Form = Literal["fp16", "int8", "q4"]

#: What the names of graphs end with before ``.onnx``, as transformers.js has them.
SUFFIXES: dict[Form, str] = {"fp16": "_fp16", "int8": "_int8", "q4": "_q4"}
#: A protobuf file ends at 2 GB; from here on the weights go into a file beside the graph.
_INLINE_MAX_BYTES = 1_500_000_000
#: The caches of decoders go round from run to run; our code feeds them in the type that the graph has.
_CACHES = ("past_key_values.", "present.")
#: The first with a scale for each channel.
_OPSET_MIN, _IR_MIN = 13, 8
#: What is worth rounding; all else stays float32.
_STATIC_OPERATORS = ["Conv", "Gemm", "MatMul"]


def check_tools() -> None:
    """Raise unless what rewrites graphs is installed.

    Raises
    ------
    ExtraMissing
        It is not. Not retryable.
    """
    load_runtime()
    try:
        # Only whether it is there.
        import onnx  # noqa: F401
    except ImportError as error:
        raise ExtraMissing(f"quantising needs onnx ({error}): pip install 'enrich-dam[export]'") from error


def write_float16(source: Path, target: Path) -> bool:
    """Write a graph with float16 weights and arithmetic; what goes in and comes out stays float32.

    Only a decoder's cache becomes float16, which halves it.

    Returns
    -------
    bool
        Whether there was anything to change.

    Raises
    ------
    ConversionRefused
        The graph cannot be rewritten. Not retryable.
    """
    model = _load(source)
    graph = model.graph
    if not any(one.data_type == _onnx().TensorProto.FLOAT for one in graph.initializer):
        return False
    _separate(graph, {})
    _detach(graph)
    ports = [port.name for port in (*graph.input, *graph.output) if not port.name.startswith(_CACHES)]
    with _translated(source):
        from onnxruntime.transformers.float16 import convert_float_to_float16

        # Shapes are inferred in one protobuf message.
        is_large = source.stat().st_size + _beside(source) > _INLINE_MAX_BYTES
        model = convert_float_to_float16(model, keep_io_types=ports, disable_shape_infer=is_large)
    _save(model, target)
    return True


def write_rounded(source: Path, target: Path, bits: Bits) -> bool:
    """Write a graph with weights of 8 or 4 bits in its products; see ``enrich.hub.weights``.

    Returns
    -------
    bool
        Whether there was anything to change.
    """
    model = _load(source)
    if not round_weights(model, bits):
        return False
    _save(model, target)
    return True


def write_static(source: Path, target: Path, input_name: str, tensors: Sequence[NDArray[np.float32]]) -> bool:
    """Write a graph whose products and convolutions are int8 throughout, with the ranges seen in ``tensors``.

    Parameters
    ----------
    source, target : Path
        The float32 graph, and the one to write.
    input_name : str
        The graph's only input.
    tensors : sequence of ndarray
        float32, one picture each without the batch, prepared for the graph.

    Returns
    -------
    bool
        Whether there was anything to change.

    Raises
    ------
    ConversionRefused
        ONNX Runtime cannot quantise the graph. Not retryable.
    """
    model = _load(source)
    is_wide = any(one.data_type == _onnx().TensorProto.FLOAT for one in model.graph.initializer)
    if not is_wide or not any(node.op_type in _STATIC_OPERATORS for node in model.graph.node):
        return False
    with _translated(source):
        from onnxruntime.quantization import (
            CalibrationDataReader,
            QuantFormat,
            QuantType,
            quantize_static,
        )

        # The library is not typed.
        class Reader(CalibrationDataReader):  # type: ignore[misc]
            def __init__(self) -> None:
                self._feeds = iter({input_name: tensor[None]} for tensor in tensors)

            def get_next(self) -> dict[str, NDArray[np.float32]] | None:
                return next(self._feeds, None)

        quantize_static(
            model,
            str(target),
            Reader(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=_STATIC_OPERATORS,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            # Of 7 bits: processors with AVX2 and no VNNI add two products of 8 bits in 16, silently cut off.
            reduce_range=True,
            use_external_data_format=source.stat().st_size + _beside(source) > _INLINE_MAX_BYTES,
        )
    return True


def _load(source: Path) -> Any:
    with _translated(source):
        model = _modern(_onnx().load(source))
        _widen(model.graph)
        return model


def _modern(model: Any) -> Any:
    """Return a graph as newer exporters write it: old ones list their weights as inputs."""
    onnx = _onnx()
    weights = {one.name for one in model.graph.initializer}
    inputs = [copied(port) for port in model.graph.input if port.name not in weights]
    if len(inputs) < len(model.graph.input):
        del model.graph.input[:]
        model.graph.input.extend(inputs)
    model.ir_version = max(model.ir_version, _IR_MIN)
    version = max((one.version for one in model.opset_import if one.domain in ("", "ai.onnx")), default=0)
    if 0 < version < _OPSET_MIN:
        model = onnx.version_converter.convert_version(model, _OPSET_MIN)
    return model


def _widen(graph: Any) -> None:
    """Make float32 constants of those that are stored in float16 and cast before they are used.

    What rounds weights looks for float32, and for no cast between.
    """
    onnx = _onnx()
    weights = {one.name: one for one in graph.initializer if one.data_type == onnx.TensorProto.FLOAT16}
    nodes = []
    for node in graph.node:
        for branch in _branches(node):
            _widen(branch)
        to = [attribute.i for attribute in node.attribute if attribute.name == "to"]
        if node.op_type == "Cast" and node.input[0] in weights and to == [onnx.TensorProto.FLOAT]:
            wide = onnx.numpy_helper.to_array(weights[node.input[0]]).astype(np.float32)
            graph.initializer.append(onnx.numpy_helper.from_array(wide, node.output[0]))
        else:
            nodes.append(copied(node))
    if len(nodes) == len(graph.node):
        return
    del graph.node[:]
    graph.node.extend(nodes)
    used = set(names_read(graph))
    kept = [copied(one) for one in graph.initializer if one.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)


def _separate(graph: Any, above: Mapping[str, str]) -> None:
    """Give all that the branches of conditions make names of their own.

    Two branches may use one name for two things, which the float16 converter takes for one and the same.

    Parameters
    ----------
    graph : onnx.GraphProto
        Rewritten in place.
    above : mapping of str to str
        The new names, by the old, of what the graphs around it make.
    """
    for node in graph.node:
        for branch in _branches(node):
            made = {name for inner in branch.node for name in inner.output if name}
            made |= {one.name for one in branch.initializer}
            new = {**above, **{name: f"{node.output[0]}/{branch.name}/{name}" for name in made}}
            del branch.value_info[:]
            for one in (*branch.output, *branch.initializer):
                one.name = new.get(one.name, one.name)
            for inner in branch.node:
                inner.input[:] = [new.get(name, name) for name in inner.input]
                inner.output[:] = [new.get(name, name) for name in inner.output]
            _separate(branch, new)


def _detach(graph: Any) -> None:
    """Let constants that are put out go through an operator: the float16 converter casts what one gives."""
    onnx, constants = _onnx(), {one.name: one for one in graph.initializer}
    for output in graph.output:
        if output.name in constants:
            held = f"{output.name}_constant"
            constants[output.name].name = held
            for node in graph.node:
                node.input[:] = [held if name == output.name else name for name in node.input]
            graph.node.append(onnx.helper.make_node("Identity", [held], [output.name]))


def _branches(node: Any) -> list[Any]:
    return [one.g for one in node.attribute if one.type == _onnx().AttributeProto.GRAPH]


def _save(model: Any, target: Path) -> None:
    large = model.ByteSize() > _INLINE_MAX_BYTES
    options = {"save_as_external_data": True, "location": f"{target.name}.data"} if large else {}
    _onnx().save(model, target, **options)


def _beside(source: Path) -> int:
    """Return the bytes of the files with the graph's weights."""
    return sum(
        path.stat().st_size
        for path in source.parent.iterdir()
        if path.name.startswith(source.name) and path != source
    )


@contextlib.contextmanager
def _translated(source: Path) -> Iterator[None]:
    """Turn what the libraries raise into one error of ours, and keep their remarks to themselves."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    # onnx and the runtime's tools raise whatever comes.
    except Exception as error:
        why = " ".join(str(error).split())[:300]
        raise ConversionRefused(f"{source}: cannot be rewritten: {why}") from error
    finally:
        logging.disable(disabled)


def _onnx() -> Any:
    import onnx
    import onnx.version_converter

    return onnx
