"""One function around torch's exporters to ONNX: names, free axes, one file of weights, and the proof.

A graph is only kept if ONNX Runtime says with it what torch says, at sizes other than those it was
traced with: exporters like to bake a size in, and say nothing.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor, nn

__all__ = [
    "APART_MAX",
    "OPSET",
    "Axes",
    "Refused",
    "Tensors",
    "apart",
    "compare",
    "module_of",
    "quiet",
    "run",
    "trace",
]

#: The newest that every ONNX Runtime we take (1.20 and later) knows, and torch's exporters write best.
OPSET = 18
#: How far a graph's numbers may lie from torch's, as a share of torch's largest: float32 rounds its way
#: through fifty layers to about 1e-4, and a size that was baked in shows as 1e-2 and more.
APART_MAX = 1e-3
#: A protobuf file ends at 2 GB; from here on the weights go into a file beside the graph.
_INLINE_MAX_BYTES = 1_500_000_000
# What a run refuses is raised; the runtime would print it as well.
_NOTHING_BUT_FATAL = 4

Axes: TypeAlias = Mapping[str, Mapping[int, str]]
Tensors: TypeAlias = Mapping[str, Tensor]


class Refused(Exception):
    """A graph is not what torch's model is; the message says where, on one line."""


def trace(
    module: nn.Module,
    graph: Path,
    inputs: Tensors,
    outputs: Sequence[str],
    axes: Axes,
    *,
    others: Sequence[Tensors],
    by_script: bool = False,
    reference: nn.Module | None = None,
) -> float:
    """Export a module and compare the graph with it.

    Parameters
    ----------
    module : nn.Module
        Takes the inputs by position and returns a tensor or a tuple of them; see ``module_of``.
    graph : Path
        The .onnx file; weights over 1.5 GB go to ``<graph>.data`` beside it.
    inputs : mapping of str to Tensor
        What to trace with, by the graph's names, in the module's order. Free axes are best 2 or longer,
        and of lengths that appear nowhere else in the model.
    outputs : sequence of str
        The names of what comes out.
    axes : mapping of str to mapping of int to str
        The free axes of inputs and outputs, with a name for each; equal names need not be equal sizes.
    others : sequence of mapping of str to Tensor
        Inputs of other sizes, another batch among them, to compare with; a cache of length 0 where there
        is a cache.
    by_script : bool
        Take the older of torch's two exporters, which writes smaller graphs, and cannot follow every model.
    reference : nn.Module or None
        What to compare the graph with, where ``module`` is the model written anew so that it can be
        traced; it takes and returns the same.

    Returns
    -------
    float
        The largest difference there was, as a share of torch's largest number.

    Raises
    ------
    Refused
        The graph does not run at other sizes, or says something else there. Not retryable.
    """
    assert others, "a graph that is not compared is not exported"
    graph.parent.mkdir(parents=True, exist_ok=True)
    module.eval()
    with quiet(), torch.no_grad():
        torch.onnx.export(
            module,
            tuple(inputs.values()),
            str(graph),
            input_names=list(inputs),
            output_names=list(outputs),
            opset_version=OPSET,
            **(_by_script(axes) if by_script else _by_dynamo(module, inputs, axes)),
        )
    _strip(graph)
    return compare(reference or module, graph, outputs, [inputs, *others])


def compare(module: nn.Module, graph: Path, outputs: Sequence[str], feeds: Sequence[Tensors]) -> float:
    """Run a graph and its module side by side; return the largest difference, as ``trace`` does.

    Raises
    ------
    Refused
        The graph does not run, or says something else. Not retryable.
    """
    session = _open(graph)
    largest = 0.0
    for inputs in feeds:
        with torch.no_grad():
            said = module(*inputs.values())
        expected = (said,) if isinstance(said, Tensor) else tuple(said)
        found = _run(session, graph, inputs, outputs)
        for name, ours, theirs in zip(outputs, found, expected, strict=True):
            largest = max(largest, apart(graph, name, ours, theirs, _sizes(inputs)))
    return largest


def run(graph: Path, inputs: Tensors, outputs: Sequence[str]) -> list[Tensor]:
    """Run a graph once.

    Raises
    ------
    Refused
        It does not run. Not retryable.
    """
    return _run(_open(graph), graph, inputs, outputs)


def apart(graph: Path, name: str, ours: Tensor, theirs: Tensor, where: str) -> float:
    """Return the largest difference of two outputs, as a share of torch's largest number.

    Raises
    ------
    Refused
        It is more than ``APART_MAX``, or the shapes differ. Not retryable.
    """
    if ours.shape != theirs.shape:
        raise Refused(
            f"{graph.name}: {name} has the shape {list(ours.shape)}, and torch's {list(theirs.shape)} "
            f"({where})"
        )
    if not theirs.numel():
        return 0.0
    if not theirs.isfinite().all():
        raise Refused(f"{graph.name}: {name}: torch's own numbers are not finite ({where})")
    largest = max(float(theirs.abs().max()), float(np.finfo(np.float32).tiny))
    difference = float((ours.double() - theirs.double()).abs().max()) / largest
    # Not the other way round: NaN is above nothing.
    if not difference <= APART_MAX:
        raise Refused(
            f"{graph.name}: {name} differs from torch's by {difference:.1e} of its largest number, more than "
            f"{APART_MAX:.0e} ({where})"
        )
    return difference


def module_of(model: nn.Module, forward: Callable[..., Any]) -> nn.Module:
    """Return a module over ``model``'s weights that runs ``forward``: exporters take no functions."""

    class Part(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, *inputs: Tensor) -> Any:
            return forward(*inputs)

    return Part().eval()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep exporters' remarks to themselves: shapes that became constants, deprecations, progress."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


def _by_script(axes: Axes) -> dict[str, Any]:
    return {"dynamo": False, "dynamic_axes": {name: dict(axis) for name, axis in axes.items()}}


def _by_dynamo(module: nn.Module, inputs: Tensors, axes: Axes) -> dict[str, Any]:
    size = sum(weight.numel() * weight.element_size() for weight in module.parameters())
    return {
        "dynamo": True,
        "dynamic_shapes": _shapes(module, [dict(axes.get(name, {})) for name in inputs]),
        "external_data": size > _INLINE_MAX_BYTES,
        "verbose": False,
    }


def _shapes(module: nn.Module, shapes: list[dict[int, str]]) -> tuple[Any, ...]:
    """Return the free axes as torch.export wants them: those of ``*inputs`` in a tuple of their own."""
    parameters = inspect.signature(module.forward).parameters.values()
    is_open = any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters)
    fixed = [one for one in parameters if one.kind is not one.VAR_POSITIONAL][: len(shapes)]
    if not is_open:
        return tuple(shapes)
    return (*shapes[: len(fixed)], tuple(shapes[len(fixed) :]))


def _strip(graph: Path) -> None:
    """Take out what the exporter tells of itself: paths of its machine, more than a small model weighs."""
    model = onnx.load(graph, load_external_data=False)
    body = model.graph
    for part in (model, body, *body.node, *body.value_info, *body.input, *body.output, *body.initializer):
        del part.metadata_props[:]
        # Not made empty: optimum does not find an empty remark equal to none.
        part.ClearField("doc_string")
    onnx.save(model, graph)


def _open(graph: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _NOTHING_BUT_FATAL
    options.intra_op_num_threads = torch.get_num_threads()
    return onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])


def _run(
    session: onnxruntime.InferenceSession, graph: Path, inputs: Tensors, outputs: Sequence[str]
) -> list[Tensor]:
    # Exporters drop inputs that change nothing.
    declared = {port.name for port in session.get_inputs()}
    arrays = {name: tensor.numpy() for name, tensor in inputs.items() if name in declared}
    try:
        return [torch.from_numpy(array) for array in session.run(list(outputs), arrays)]
    # The runtime's exceptions share no class of their own below Exception.
    except Exception as error:
        why = " ".join(str(error).split())
        raise Refused(f"{graph.name} does not run ({_sizes(inputs)}): {why}") from error


def _sizes(inputs: Tensors) -> str:
    return ", ".join(f"{name} {list(tensor.shape)}" for name, tensor in inputs.items())
