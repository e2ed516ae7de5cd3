"""Where models run: the device words of config.yaml and what they mean to ONNX Runtime."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from enrich.errors import ConfigError

__all__ = ["Device", "DeviceKind", "candidates", "parse_device"]

DeviceKind = Literal["auto", "cpu", "openvino", "cuda"]

_PROVIDERS = {
    "cuda": "CUDAExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "cpu": "CPUExecutionProvider",
}


@dataclass(frozen=True, slots=True)
class Device:
    """A place to run models.

    Parameters
    ----------
    kind : {"auto", "cpu", "openvino", "cuda"}
        ``auto`` is the best that works: cuda, else openvino, else cpu.
    index : int
        Which CUDA device.
    """

    kind: DeviceKind
    index: int = 0

    def __str__(self) -> str:
        return f"{self.kind}:{self.index}" if self.index else self.kind

    @property
    def provider(self) -> str:
        """The execution provider that must be in use; ``auto`` has none of its own."""
        return _PROVIDERS[self.kind]

    @property
    def provider_options(self) -> dict[str, Any]:
        if self.kind == "cuda":
            # The default doubles the arena with each extension and never gives it back.
            return {"device_id": str(self.index), "arena_extend_strategy": "kSameAsRequested"}
        return {}


def parse_device(text: str) -> Device:
    """Read ``auto``, ``cpu``, ``openvino``, ``cuda`` or ``cuda:N``.

    Raises
    ------
    ConfigError
        It is none of them. Not retryable.
    """
    match = re.fullmatch(r"(auto|cpu|openvino|cuda)|cuda:(\d+)", text)
    if match is None:
        raise ConfigError(f'device: "{text}" is none of auto, cpu, openvino, cuda, cuda:0')
    if match[2] is not None:
        return Device("cuda", int(match[2]))
    kinds: dict[str, DeviceKind] = {"auto": "auto", "cpu": "cpu", "openvino": "openvino", "cuda": "cuda"}
    return Device(kinds[match[1]])


def candidates(device: Device, available: Sequence[str]) -> list[Device]:
    """Return the devices to try in turn, given the providers that the installed wheel was built with.

    ``auto`` leaves out what the wheel cannot do; any other device stands for itself alone.
    """
    if device.kind != "auto":
        return [device]
    ranked = (Device("cuda"), Device("openvino"), Device("cpu"))
    return [one for one in ranked if one.provider in available]
