"""The Pythons that exporters run in: virtual environments with torch, made when one is first needed.

Two, because optimum takes transformers up to 4.57 and the newer architectures need transformers 5. They
lie in the user's cache, named by what is pinned in them, and are shared by all that he exports.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from importlib import resources
from pathlib import Path

from enrich.errors import ConfigError, ExtraMissing
from enrich.exporters.recipes import EnvironmentName

__all__ = ["PACKAGES", "Say", "environments_folder", "python_of"]

#: Told in a line what is done now.
Say = Callable[[str], None]

#: What is installed, in this order: torch first, so that what follows fits it.
PACKAGES: Mapping[EnvironmentName, tuple[tuple[str, ...], ...]] = {
    "optimum": (("torch",), ("optimum-onnx[onnxruntime]", "transformers", "onnxscript", "pillow")),
    "torch": (("torch",), ("transformers", "onnx", "onnxruntime", "onnxscript", "pillow")),
}
_READY = ".ready"
_DIGEST_DIGITS = 12


def environments_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Return where environments are made: ``exporters`` in enrich's folder of the user's cache."""
    cache = environ.get("XDG_CACHE_HOME", "")
    # Source: XDG Base Directory Specification 0.8: a path that is not absolute is to be ignored.
    place = Path(cache) if os.path.isabs(cache) else Path.home() / ".cache"
    return place / "enrich" / "exporters"


def python_of(name: EnvironmentName, say: Say, environ: Mapping[str, str] = os.environ) -> Path:
    """Return the interpreter of an environment; make the environment if there is none.

    ``ENRICH_EXPORT_PYTHON_OPTIMUM`` and ``ENRICH_EXPORT_PYTHON_TORCH`` name interpreters to use instead.

    Raises
    ------
    ConfigError
        Such a variable names no interpreter. Not retryable.
    ExtraMissing
        The environment cannot be made. Not retryable.
    """
    variable = f"ENRICH_EXPORT_PYTHON_{name.upper()}"
    if environ.get(variable):
        python = Path(environ[variable]).expanduser()
        if not (python.is_file() and os.access(python, os.X_OK)):
            raise ConfigError(f"environment: {variable}: {python} is no Python interpreter")
        return python.absolute()
    folder = _folder(name, environ)
    try:
        with _alone(folder, say):
            if not (folder / _READY).exists():
                _make(name, folder, variable, say)
    except OSError as error:
        raise ExtraMissing(
            f"{folder}: the exporters' environment cannot be made there: {error.strerror or error}; set "
            f"XDG_CACHE_HOME to a disk with room, or {variable} to a Python that has what it needs"
        ) from error
    return folder / "bin" / "python"


def _folder(name: EnvironmentName, environ: Mapping[str, str]) -> Path:
    pinned = hashlib.sha256(_constraints(name).encode())
    # Other pins, or another Python, are another environment.
    pinned.update(f"{PACKAGES[name]} {sys.version_info[:2]} {sys.prefix}".encode())
    return environments_folder(environ) / f"{name}-{pinned.hexdigest()[:_DIGEST_DIGITS]}"


def _make(name: EnvironmentName, folder: Path, variable: str, say: Say) -> None:
    if folder.exists():
        say(f"{folder} was left unfinished: making it again")
        shutil.rmtree(folder)
    say(f"making the environment of the {name} exporters in {folder}: some GB, once")
    _run([sys.executable, "-m", "venv", str(folder)], "python -m venv", variable)
    constraints = folder / "constraints.txt"
    constraints.write_text(_constraints(name), encoding="utf-8")
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--disable-pip-version-check"]
    for packages in PACKAGES[name]:
        say(f"pip install {' '.join(packages)}")
        _run([*pip, "-c", str(constraints), *packages], f"pip install {' '.join(packages)}", variable)
    (folder / _READY).touch()


def _run(command: list[str], told: str, variable: str) -> None:
    """Run a command to its end; what it says last is what went wrong."""
    # Our own interpreter, venv and pip, with names that stand in this module.
    with subprocess.Popen(  # noqa: S603
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        assert process.stdout is not None
        lines = [line.strip() for line in process.stdout if line.strip()]
    if process.returncode:
        why = " / ".join([line for line in lines if line.startswith("ERROR:")] or lines[-1:])
        why = why or f"exit {process.returncode}"
        raise ExtraMissing(
            f"{told} failed: {why}; it needs the package index (pip's own settings, such as PIP_INDEX_URL, "
            "are obeyed) and some GB of disk; mend that and run it again, or set "
            f"{variable} to a Python that has what it needs"
        )


def _constraints(name: EnvironmentName) -> str:
    return (resources.files("enrich.exporters") / f"constraints-{name}.txt").read_text(encoding="utf-8")


@contextlib.contextmanager
def _alone(folder: Path, say: Say) -> Iterator[None]:
    """Wait until no other process is making the environment."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    # The file stays: taking it away would let two processes lock two files.
    with folder.with_name(f"{folder.name}.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another process is making the environment: waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
