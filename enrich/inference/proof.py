"""The proof that a model runs on a device: loaded, asked once, closed, with time and memory."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass

from enrich.inference.devices import Device
from enrich.inference.families import open_model, try_out
from enrich.inference.memory import device_bytes, give_back, resident_bytes
from enrich.inference.stored import StoredModel

__all__ = ["Proof", "prove"]


@dataclass(frozen=True, slots=True)
class Proof:
    """What it took to load a model and to ask it once.

    Parameters
    ----------
    provider : str
        The execution provider that was in use.
    load_seconds, run_seconds : float
        How long it took to load it, and to ask it.
    taken_bytes, given_back_bytes : int
        What this process held more afterwards, and what of it came back when the model was closed.
    device_bytes : int or None
        What an NVIDIA device held more, of all processes; None where it is not asked.
    """

    provider: str
    load_seconds: float
    run_seconds: float
    taken_bytes: int
    given_back_bytes: int
    device_bytes: int | None


def prove(model: StoredModel, device: Device, *, threads: int | None = None) -> Proof:
    """Load a model, run a grey picture through it, and close it.

    Raises
    ------
    ExtraMissing, ManifestError, ProviderError, InferenceError, UsageError
        It cannot be loaded, or not be asked. Not retryable.
    """
    on_device = _device_bytes(device)
    before, started = resident_bytes(), time.perf_counter()
    with contextlib.closing(open_model(model, device, threads=threads)) as opened:
        loaded = time.perf_counter()
        try_out(opened)
        ended = time.perf_counter()
        taken, provider = resident_bytes() - before, opened.provider
        now = _device_bytes(device)
        more = None if now is None or on_device is None else now - on_device
    del opened
    give_back()
    kept = resident_bytes() - before
    return Proof(provider, loaded - started, ended - loaded, taken, taken - kept, more)


def _device_bytes(device: Device) -> int | None:
    return device_bytes(device.index) if device.kind in ("auto", "cuda") else None
