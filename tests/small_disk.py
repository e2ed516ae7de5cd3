"""A test on a file system of a few megabytes, which a process mounts in namespaces of its own."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

_NAMESPACES = ("unshare", "--user", "--map-root-user", "--mount")


def _can_mount() -> bool:
    if shutil.which("unshare") is None:
        return False
    mounting = [*_NAMESPACES, "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    return subprocess.run(mounting, capture_output=True).returncode == 0


needs_mounts = pytest.mark.skipif(
    not _can_mount(), reason="this system lets nobody mount in namespaces of their own"
)


def check_inside(script: str, name: str, folder: Path) -> None:
    """Run ``script name folder`` where it may mount, and fail with what it says if it fails."""
    done = subprocess.run(
        [*_NAMESPACES, sys.executable, script, name, str(folder)],
        capture_output=True,
        text=True,
        timeout=100,
        cwd=folder,
        env={"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "PYTHONPATH": str(Path(__file__).parent)},
    )
    assert done.returncode == 0, done.stdout + done.stderr


def mount(folder: Path, size_bytes: int) -> Path:
    """Return a new folder below ``folder`` that holds no more than this."""
    disk = folder / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "tmpfs", disk], check=True)
    return disk
