"""Where the demo happens: a folder with a config.yaml and a catalog, and a daemon that looks after it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from enrich.cli.demo_chapter import promise
from enrich.cli.output import visible

__all__ = ["Counts", "Daemon", "Stage"]

#: How often the demo looks into the catalog.
LOOK_SECONDS = 0.03
#: How long it waits while nothing changes there: a busy machine may be slow.
PATIENCE_SECONDS = 120

_COUNTS = """
    SELECT (SELECT count(*) FROM files WHERE state = 'present'), (SELECT count(*) FROM assets),
        count(*), count(*) FILTER (WHERE state IN ('done', 'skipped')),
        count(*) FILTER (WHERE state = 'running'), count(*) FILTER (WHERE state = 'failed'),
        coalesce(sum(attempts), 0), (SELECT count(*) FROM annotations),
        (SELECT count(*) FROM annotations WHERE superseded_at IS NOT NULL)
    FROM jobs
"""


class Counts(NamedTuple):
    """What the catalog holds: present files, assets, jobs by state, attempts, annotations."""

    files: int
    assets: int
    jobs: int
    finished: int
    running: int
    failed: int
    attempts: int
    annotations: int
    superseded: int


class Stage:
    """The demo's folder.

    Parameters
    ----------
    folder : Path
        An empty folder, or none yet.
    steps : dict
        The steps of config.yaml.
    """

    def __init__(self, folder: Path, steps: dict[str, dict[str, Any]]) -> None:
        self.folder = folder
        self.inbox = folder / "inbox"
        self.steps = steps
        self.inbox.mkdir(parents=True)
        (folder / "my_plugins").mkdir(mode=0o755)

    def configure(self) -> None:
        """Write config.yaml."""
        import yaml

        config = {
            "catalog": "sqlite:///catalog.db",
            "models_dir": "models",
            "plugin_dirs": ["my_plugins"],
            "batch_size": 2,  # so that a kill finds some work done, some in hand and some not begun
            "roots": [{"path": "inbox", "settle_seconds": 0.2}],
            "steps": self.steps,
        }
        text = yaml.safe_dump(config, sort_keys=False, allow_unicode=True, width=110)
        (self.folder / "config.yaml").write_text(text, encoding="utf-8")

    def drop(self, path: Path) -> None:
        """Move a file into the inbox, at once as a program does that copies and then renames."""
        os.replace(path, self.inbox / path.name)

    def rows(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Ask the catalog, which cannot be changed by it."""
        catalog = f"{(self.folder / 'catalog.db').as_uri()}?mode=ro"
        with contextlib.closing(sqlite3.connect(catalog, uri=True)) as connection:
            return connection.execute(statement, values).fetchall()

    def value(self, statement: str, *values: Any) -> Any:
        """Ask the catalog for one value; None where there is no row."""
        for row in self.rows(statement, *values):
            return row[0]
        return None

    def counts(self) -> Counts:
        """Count what the catalog holds at one moment."""
        return Counts(*self.rows(_COUNTS)[0])

    def failures(self) -> list[str]:
        """Return what failed so far, a sentence each."""
        told = self.rows("SELECT path, step, error_kind, error FROM failures ORDER BY path")
        return [visible(": ".join(part for part in (Path(path).name, *why) if part)) for path, *why in told]

    def enrich(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        """Run a command line of enrich and wait for its end."""
        # Our own interpreter, and no shell.
        return subprocess.run(  # noqa: S603
            _command(*arguments),
            cwd=self.folder,
            env=_environment(),
            capture_output=True,
            text=True,
            encoding="utf-8",
        )

    def ask(self, path: Path, question: str) -> dict[str, Any]:
        """Run ``enrich ask``; return what it says as JSON.

        Raises
        ------
        Unkept
            It did not answer.
        """
        done = self.enrich("ask", path, question, "--json")
        promise(done.returncode == 0, f"enrich ask: {done.stderr.strip()}")
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer


class Daemon:
    """``enrich watch`` on a stage, in a process of its own.

    Parameters
    ----------
    stage : Stage
        Where it works.
    """

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._log = stage.folder / "watch.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._ear: socket.socket | None = None

    def start(self) -> None:
        """Start it; come back when it says that it is ready, as it says to a service manager.

        Raises
        ------
        Unkept
            It ended, or took too long.
        """
        self._ear = ear = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        ear.settimeout(LOOK_SECONDS)
        address = _listen(ear, self._stage.folder)
        with self._log.open("ab") as log:
            # Our own interpreter, and no shell.
            self._process = subprocess.Popen(  # noqa: S603
                _command("watch"),
                cwd=self._stage.folder,
                env=_environment() | {"NOTIFY_SOCKET": address},
                stdout=log,
                stderr=log,
            )
        end = time.monotonic() + PATIENCE_SECONDS
        while not _is_told(ear, b"READY=1"):
            self._check(end, "the daemon to be ready")

    def wait_for(self, is_so: Callable[[Counts], Any], what: str) -> Counts:
        """Look until a condition holds; return what was counted then.

        Raises
        ------
        Unkept
            The daemon ended, or nothing changed for too long.
        """
        counts, end = self._stage.counts(), time.monotonic() + PATIENCE_SECONDS
        while not is_so(counts):
            self._check(end, what)
            time.sleep(LOOK_SECONDS)
            before, counts = counts, self._stage.counts()
            if counts != before:
                end = time.monotonic() + PATIENCE_SECONDS
        return counts

    def kill(self) -> None:
        """End it as a power cut would."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Let it finish what it began.

        Raises
        ------
        Unkept
            It ended otherwise.
        """
        promise(self._end(signal.SIGTERM) == 0, f"enrich watch did not end well: {self._said()}")

    def close(self) -> None:
        """Leave no process behind, whatever happened."""
        if self._process is not None:
            self.kill()

    def _end(self, number: signal.Signals) -> int:
        assert self._process is not None and self._ear is not None
        self._process.send_signal(number)  # which does nothing to one that is gone
        code = self._process.wait()
        self._ear.close()
        return code

    def _check(self, end: float, what: str) -> None:
        assert self._process is not None
        code = self._process.poll()
        promise(code is None, f"enrich watch ended with {code}: {self._said()}")
        promise(time.monotonic() < end, f"waited {PATIENCE_SECONDS} s for {what}: {self._said()}")

    def _said(self) -> str:
        lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()
        return " / ".join(lines[-3:]) or "nothing was said"


def _command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "enrich", *map(str, arguments)]


def _environment() -> dict[str, str]:
    """Return this process's variables, without settings that are meant for another catalog."""
    return {name: value for name, value in os.environ.items() if not name.startswith("ENRICH_")}


def _listen(ear: socket.socket, folder: Path) -> str:
    """Bind a socket; return its name as a service manager writes it."""
    if sys.platform == "linux":
        ear.bind("")  # the system finds an abstract name; paths of sockets must be short, and folders are not
        name: bytes = ear.getsockname()
        return "@" + name[1:].decode("ascii")
    path = folder / "ready.socket"
    path.unlink(missing_ok=True)
    ear.bind(str(path))
    return str(path)


def _is_told(ear: socket.socket, what: bytes) -> bool:
    try:
        return what in ear.recv(4096)
    except TimeoutError:
        return False
