"""Why an execution provider is not in use: ONNX Runtime itself says so on stderr at best, and runs on."""

from __future__ import annotations

import ctypes
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from enrich.inference.devices import Device

__all__ = ["misfit", "missing_library", "unsupported_precision"]

#: The library that ONNX Runtime would load for a provider, beside its own.
_LIBRARIES = {
    "CUDAExecutionProvider": "libonnxruntime_providers_cuda.so",
    "TensorrtExecutionProvider": "libonnxruntime_providers_tensorrt.so",
}
#: Flags of /proc/cpuinfo, one of which a precision needs; without it OpenVINO quietly computes in f32.
_PRECISION_FLAGS: Mapping[str, Collection[str]] = {
    "bf16": ("avx512_bf16", "amx_bf16"),
    "f16": ("avx512_fp16", "amx_fp16"),
}
_CPUINFO = Path("/proc/cpuinfo")


def missing_library(runtime: Any, provider: str) -> str | None:
    """Return why a provider's library cannot be loaded, as the loader says it; None if it can be.

    Ask only after the runtime tried itself: it prepares what such a library needs.
    """
    name = _LIBRARIES.get(provider)
    library = Path(runtime.__file__).parent / "capi" / (name or "")
    if name is None or not library.is_file():
        return None
    try:
        ctypes.CDLL(str(library))
    except OSError as error:
        return str(error)
    return None


def misfit(runtime: Any, device: Device) -> str | None:
    """Return why OpenVINO would not do what the configuration asks of it; None if nothing is known.

    It takes names of devices that are not there, and precisions that the CPU lacks, without a word.
    """
    if device.kind != "openvino":
        return None
    said = device.options.openvino
    state = getattr(getattr(runtime, "capi", None), "_pybind_state", None)
    found: list[str] = getattr(state, "get_available_openvino_device_ids", list)()
    # With one GPU it is called GPU, with several GPU.0 and so on; both mean the first.
    names = {*found, *(name.partition(".")[0] for name in found)}
    if names and not {said.device_type, said.device_type.removesuffix(".0")} & names:
        return f"OpenVINO has no device {said.device_type} here; it has: {', '.join(sorted(found))}"
    if said.device_type == "CPU" and _CPUINFO.is_file():
        return unsupported_precision(said.precision, _CPUINFO.read_text(encoding="utf-8"))
    return None


def unsupported_precision(precision: str, cpuinfo: str) -> str | None:
    """Return why a CPU cannot compute in ``precision`` by its /proc/cpuinfo; None if it can, or is silent."""
    flags = next((line for line in cpuinfo.splitlines() if line.startswith("flags")), None)
    needed = _PRECISION_FLAGS.get(precision)
    if flags is None or needed is None or set(needed) & set(flags.split()):
        return None
    return (
        f"this CPU does not compute in {precision} (it has none of {', '.join(needed)}); say precision: f32"
    )
