"""Whoever types what docs/first-plugin.md says sees what it shows."""

import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import PIL.Image

PAGE = Path(__file__).resolve().parents[2] / "docs" / "first-plugin.md"

BLOCKS = re.findall(r"(?:`([\w/.]+)`[^\n]*:\n\n)?```(\w+)\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)


def shows(expected: str, output: str) -> bool:
    """Whether the output is as shown; ``...`` stands for anything."""
    parts = [" ".join(part.split()) for part in expected.split("...")]
    return re.fullmatch(".*".join(map(re.escape, parts)), " ".join(output.split())) is not None


def test_the_page_is_one_screen() -> None:
    assert len(PAGE.read_text().splitlines()) <= 60


def test_what_the_page_says_is_what_happens(
    tmp_path: Path, enrich: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    (tmp_path / "inbox").mkdir()
    PIL.Image.new("RGB", (4, 4), "black").save(tmp_path / "inbox" / "night.png")
    PIL.Image.new("RGB", (4, 4), "white").save(tmp_path / "inbox" / "day.png")
    ran = []
    for name, language, content in BLOCKS:
        if language != "console":
            path = tmp_path / name
            path.parent.mkdir(mode=0o755, exist_ok=True)
            path.write_text(content)
            continue
        for session in re.split(r"^\$ ", content, flags=re.MULTILINE)[1:]:
            command, _, expected = session.partition("\n")
            program, *arguments = shlex.split(command)
            assert program == "enrich"
            done = enrich(*arguments)
            assert done.returncode == 0, done.stderr
            assert shows(expected, done.stdout), done.stdout
            ran.append(arguments[0])
    assert ran == ["try", "run", "query"]
