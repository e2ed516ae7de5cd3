"""A loaded graph: an ONNX Runtime session that says what it takes, what it gives and where it runs."""

from __future__ import annotations

import itertools
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
from enrich.inference.reasons import misfit, missing_library
from enrich.inference.runtime import install_line, load_runtime, silent

__all__ = ["Bound", "Port", "Session", "open_session"]

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
_HINTS = {
    "CUDAExecutionProvider": "; it needs NVIDIA's driver (libcuda), and CUDA and cuDNN: "
    "pip install 'onnxruntime-gpu[cuda,cudnn]'",
    "TensorrtExecutionProvider": "; it needs TensorRT (libnvinfer) beside CUDA and cuDNN, or "
    "providers.tensorrt.enabled: false",
}
# What a run refuses is raised as an InferenceError; the runtime would print it as well.
_NOTHING_BUT_FATAL = 4
#: How many runs it takes until one gives memory back: on CUDA that one has to wait for the device.
_RUNS_BETWEEN_SHRINKING = {"cpu": 1, "cuda": 256}
_MESSAGE_CHARS = 400


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


@dataclass(frozen=True, slots=True)
class Bound:
    """What a run gave.

    Parameters
    ----------
    arrays : list of ndarray
        The outputs that were wanted as arrays, in that order.
    kept : mapping of str to OrtValue
        The outputs that stayed where the graph runs.
    """

    arrays: list[NDArray[Any]]
    kept: Mapping[str, Any]


class Session:
    """A graph on one device; it may be run from any thread.

    Parameters
    ----------
    graph : Path
        The .onnx file.
    device : Device
        Not ``auto``; see ``open_session``.
    threads : int or None
        Threads within one operator on the CPU; None leaves it to ONNX Runtime, one per core.
    keeps_memory : bool
        Keep what a run needed for the next one; not for graphs whose shapes change all the time, each of
        which would keep its own: they give it back to the system.

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

    def __init__(
        self, graph: Path, device: Device, *, threads: int | None = None, keeps_memory: bool = True
    ) -> None:
        self.graph = graph
        self._session = _create(graph, device, threads, keeps_memory=keeps_memory)
        self._memory = ("cuda", device.index) if device.kind == "cuda" else ("cpu", 0)
        self._shrinking_every = 0 if keeps_memory else _RUNS_BETWEEN_SHRINKING.get(device.kind, 0)
        self._shrinking = _shrinking(device) if self._shrinking_every else None
        self._runs = itertools.count(1)
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
        self._check(feeds)
        cast = {port.name: np.asarray(feeds[port.name], port.dtype) for port in self.inputs}
        try:
            arrays: list[NDArray[Any]] = self._session.run(list(outputs), cast, self._options())
        # The runtime's exceptions share no class of their own below Exception.
        except Exception as error:
            raise self._refused(error) from error
        return arrays

    def run_bound(self, feeds: Mapping[str, Any], outputs: Sequence[str], kept: Sequence[str]) -> Bound:
        """Run one batch and leave some of the outputs where the graph runs, to be fed again.

        Parameters
        ----------
        feeds : mapping of str to ndarray or OrtValue
            As for ``run``; what a run or ``place`` left on the device is taken as it is.
        outputs : sequence of str
            The outputs wanted as arrays.
        kept : sequence of str
            The outputs wanted where they are.

        Raises
        ------
        InferenceError
            As ``run``. Not retryable.
        """
        self._check(feeds)
        try:
            # Held until the run is over: older runtimes only look at an array's memory and keep none of it.
            inputs = {port.name: self._placed(feeds[port.name], port.dtype) for port in self.inputs}
            binding = self._session.io_binding()
            for name, value in inputs.items():
                binding.bind_ortvalue_input(name, value)
            for name in outputs:
                binding.bind_output(name, "cpu")
            for name in kept:
                binding.bind_output(name, *self._memory)
            self._session.run_with_iobinding(binding, self._options())
            values = binding.get_outputs()
        # The runtime's exceptions share no class of their own below Exception.
        except Exception as error:
            raise self._refused(error) from error
        arrays = [value.numpy() for value in values[: len(outputs)]]
        return Bound(arrays, dict(zip(kept, values[len(outputs) :], strict=True)))

    def place(self, array: NDArray[Any], dtype: np.dtype[Any]) -> Any:
        """Return an array as an OrtValue where the graph runs, cast to ``dtype``."""
        values = load_runtime().OrtValue
        return values.ortvalue_from_numpy(np.ascontiguousarray(array, dtype), *self._memory)

    def _options(self) -> Any:
        """Return the options of the next run: none, or those that give memory back after it."""
        if self._shrinking is None or next(self._runs) % self._shrinking_every:
            return None
        return self._shrinking

    def _placed(self, value: Any, dtype: np.dtype[Any]) -> Any:
        return self.place(value, dtype) if isinstance(value, np.ndarray) else value

    def _check(self, feeds: Mapping[str, Any]) -> None:
        missing = [port.name for port in self.inputs if port.name not in feeds]
        if missing:
            raise InferenceError(f"{self.graph.name}: no value for the input {', '.join(missing)}")

    def _refused(self, error: Exception) -> InferenceError:
        return InferenceError(f"{self.graph.name}: ONNX Runtime refused a run: {_one_line(error)}")


def open_session(
    graph: Path, device: Device, *, threads: int | None = None, keeps_memory: bool = True
) -> Session:
    """Open a graph on a device; ``auto`` falls back, with a warning that says why, all others are strict.

    Raises
    ------
    ExtraMissing, ManifestError, ProviderError
        As ``Session`` does. Not retryable.
    """
    *better, last = candidates(device, load_runtime().get_available_providers())
    for one in better:
        try:
            return Session(graph, one, threads=threads, keeps_memory=keeps_memory)
        except ProviderError as error:
            _log.warning("%s", error)
    return Session(graph, last, threads=threads, keeps_memory=keeps_memory)


def _create(graph: Path, device: Device, threads: int | None, *, keeps_memory: bool) -> Any:
    runtime = load_runtime()
    wanted = device.provider
    if wanted not in runtime.get_available_providers():
        extra = {"cuda": "gpu"}.get(device.kind, device.kind)
        raise ProviderError(
            f"device {device}: the installed ONNX Runtime has no {wanted}: {install_line(extra)}"
        )
    reason = misfit(runtime, device)
    if reason is not None:
        raise ProviderError(f"device {device} is not in use for {graph}: {reason}")
    try:
        with silent(runtime):
            session = runtime.InferenceSession(
                str(graph),
                _session_options(runtime, threads, has_arena=keeps_memory or device.kind != "openvino"),
                providers=device.providers(threads),
                # With it the runtime prints to stdout and runs on the CPU instead of raising.
                enable_fallback=0,
            )
    # The runtime's exceptions share no class of their own below Exception.
    except Exception as error:
        if device.kind == "cpu":
            raise ManifestError(f"{graph}: ONNX Runtime cannot load it: {_one_line(error)}") from error
        reason = missing_library(runtime, wanted) or _one_line(error)
        raise ProviderError(_not_in_use(device, graph, reason)) from error
    used = session.get_providers()
    if used[0] != wanted:
        # No exception tells why, and it would just go on with the next one.
        reason = missing_library(runtime, wanted) or f"it could not be started ({used[0]} was)"
        raise ProviderError(_not_in_use(device, graph, reason))
    return session


def _not_in_use(device: Device, graph: Path, reason: str) -> str:
    hint = _HINTS.get(device.provider, "")
    return f"device {device} is not in use for {graph}: {device.provider}: {reason}{hint}"


def _shrinking(device: Device) -> Any:
    options = load_runtime().RunOptions()
    arenas = "cpu:0" if device.kind == "cpu" else f"gpu:{device.index};cpu:0"
    options.add_run_config_entry("memory.enable_memory_arena_shrinkage", arenas)
    return options


def _session_options(runtime: Any, threads: int | None, *, has_arena: bool) -> Any:
    options = runtime.SessionOptions()
    options.log_severity_level = _NOTHING_BUT_FATAL
    # A pattern is kept for every input shape ever seen.
    options.enable_mem_pattern = False
    # Without it each run takes its memory from malloc, which fits no large block into those let go of:
    # reading 870 tokens took 1.7 GB beside the weights of SmolVLM-256M; 0.3 GB with an arena that shrinks.
    options.enable_cpu_mem_arena = has_arena
    # Between runs its threads would turn on the spot, on cores that decoding and answering need.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    if threads is not None:
        options.intra_op_num_threads = threads
    return options


def _port(graph: Path, node: Any) -> Port:
    if node.type not in _DTYPES:
        raise ManifestError(f"{graph}: {node.name} is a {node.type}, known are {', '.join(_DTYPES)}")
    shape = tuple(axis if isinstance(axis, int) else None for axis in node.shape)
    return Port(node.name, shape, np.dtype(_DTYPES[node.type]))


def _buckets(graph: Path, inputs: Sequence[Port]) -> tuple[int, ...]:
    # M-RoPE's positions come as (3, B, S).
    batches = {port.shape[0] if port.shape else None for port in inputs if port.name != "position_ids"}
    if batches <= {None}:
        return BUCKETS
    if batches <= {None, 1}:
        return (1,)
    raise ManifestError(f"{graph}: its batch is fixed; export it with a symbolic batch, or with 1")


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    # OpenVINO's begin with the signatures of all that was called; the last words say what was wrong.
    return text if len(text) <= _MESSAGE_CHARS else f"{text[:80]} ... {text[80 - _MESSAGE_CHARS :]}"
