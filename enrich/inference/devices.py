"""Where models run: the device words of config.yaml and what they mean to ONNX Runtime."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from enrich.errors import ConfigError
from enrich.sections import OpenVino, Providers, TensorRt

__all__ = ["Device", "DeviceKind", "candidates", "parse_device"]

DeviceKind = Literal["auto", "cpu", "openvino", "cuda"]

_PROVIDERS = {
    "cuda": "CUDAExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "cpu": "CPUExecutionProvider",
}
_TENSORRT = "TensorrtExecutionProvider"


@dataclass(frozen=True, slots=True)
class Device:
    """A place to run models.

    Parameters
    ----------
    kind : {"auto", "cpu", "openvino", "cuda"}
        ``auto`` is the best that works: cuda, else openvino, else cpu.
    index : int
        Which CUDA device.
    options : Providers
        How it is to be used, the section ``providers`` of config.yaml.
    """

    kind: DeviceKind
    index: int = 0
    options: Providers = field(default_factory=Providers, repr=False)

    def __str__(self) -> str:
        return f"{self.kind}:{self.index}" if self.index else self.kind

    @property
    def provider(self) -> str:
        """The execution provider that must be in use; ``auto`` has none of its own."""
        if self.kind == "cuda" and self.options.tensorrt.enabled:
            return _TENSORRT
        return _PROVIDERS[self.kind]

    def providers(self, threads: int | None = None) -> list[tuple[str, dict[str, str]]]:
        """Return what a session is given: execution providers with their options, the wanted one first.

        Parameters
        ----------
        threads : int or None
            Threads of OpenVINO, which has a pool of its own; None leaves it the choice.
        """
        if self.kind == "cuda":
            return [*self._tensorrt(), (_PROVIDERS["cuda"], self._cuda())]
        if self.kind == "openvino":
            return [(self.provider, _openvino(self.options.openvino, threads))]
        return [(self.provider, {})]

    def _cuda(self) -> dict[str, str]:
        options = {
            "device_id": str(self.index),
            # The default doubles the arena with each extension and never gives it back.
            "arena_extend_strategy": "kSameAsRequested",
            # On by default, and then a picture is not described as on the CPU, nor as by torch.
            "use_tf32": str(int(self.options.cuda.tf32)),
        }
        limit = self.options.cuda.memory_limit_bytes
        return options if limit is None else {**options, "gpu_mem_limit": str(limit)}

    def _tensorrt(self) -> list[tuple[str, dict[str, str]]]:
        said = self.options.tensorrt
        if not said.enabled:
            return []
        options = {"device_id": str(self.index), "trt_fp16_enable": str(said.fp16)}
        if said.cache_dir is not None:
            options |= {"trt_engine_cache_enable": "True", "trt_engine_cache_path": str(said.cache_dir)}
        return [(_TENSORRT, options)]


def parse_device(text: str, options: Providers | None = None) -> Device:
    """Read ``auto``, ``cpu``, ``openvino``, ``cuda`` or ``cuda:N``.

    Raises
    ------
    ConfigError
        It is none of them. Not retryable.
    """
    options = Providers() if options is None else options
    match = re.fullmatch(r"(auto|cpu|openvino|cuda)|cuda:(\d+)", text)
    if match is None:
        raise ConfigError(f'device: "{text}" is none of auto, cpu, openvino, cuda, cuda:0')
    if match[2] is not None:
        return Device("cuda", int(match[2]), options)
    kinds: dict[str, DeviceKind] = {"auto": "auto", "cpu": "cpu", "openvino": "openvino", "cuda": "cuda"}
    return Device(kinds[match[1]], options=options)


def candidates(device: Device, available: Sequence[str]) -> list[Device]:
    """Return the devices to try in turn, given the providers that the installed wheel was built with.

    ``auto`` leaves out what the wheel cannot do; any other device stands for itself alone.
    """
    if device.kind != "auto":
        return [device]
    options = device.options
    ranked = [Device("cuda", 0, options), Device("openvino", 0, options), Device("cpu", 0, options)]
    if options.tensorrt.enabled:
        ranked.insert(1, Device("cuda", 0, options.model_copy(update={"tensorrt": TensorRt()})))
    return [one for one in ranked if one.provider in available]


def _openvino(said: OpenVino, threads: int | None) -> dict[str, str]:
    # Said always: left to itself, the CPU plugin computes in bf16 wherever the CPU can, and
    # pictures would be described otherwise on another machine. Source: OpenVINO, "CPU device".
    config: dict[str, str] = {"INFERENCE_PRECISION_HINT": said.precision}
    if threads is not None and said.device_type == "CPU":
        config["INFERENCE_NUM_THREADS"] = str(threads)
    # The option is the JSON itself, by the device's name without its number, not a file's name.
    plugin = said.device_type.partition(".")[0]
    return {"device_type": said.device_type, "load_config": json.dumps({plugin: config})}
