"""The installed ONNX Runtime: which wheel, whether it works, and what is wrong with it.

``onnxruntime``, ``onnxruntime-gpu`` and ``onnxruntime-openvino`` unpack into one folder: the last
one installed wins, nothing says so, and removing one leaves the other broken.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import io
import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from enrich.errors import ExtraMissing

__all__ = ["RuntimeReport", "describe_runtime", "install_line", "load_runtime", "silent", "wheel_advice"]

_log = logging.getLogger(__name__)

#: The extra of each wheel; where several are installed, the first of them was meant.
_EXTRAS = {"onnxruntime-gpu": "gpu", "onnxruntime-openvino": "openvino", "onnxruntime": "cpu"}
_NVIDIA_FILES = (Path("/dev/nvidia0"), Path("/proc/driver/nvidia/version"))
_ONLY_ERRORS, _NOTHING_BUT_FATAL = 3, 4


@dataclass(frozen=True, slots=True)
class RuntimeReport:
    """What ``enrich doctor`` tells of ONNX Runtime.

    Parameters
    ----------
    version : str or None
        Of the module that is imported; None where it is missing or broken.
    wheels : mapping of str to str
        The installed distributions with their version; more than one is an error.
    providers : tuple of str
        What the wheel was built with. Whether one works is known from a session only.
    nvidia : bool
        An NVIDIA device is here.
    advice : tuple of str
        One sentence for each thing to mend, with the command.
    """

    version: str | None
    wheels: Mapping[str, str]
    providers: tuple[str, ...]
    nvidia: bool
    advice: tuple[str, ...]


@functools.cache
def load_runtime() -> Any:
    """Import ONNX Runtime, once, and return the module.

    Raises
    ------
    ExtraMissing
        No wheel is installed, or what is left of one is broken. Not retryable.
    """
    wheels = _installed_wheels()
    # The wheels of 1.31 report usage unless told not to before they are imported.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        import onnxruntime
    except ImportError as error:
        if not wheels:
            raise ExtraMissing(
                "models need ONNX Runtime: pip install 'enrich-dam[cpu]' (NVIDIA: [gpu], Intel: [openvino])"
            ) from error
        raise ExtraMissing(f"ONNX Runtime cannot be imported ({error}): {_reinstall(wheels)}") from error
    if not hasattr(onnxruntime, "InferenceSession"):
        raise ExtraMissing(f"ONNX Runtime is installed only in part: {_reinstall(wheels)}")
    for sentence in wheel_advice(wheels, nvidia=False):
        _log.warning(sentence)
    onnxruntime.set_default_logger_severity(_ONLY_ERRORS)
    if "onnxruntime-gpu" in wheels and hasattr(onnxruntime, "preload_dlls"):
        _preload(onnxruntime)
    return onnxruntime


def describe_runtime() -> RuntimeReport:
    """Look at the installed ONNX Runtime; raises nothing."""
    wheels, nvidia = _installed_wheels(), any(file.exists() for file in _NVIDIA_FILES)
    advice = wheel_advice(wheels, nvidia=nvidia)
    try:
        runtime = load_runtime()
    except ExtraMissing as error:
        return RuntimeReport(None, wheels, (), nvidia, (str(error), *advice))
    return RuntimeReport(
        runtime.__version__, wheels, tuple(runtime.get_available_providers()), nvidia, advice
    )


def wheel_advice(wheels: Mapping[str, str], *, nvidia: bool) -> tuple[str, ...]:
    """Return a sentence for each thing that is wrong with these wheels on such a machine.

    Parameters
    ----------
    wheels : mapping of str to str
        The installed distributions with their version.
    nvidia : bool
        An NVIDIA device is here.
    """
    if len(wheels) > 1:
        names = " and ".join(f"{name} {version}" for name, version in wheels.items())
        return (f"{names} overwrite each other, exactly one may be installed: {_reinstall(wheels)}",)
    if nvidia and wheels and "onnxruntime-gpu" not in wheels:
        return (f"an NVIDIA device is here and {next(iter(wheels))} cannot use it: {install_line('gpu')}",)
    return ()


@contextlib.contextmanager
def silent(runtime: Any) -> Iterator[None]:
    """Print nothing of what ONNX Runtime has to say of a provider that cannot be loaded.

    It writes coloured lines to stderr, beside the logs; whoever asks for the provider is told the reason.
    """
    runtime.set_default_logger_severity(_NOTHING_BUT_FATAL)
    try:
        yield
    finally:
        runtime.set_default_logger_severity(_ONLY_ERRORS)


def install_line(extra: str) -> str:
    """Return the shell line that leaves exactly the wheel of ``extra`` (cpu, gpu, openvino) installed."""
    return f"pip uninstall -y {' '.join(_EXTRAS)} && pip install 'enrich-dam[{extra}]'"


def _preload(runtime: Any) -> None:
    """Find the CUDA libraries that pip installed, which the system's loader would not.

    What could not be found is no complaint yet: nothing may want to run there, and whoever does
    is told the reason.
    """
    # It is printed, and stdout belongs to the command's result.
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        runtime.preload_dlls()
    for line in printed.getvalue().splitlines():
        _log.info("onnxruntime-gpu: %s", line)


def _reinstall(wheels: Mapping[str, str]) -> str:
    return install_line(next((extra for name, extra in _EXTRAS.items() if name in wheels), "cpu"))


def _installed_wheels() -> dict[str, str]:
    wheels = {}
    for name in _EXTRAS:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            wheels[name] = importlib.metadata.version(name)
    return wheels
