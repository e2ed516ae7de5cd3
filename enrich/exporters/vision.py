"""The graph from pixels to one output: encoders and classifiers of pictures of one size."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from enrich.exporters.samples import OTHERS, TRACED, pixels
from enrich.exporters.tracing import module_of, trace

__all__ = ["export_vision"]


def export_vision(
    model: nn.Module, see: Callable[[Tensor], Tensor], config: Any, graph: Path, output: str
) -> float:
    """Write a graph that takes ``pixel_values``, float32, (B, C, H, W).

    Parameters
    ----------
    model : torch.nn.Module
        Whose weights they are.
    see : callable
        What it does, from the pixels to the output.
    config : transformers.PretrainedConfig
        Says how large the pictures are.
    graph : Path
        The .onnx file.
    output : str
        What comes out is called so.

    Returns
    -------
    float
        How far it was from torch at most, as a share of torch's largest number.

    Raises
    ------
    Refused
        The graph is not what torch's model is. Not retryable.
    """
    return trace(
        module_of(model, see),
        graph,
        {"pixel_values": pixels(TRACED.batch, config)},
        [output],
        {"pixel_values": {0: "batch"}, output: {0: "batch"}},
        others=[{"pixel_values": pixels(size.batch, config)} for size in OTHERS],
        by_script=True,
    )
