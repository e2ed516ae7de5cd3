"""Weights of 4 or 8 bits: matrix products rewritten to ONNX Runtime's MatMulNBits.

Only the weights are rounded, in blocks of 32 with a scale each; what flows through the graph stays
float32, so that a picture's numbers do not depend on what else is in its batch.

Source of the operator and its packing: ONNX Runtime, docs/ContribOperators.md, com.microsoft.MatMulNBits.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["BLOCK", "Bits", "copied", "names_read", "pack", "round_weights"]

#: How many weights of a column share a scale; the smallest that the runtime knows fast ways for.
BLOCK = 32
_DOMAIN = "com.microsoft"

Bits = Literal[4, 8]


@dataclass(frozen=True, slots=True)
class _Weight:
    """A constant of a graph, and the branch of a condition that it belongs to."""

    tensor: Any
    branch: str


def round_weights(model: Any, bits: Bits) -> int:
    """Rewrite every product of a graph with a constant float32 matrix, in place.

    Parameters
    ----------
    model : onnx.ModelProto
        With its weights loaded.
    bits : {4, 8}
        Of each weight.

    Returns
    -------
    int
        How many products there were; 0: the graph is as it was.
    """
    rounding = _Rounding(model.graph, bits)
    count = rounding.rewrite(model.graph, {}, {}, "")
    if count:
        _drop_unused(model.graph, set(names_read(model.graph)))
        if all(one.domain != _DOMAIN for one in model.opset_import):
            model.opset_import.append(_onnx().helper.make_opsetid(_DOMAIN, 1))
    return count


def pack(matrix: NDArray[np.float32], bits: Bits) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Round a matrix and pack it as MatMulNBits reads it.

    Parameters
    ----------
    matrix : ndarray
        float32, (K, N): what the products multiply with.
    bits : {4, 8}
        Of each weight.

    Returns
    -------
    packed : ndarray
        uint8, (N, blocks, BLOCK * bits / 8): ``round(w / scale) + 2 ** (bits - 1)``, of 4 bits two to a
        byte, the earlier one in the lower half.
    scales : ndarray
        float32, (N, blocks).
    """
    rows, columns = matrix.shape
    blocks = -(-rows // BLOCK)
    padded = np.zeros((columns, blocks * BLOCK), np.float32)
    padded[:, :rows] = matrix.T
    padded = padded.reshape(columns, blocks, BLOCK)
    middle = 1 << (bits - 1)
    # The weight farthest from 0 is met exactly: there is one step more below the middle than above it.
    farthest = np.take_along_axis(padded, np.abs(padded).argmax(-1, keepdims=True), -1)
    scales = farthest / -np.float32(middle)
    steps = np.divide(padded, scales, out=np.zeros_like(padded), where=scales != 0)
    levels = np.clip(np.rint(steps) + middle, 0, 2 * middle - 1).astype(np.uint8)
    if bits == 4:
        levels = levels[..., 0::2] | (levels[..., 1::2] << 4)
    return levels, scales[..., 0].astype(np.float32)


class _Rounding:
    """Rewrites the products of a graph and of the branches of its conditions.

    Parameters
    ----------
    outermost : onnx.GraphProto
        Where the rounded weights go, once each.
    bits : {4, 8}
        Of each weight.
    """

    def __init__(self, outermost: Any, bits: Bits) -> None:
        self._outermost = outermost
        self._bits = bits
        self._stored: dict[str, tuple[str, str]] = {}

    def rewrite(
        self, graph: Any, above: Mapping[str, _Weight], turned_above: Mapping[str, str], branch: str
    ) -> int:
        weights = {**above, **{one.name: _Weight(one, branch) for one in graph.initializer}}
        turned = {**turned_above, **dict(_turned(graph, weights))}
        nodes, count = [], 0
        for node in graph.node:
            for attribute in node.attribute:
                if attribute.type == _onnx().AttributeProto.GRAPH:
                    inner = f"{branch}{node.output[0]}/{attribute.name}/"
                    count += self.rewrite(attribute.g, weights, turned, inner)
            new = self._rounded(node, weights, turned)
            nodes += new or [node]
            count += bool(new)
        if count:
            nodes = [copied(node) for node in nodes]
            del graph.node[:]
            graph.node.extend(nodes)
        return count

    def _rounded(self, node: Any, weights: Mapping[str, _Weight], turned: Mapping[str, str]) -> list[Any]:
        """Return what stands in a product's place; nothing where it has no constant matrix."""
        if node.op_type not in ("MatMul", "Gemm") or len(node.input) < 2:
            return []
        weight = weights.get(turned.get(node.input[1], node.input[1]))
        is_turned = node.input[1] in turned
        if (
            weight is None
            or weight.tensor.data_type != _onnx().TensorProto.FLOAT
            or len(weight.tensor.dims) != 2
        ):
            return []
        if node.op_type == "Gemm":
            numbers = {one.name: _onnx().helper.get_attribute_value(one) for one in node.attribute}
            if numbers.get("transA") or numbers.get("alpha", 1.0) != 1.0 or numbers.get("beta", 1.0) != 1.0:
                return []
            is_turned ^= bool(numbers.get("transB"))
        rows, columns = reversed(weight.tensor.dims) if is_turned else weight.tensor.dims
        # Of shorter columns the scales would weigh more than what is saved.
        if rows < BLOCK:
            return []
        return self._nodes(node, self._store(weight, is_turned), rows, columns)

    def _store(self, weight: _Weight, is_turned: bool) -> tuple[str, str]:
        """Add a rounded matrix and its scales to the outermost graph, once; return their names."""
        helper = _onnx().numpy_helper
        name = f"{weight.branch}{weight.tensor.name}{'_turned' if is_turned else ''}_q{self._bits}"
        if name not in self._stored:
            matrix = helper.to_array(weight.tensor)
            arrays = pack(matrix.T if is_turned else matrix, self._bits)
            self._stored[name] = name, f"{name}_scales"
            for own, array in zip(self._stored[name], arrays, strict=True):
                self._outermost.initializer.append(helper.from_array(array, own))
        return self._stored[name]

    def _nodes(self, node: Any, names: tuple[str, str], rows: int, columns: int) -> list[Any]:
        helper, output = _onnx().helper, node.output[0]
        bias = node.input[2] if node.op_type == "Gemm" and len(node.input) > 2 else ""
        product = f"{output}_product" if bias else output
        numbers = {"K": rows, "N": columns, "bits": self._bits, "block_size": BLOCK}
        rounded = helper.make_node(
            "MatMulNBits", [node.input[0], *names], [product], name=node.name, domain=_DOMAIN, **numbers
        )
        return [rounded, *([helper.make_node("Add", [product, bias], [output])] if bias else [])]


def _turned(graph: Any, weights: Mapping[str, _Weight]) -> Iterator[tuple[str, str]]:
    """Find constants that are transposed before they are used: by the new name, the old one."""
    for node in graph.node:
        order = [list(attribute.ints) for attribute in node.attribute if attribute.name == "perm"]
        if node.op_type == "Transpose" and node.input[0] in weights and order in ([], [[1, 0]]):
            yield node.output[0], node.input[0]


def _drop_unused(graph: Any, used: set[str]) -> None:
    """Take out what nothing reads any more: turned weights, then weights."""
    unread = [node for node in graph.node if node.op_type == "Transpose" and node.output[0] not in used]
    for node in unread:
        graph.node.remove(node)
    if unread:
        used = set(names_read(graph)) | used - {name for node in unread for name in node.input}
    kept = [copied(weight) for weight in graph.initializer if weight.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == _onnx().AttributeProto.GRAPH:
                _drop_unused(attribute.g, used)


def names_read(graph: Any) -> Iterator[str]:
    """Return the name of all that a graph, and the branches of its conditions, read or put out."""
    yield from (output.name for output in graph.output)
    for node in graph.node:
        yield from node.input
        for attribute in node.attribute:
            if attribute.type == _onnx().AttributeProto.GRAPH:
                yield from names_read(attribute.g)


def copied(message: Any) -> Any:
    """Return a message of its own: what stands in a list of another one dies with the list."""
    copied = type(message)()
    copied.CopyFrom(message)
    return copied


def _onnx() -> Any:
    import onnx

    return onnx
