"""The unit of `enrich serve` is that of `enrich watch` but for what differs; the image names what exists."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from enrich.cli import cli

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
UNIT = DEPLOY / "enrich-serve.service"


def settings_of(path: Path) -> set[str]:
    return {line for line in path.read_text().splitlines() if line and not line.startswith(("#", "["))}


def test_the_unit_differs_from_the_daemons_in_what_it_must() -> None:
    ours, daemons = settings_of(UNIT), settings_of(DEPLOY / "enrich-watch.service")
    assert {line.partition("=")[0] for line in daemons - ours} == {"Description", "ExecStart"}
    assert ours - daemons == {
        "Description=enrich, describes the pictures of watched folders and of clients over HTTP",
        "Conflicts=enrich-watch.service",
        "ExecStart=/opt/enrich/bin/enrich serve",
        "Environment=ENRICH_API__UPLOADS_DIR=/var/lib/enrich/uploads",
    }


def test_systemd_understands_every_line(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace("/opt/enrich/bin/enrich", sys.executable))
    command = ["systemd-analyze", "verify", "--man=no", str(copy)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    if "unrecognized option" in done.stderr:
        pytest.skip("this systemd-analyze is too old")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_image_copies_what_is_there_and_starts_a_command_that_exists() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.MULTILINE)
    names = [name for line in copied for name in line.split()]
    assert {"pyproject.toml", "enrich", "plugins", "migrations"} <= set(names)
    assert all((DEPLOY.parent / name).exists() for name in names)
    assert cli.get_command(click.Context(cli), "serve") is not None
    assert '\nCMD ["serve"]\n' in text
