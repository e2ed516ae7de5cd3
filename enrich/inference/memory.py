"""The memory of this process and of an NVIDIA device, and how to give back what is no longer needed."""

from __future__ import annotations

import ctypes
import functools
import gc
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

__all__ = ["device_bytes", "give_back", "resident_bytes"]

_STATM = Path("/proc/self/statm")
_PATIENCE_SECONDS = 10


def resident_bytes() -> int:
    """Return what this process holds in RAM; 0 where the system does not tell."""
    try:
        pages = _STATM.read_text(encoding="ascii").split()[1]
    except OSError:
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def device_bytes(index: int = 0) -> int | None:
    """Return what an NVIDIA device has in use, of all processes; None where nvidia-smi does not tell."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    command = [program, f"--id={index}", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
    try:
        # Nothing in it is anybody's input.
        done = subprocess.run(  # noqa: S603
            command, capture_output=True, text=True, timeout=_PATIENCE_SECONDS, check=True
        )
        return int(done.stdout.strip()) * 2**20
    except (OSError, subprocess.SubprocessError, ValueError):
        return None


def give_back() -> None:
    """Return to the system what was let go of.

    Models and their schedulers point at each other, so they need the collector. And glibc keeps what a
    model freed: of a graph of 346 MB, 350 to 570 MB stayed resident without the trim, and 12 MB with it.
    """
    gc.collect()
    _trim()()


@functools.cache
def _trim() -> Callable[[], object]:
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):  # musl, macOS and Windows have none
        return lambda: None
    return lambda: trim(ctypes.c_size_t(0))
