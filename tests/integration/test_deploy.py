"""The files in deploy/: what systemd makes of the unit, and that the daemon can live as it says."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest
from watching import watching
from workplace import Workplace

from enrich.cli import cli
from enrich.errors import ConfigError
from enrich.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
UNIT = ROOT / "deploy" / "enrich-watch.service"
SYSCTL = ROOT / "deploy" / "99-enrich.conf"

#: Makes a folder read-only but for one below it, then becomes the rest of the command line.
HARDEN = """
set -e
mount --bind "$1" "$1"
mount --bind "$2" "$2"
mount -o remount,bind,ro "$1"
shift 2
exec "$@"
"""


def read_unit() -> dict[str, list[str]]:
    """The values of each key; a key may stand more than once."""
    values: dict[str, list[str]] = {}
    for line in UNIT.read_text().splitlines():
        if line and not line.startswith(("#", "[")):
            key, _, value = line.partition("=")
            values.setdefault(key, []).append(value)
    return values


VALUES = read_unit()
ENVIRONMENT = dict(line.split("=", 1) for line in VALUES["Environment"])


def only(key: str) -> str:
    (value,) = VALUES[key]
    return value


def systemd_analyze(folder: Path, *arguments: str) -> tuple[int, str]:
    """Let systemd judge the unit, with a program in it that is there."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    copy = folder / UNIT.name
    copy.write_text(UNIT.read_text().replace(only("ExecStart").split()[0], sys.executable))
    command = ["systemd-analyze", *arguments, str(copy)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    if "unrecognized option" in done.stderr:
        pytest.skip("this systemd-analyze is too old")
    return done.returncode, done.stdout + done.stderr


def test_systemd_understands_every_line(tmp_path: Path) -> None:
    code, said = systemd_analyze(tmp_path, "verify", "--man=no")
    assert code == 0, said
    # It warns of keys and values that it does not know, and of other units that are none of ours.
    assert [line for line in said.splitlines() if "enrich" in line] == []


def test_systemd_finds_little_that_the_daemon_could_harm(tmp_path: Path) -> None:
    # Of 100, by its own measure; a unit without any of this has 96.
    code, said = systemd_analyze(tmp_path, "security", "--offline=true", "--no-pager", "--threshold=20")
    assert code == 0, said


def test_the_unit_calls_a_command_that_exists() -> None:
    _, name, *options = only("ExecStart").split()
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    command.make_context(name, options, resilient_parsing=False)


def test_the_units_variables_are_ones_that_enrich_knows() -> None:
    page = (ROOT / "docs" / "configuration.md").read_text()
    ours = [name for name in ENVIRONMENT if name.startswith("ENRICH_")]
    assert ours
    for name in ours:
        assert name.removeprefix("ENRICH_").lower() in Settings.model_fields or f"`{name}" in page


def test_the_unit_leaves_time_to_drain_and_does_not_restart_what_stays_wrong() -> None:
    assert float(only("TimeoutStopSec")) > Settings().drain_seconds
    assert float(only("WatchdogSec")) > Settings().drain_seconds
    assert int(only("RestartPreventExitStatus")) == ConfigError.exit_code
    assert only("SuccessExitStatus") == "130"


def test_the_kernels_limits_have_names_that_the_kernel_knows() -> None:
    lines = [line for line in SYSCTL.read_text().splitlines() if line and not line.startswith("#")]
    assert lines
    for line in lines:
        match = re.fullmatch(r"fs\.inotify\.(max_\w+) = [1-9]\d+", line)
        assert match, line
        folder = Path("/proc/sys/fs/inotify")
        assert (folder / match[1]).exists() or not folder.exists()


def test_the_daemon_lives_where_it_may_write_its_state_and_nothing_else(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    harden = ["unshare", "-rm", "sh", "-c", HARDEN, "sh", str(tmp_path), str(state)]
    place = Workplace(tmp_path, f"sqlite:///{state / 'catalog.db'}")
    place.config["metrics"] = {"file": str(state / "enrich.prom")}
    place.draw("one.png")
    _check_hardening(harden, tmp_path, state)
    environment = {
        name: value.replace(only("WorkingDirectory"), str(state)).replace("/etc/enrich", str(tmp_path))
        for name, value in ENVIRONMENT.items()
    }
    with watching(place, "-v", before=harden, environment=environment) as watch:
        watch.wait_for("SELECT count(*) FROM annotations", 1)
        place.draw("two.png", (200, 9, 9))
        watch.wait_for("SELECT count(*) FROM annotations", 2)
        watch.wait_until((state / "enrich.prom").exists, what="the metrics")
        code, said = watch.stop()
    assert code == 0
    assert said
    assert [line for line in said.splitlines() if not _is_json(line)] == []
    assert place.states() == {"present": 2}
    place.engine.dispose()


def _check_hardening(harden: list[str], folder: Path, state: Path) -> None:
    """Skip where the test may not mount; fail where mounting does not do what it is meant to."""
    touch = 'touch "$0/yes" && ! touch "$1/no"'
    command = [*harden, "sh", "-c", touch, str(state), str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except FileNotFoundError:
        pytest.skip("unshare is not installed")
    if "unshare" in done.stderr or "mount" in done.stderr:
        pytest.skip(f"no mounts in a namespace of one's own here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    assert not (folder / "no").exists()


def _is_json(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False
