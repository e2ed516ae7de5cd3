"""A folder to work in: a config.yaml, loose plugins, drawn pictures, and runs over them."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import forks
import PIL.Image
import sqlalchemy as sa

from enrich import app, settings
from enrich.catalog import report
from enrich.catalog.engine import create_engine
from enrich.oneshot import Progress

LIGHT = """
import enrich

@enrich.hookimpl
@enrich.each
def enrich_tag(rendition):
    return [enrich.Tag("bright" if rendition.pixels.mean() > 127 else "dark")]
"""

#: Says its step and asset aloud, by a line in a file that any number of processes write to.
LOUD = """
import os, pathlib, time
import enrich

LOG = os.open(pathlib.Path(__file__).with_name("said.log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)

@enrich.hookimpl
def enrich_data(renditions, context):
    for rendition in renditions:
        time.sleep(0.001)
        os.write(LOG, f"{context.step} {rendition.asset_id}\\n".encode())
    return [{"seen": True} for _ in renditions]
"""


class Workplace:
    """Everything of one test below one folder.

    ``config`` is written to config.yaml before each run, as JSON, which YAML contains.
    """

    def __init__(self, folder: Path, catalog_url: str) -> None:
        self.folder = folder
        self.inbox = folder / "inbox"
        self.inbox.mkdir()
        (folder / "plugins").mkdir(mode=0o755)
        self.engine = create_engine(catalog_url)
        self.config: dict[str, Any] = {
            "catalog": catalog_url,
            "plugin_dirs": ["plugins"],
            "roots": [{"path": "inbox", "settle_seconds": 0}],
            "steps": {"light": {"plugin": "light"}},
        }
        #: API keys that were made for it, by their name.
        self.keys: dict[str, str] = {}
        self.plugin("light", LIGHT)

    def plugin(self, name: str, code: str) -> None:
        (self.folder / "plugins" / f"{name}.py").write_text(code)

    def draw(self, name: str, colour: tuple[int, int, int] = (7, 7, 7)) -> Path:
        """Draw a small picture that is known by its colour."""
        path = Path(os.path.normpath(self.inbox / name))
        path.parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.new("RGB", (8, 6), colour).save(path)
        return path

    def draw_many(self, count: int) -> list[Path]:
        """Draw ``count`` different pictures."""
        return [self.draw(f"{n:04}.png", (n % 256, n // 256, 200)) for n in range(count)]

    def run(self, *paths: Path) -> Progress:
        """Run over ``paths``, or the roots, in this process; no counter may be wrong afterwards."""
        built = app.build(settings.load(self._write_config()))
        try:
            progress = built.run(paths, stop=threading.Event())
        finally:
            built.close()
        self.check_counters()
        return progress

    def enrich(self, *arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run the command line in a process of its own, which is forked."""
        self._write_config()
        return forks.run(self.folder, *arguments, **options)

    @contextmanager
    def enriching(self, *arguments: object) -> Iterator[subprocess.Popen[str]]:
        """Start the command line; whatever becomes of the test, it is gone at the end."""
        self._write_config()
        with subprocess.Popen(
            _command(*arguments), cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def rows(self, sql: str) -> list[dict[str, Any]]:
        with self.engine.connect() as connection:
            return [dict(row) for row in connection.execute(sa.text(sql)).mappings()]

    def column(self, sql: str) -> list[Any]:
        return [next(iter(row.values())) for row in self.rows(sql)]

    def states(self, table: str = "files") -> dict[str, int]:
        counted = self.rows(f"SELECT state, count(*) AS n FROM {table} GROUP BY state")
        return {row["state"]: row["n"] for row in counted}

    def said(self) -> list[str]:
        """What LOUD plugins said."""
        log = self.folder / "plugins" / "said.log"
        return log.read_text().splitlines() if log.exists() else []

    def check_counters(self) -> None:
        miscounted = report.miscounted(self.engine)
        assert not miscounted, miscounted

    def _write_config(self) -> Path:
        path = self.folder / "config.yaml"
        path.write_text(json.dumps(self.config))
        return path


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[str], *, seconds: float = 60) -> None:
    """Look at ``condition`` until it holds; fail if the process ends or the time is up before."""
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.005)


def stop(process: subprocess.Popen[str], number: signal.Signals) -> tuple[int, str]:
    """Send a signal; return the exit code and what was said on stderr."""
    os.kill(process.pid, number)
    _, errors = process.communicate(timeout=60)
    return process.returncode, errors


def _command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "enrich", *map(str, arguments)]
