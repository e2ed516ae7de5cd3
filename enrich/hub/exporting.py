"""The exporter's process: started in its environment, listened to, and ended."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import enrich
from enrich.errors import ConversionRefused
from enrich.hub.environments import Say

__all__ = ["Exported", "run_exporter"]

#: What an exporter may know of its surroundings; tokens and proxies are none of its business.
_PASSED = ("HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "OMP_NUM_THREADS", "PATH", "TMPDIR")
_TAIL_CHARACTERS = 400
_END_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Exported:
    """What an exporter did.

    Parameters
    ----------
    figures : mapping of str to float
        How far each graph lies from torch, as a share of torch's largest number.
    manifest : mapping
        What manifest.json must say of the model besides.
    versions : mapping of str to str
        Of the packages that did it.
    """

    figures: Mapping[str, float]
    manifest: Mapping[str, Any]
    versions: Mapping[str, str]


def run_exporter(python: Path, source: Path, folder: Path, say: Say) -> Exported:
    """Run ``python -m enrich.exporters`` on a folder of weights.

    Parameters
    ----------
    python : Path
        An interpreter that has what the exporter needs.
    source, folder : Path
        The weights, and where the graphs go.
    say : callable
        Told in a line what is done now.

    Raises
    ------
    ConversionRefused
        The model cannot be exported, or its graphs do not say what torch says. Not retryable.
    """
    with tempfile.TemporaryDirectory(prefix="enrich-export-") as work:
        # This package alone: what lies beside it is of another environment.
        code = Path(work) / "code"
        code.mkdir()
        (code / "enrich").symlink_to(Path(enrich.__file__).resolve().parent, target_is_directory=True)
        command = [str(python), "-W", "ignore", "-m", "enrich.exporters", str(source), str(folder)]
        with (Path(work) / "stderr").open("w+", errors="replace") as complaints:
            # An interpreter of our own environment, or the one that the user named; the rest is ours.
            process = subprocess.Popen(  # noqa: S603
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=complaints,
                text=True,
                encoding="utf-8",
                cwd=work,
                env=_environment(code, Path(work)),
            )
            try:
                done, refused = _listen(process, say)
            except BaseException:
                process.terminate()
                raise
            finally:
                _wait(process)
            if refused is not None:
                raise ConversionRefused(refused)
            if done is None or process.returncode:
                complaints.seek(0)
                why = " ".join(complaints.read()[-_TAIL_CHARACTERS:].split())
                hint = _hint(process.returncode)
                raise ConversionRefused(
                    f"the exporter ended with {process.returncode} and no result{hint}: {why}"
                )
    return done


def _listen(process: subprocess.Popen[str], say: Say) -> tuple[Exported | None, str | None]:
    done, refused = None, None
    assert process.stdout is not None
    for text in process.stdout:
        try:
            line = json.loads(text)
            if "said" in line:
                say(str(line["said"]))
            elif "refused" in line:
                refused = str(line["refused"])
            else:
                done = _exported(line["done"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConversionRefused(
                f"the exporter said what is no line of its own: {text[:200]!r}"
            ) from error
    return done, refused


def _exported(values: Mapping[str, Any]) -> Exported:
    figures = {str(name): float(value) for name, value in values["figures"].items()}
    versions = {str(name): str(value) for name, value in values["versions"].items()}
    return Exported(figures, dict(values["manifest"]), versions)


def _environment(code: Path, work: Path) -> dict[str, str]:
    return {
        **{name: os.environ[name] for name in _PASSED if name in os.environ},
        "PYTHONPATH": str(code),
        "PYTHONNOUSERSITE": "1",
        # Another Python's byte code has no place in this package.
        "PYTHONDONTWRITEBYTECODE": "1",
        "HF_HOME": str(work),
        "HF_HUB_OFFLINE": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }


def _wait(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    process.stdout.close()
    try:
        process.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _hint(code: int) -> str:
    # The system's own way to end a process that takes all memory.
    return " (killed: was there memory enough?)" if code == -9 else ""
