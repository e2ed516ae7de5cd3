"""A loaded graph: an ONNX Runtime session that says what it takes, what it gives and where it runs."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from enrich.errors import InferenceError, ManifestError, ProviderError
from enrich.inference.batches import BUCKETS
from enrich.inference.devices import Device, candidates
from enrich.inference.runtime import install_line, load_runtime

__all__ = ["Port", "Session", "open_session"]

_log = logging.getLogger(__name__)

_DTYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8,
    "tensor(int8)": np.int8,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
    "tensor(bool)": np.bool_,
}
_HINTS = {"cuda": "; is there a driver, and its libraries? pip install 'onnxruntime-gpu[cuda,cudnn]'"}
# What a run refuses is raised as an InferenceError; the runtime would print it as well.
_NOTHING_BUT_FATAL = 4


@dataclass(frozen=True, slots=True)
class Port:
    """An input or output of a graph.

    Parameters
    ----------
    name : str
        As the graph has it.
    shape : tuple of int or None
        None where an axis is symbolic.
    dtype : numpy.dtype
        Its element type.
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: np.dtype[Any]


class Session:
    """A graph on one device; ``run`` may be called from any thread.

    Parameters
    ----------
    graph : Path
        The .onnx file.
    device : Device
        Not ``auto``; see ``open_session``.
    threads : int or None
        Threads within one operator on the CPU; None leaves it to ONNX Runtime, one per core.

    Raises
    ------
    ExtraMissing
        ONNX Runtime is not installed.
    ManifestError
        The graph cannot be loaded, or takes what we cannot give.
    ProviderError
        The device is not in use.

    None of them is retryable.
    """

    def __init__(self, graph: Path, device: Device, *, threads: int | None = None) -> None:
        self._graph = graph
        self._session = _create(graph, device, threads)
        self.provider: str = self._session.get_providers()[0]
        self.inputs = tuple(_port(graph, node) for node in self._session.get_inputs())
        self.outputs = tuple(_port(graph, node) for node in self._session.get_outputs())
        self.buckets = _buckets(graph, self.inputs)

    def run(self, feeds: Mapping[str, NDArray[Any]], outputs: Sequence[str]) -> list[NDArray[Any]]:
        """Run one batch.

        Parameters
        ----------
        feeds : mapping of str to ndarray
            An array per input, cast here to the input's dtype; names the graph lacks are left out
            (exporters drop unused inputs).
        outputs : sequence of str
            The outputs wanted.

        Raises
        ------
        InferenceError
            An input is missing, or ONNX Runtime refused the run. Not retryable.
        """
        missing = [port.name for port in self.inputs if port.name not in feeds]
        if missing:
            raise InferenceError(f"{self._graph.name}: no value for the input {', '.join(missing)}")
        cast = {port.name: np.asarray(feeds[port.name], port.dtype) for port in self.inputs}
        try:
            arrays: list[NDArray[Any]] = self._session.run(list(outputs), cast)
        # The runtime's exceptions share no class of their own below Exception.
        except Exception as error:
            raise InferenceError(
                f"{self._graph.name}: ONNX Runtime refused a run: {_one_line(error)}"
            ) from error
        return arrays


def open_session(graph: Path, device: Device, *, threads: int | None = None) -> Session:
    """Open a graph on a device; ``auto`` falls back, with a warning that says why, all others are strict.

    Raises
    ------
    ExtraMissing, ManifestError, ProviderError
        As ``Session`` does. Not retryable.
    """
    *better, last = candidates(device, load_runtime().get_available_providers())
    for one in better:
        try:
            return Session(graph, one, threads=threads)
        except ProviderError as error:
            _log.warning("%s", error)
    return Session(graph, last, threads=threads)


def _create(graph: Path, device: Device, threads: int | None) -> Any:
    runtime = load_runtime()
    if device.provider not in runtime.get_available_providers():
        extra = {"cuda": "gpu"}.get(device.kind, device.kind)
        raise ProviderError(
            f"device {device}: the installed ONNX Runtime has no {device.provider}: {install_line(extra)}"
        )
    try:
        session = runtime.InferenceSession(
            str(graph),
            _session_options(runtime, threads),
            providers=[(device.provider, device.provider_options)],
            # With it the runtime prints to stdout and runs on the CPU instead of raising.
            enable_fallback=0,
        )
    # The runtime's exceptions share no class of their own below Exception.
    except Exception as error:
        if device.kind == "cpu":
            raise ManifestError(f"{graph}: ONNX Runtime cannot load it: {_one_line(error)}") from error
        raise ProviderError(f"device {device} is not in use for {graph}: {_one_line(error)}") from error
    used = session.get_providers()
    if used[0] != device.provider:
        raise ProviderError(
            f"device {device} is not in use for {graph}: {device.provider} could not be started, "
            f"{used[0]} was{_HINTS.get(device.kind, '')}"
        )
    return session


def _session_options(runtime: Any, threads: int | None) -> Any:
    options = runtime.SessionOptions()
    options.log_severity_level = _NOTHING_BUT_FATAL
    # A pattern is kept for every input shape ever seen.
    options.enable_mem_pattern = False
    if threads is not None:
        options.intra_op_num_threads = threads
    return options


def _port(graph: Path, node: Any) -> Port:
    if node.type not in _DTYPES:
        raise ManifestError(f"{graph}: {node.name} is a {node.type}, known are {', '.join(_DTYPES)}")
    shape = tuple(axis if isinstance(axis, int) else None for axis in node.shape)
    return Port(node.name, shape, np.dtype(_DTYPES[node.type]))


def _buckets(graph: Path, inputs: Sequence[Port]) -> tuple[int, ...]:
    batches = {port.shape[0] if port.shape else None for port in inputs}
    if batches <= {None}:
        return BUCKETS
    if batches <= {None, 1}:
        return (1,)
    raise ManifestError(f"{graph}: its batch is fixed; export it with a symbolic batch, or with 1")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
