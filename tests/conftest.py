"""Fixtures that every suite shares."""

import functools
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import forks
import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def eval_data() -> Path:
    """Real photographs, odd and broken files; they live beside the project and are never copied."""
    folder = Path(os.environ.get("ENRICH_EVAL_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "truth.jsonl").is_file():
        pytest.skip(f"no evaluation data at {folder} (set ENRICH_EVAL_DATA)")
    return folder


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test depends on the ENRICH_* variables of whoever runs it."""
    for name in list(os.environ):
        if name.startswith("ENRICH_") and name != "ENRICH_EVAL_DATA":
            monkeypatch.delenv(name)


@pytest.fixture
def enrich(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the command line in a process of its own, in ``tmp_path``: see ``forks.run``."""
    return functools.partial(forks.run, tmp_path)
