"""The same arrivals given to a watchdog script as tutorials write it, and to ``enrich watch``.

Prints what each lost, described twice, or holds half-written at the end.
"""

import argparse
import ast
import contextlib
import hashlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, fields
from pathlib import Path

from enrich.catalog.clean import unescape_path

ROOT = Path(__file__).resolve().parents[1]
# The test kit, which is not installed; first, because its arrivals have this module's name.
sys.path.insert(0, str(ROOT / "tests"))

from arrivals import Brought, Site, Way, bring, flood, linked, possible_ways  # noqa: E402
from watching import watching  # noqa: E402
from workplace import Workplace  # noqa: E402

#: Arrivals are over once nothing was taken for so long: more than settling and any rescue need.
QUIET_SECONDS = 15

#: How many events the kernel keeps for a program that does not fetch them.
QUEUE = Path("/proc/sys/fs/inotify/max_queued_events")

#: As the script does it: one picture, one line.
COUNT = """
import os, pathlib
import enrich

LOG = os.open(pathlib.Path(__file__).with_name("described.log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)

@enrich.hookimpl
@enrich.each
def enrich_data(rendition):
    os.write(LOG, (ascii(str(rendition.path)) + "\\n").encode())
    return {"seen": True}
"""


@dataclass(frozen=True, slots=True)
class Taken:
    """What was taken of each path: the SHA-256 of its bytes, and how often it was described."""

    sha256: dict[str, str]
    times: Counter[str]


@dataclass(slots=True)
class Verdict:
    """How the files of one way fared; all but ``brought`` should be 0."""

    brought: int
    lost: int = 0
    twice: int = 0
    half: int = 0


class Script:
    """The tutorial's script at work."""

    name = "script"

    def __init__(self, folder: Path) -> None:
        self.inbox = folder / "inbox"
        self.inbox.mkdir()
        self._folder = folder
        self._log = folder / "script.log"
        self.process: subprocess.Popen[bytes]

    def start(self) -> None:
        script = ROOT / "benchmarks" / "created_closed.py"
        command = [sys.executable, script, self.inbox, self._folder / "taken.db"]
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        while "watching" not in self._log.read_text():
            assert self.process.poll() is None, self._log.read_text()
            time.sleep(0.1)

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()

    def taken(self) -> Taken:
        with contextlib.closing(sqlite3.connect(self._folder / "taken.db", timeout=60)) as database:
            rows = database.execute("SELECT path, sha256, times FROM taken").fetchall()
        return Taken({row[0]: row[1] for row in rows}, Counter({row[0]: row[2] for row in rows}))


class Daemon:
    """``enrich watch`` at work, with a step that does as little as the script."""

    name = "enrich"

    def __init__(self, folder: Path) -> None:
        self._place = Workplace(folder, f"sqlite:///{folder / 'catalog.db'}")
        self.inbox = self._place.inbox
        self._place.plugin("count", COUNT)
        self._place.config["roots"] = [{"path": "inbox", "follow_symlinks": True}]
        self._place.config["steps"] = {"count": {"plugin": "count"}}
        self._running = contextlib.ExitStack()
        self.process: subprocess.Popen[bytes]

    def start(self) -> None:
        self.process = self._running.enter_context(watching(self._place)).process

    def stop(self) -> None:
        self._running.close()  # by SIGKILL, as the script
        self._place.engine.dispose()

    def taken(self) -> Taken:
        rows = self._place.rows("SELECT path, sha256 FROM files WHERE state = 'present'")
        log = self._place.folder / "plugins" / "described.log"
        lines = log.read_text().splitlines() if log.exists() else []
        return Taken(
            {str(unescape_path(row["path"])): row["sha256"] for row in rows},
            Counter(ast.literal_eval(line) for line in lines),
        )

    def rescued(self) -> str:
        return str(self._place.rows("SELECT events_seen, events_lost, rescued FROM roots")[0])


Subject = Script | Daemon


def wait_until_quiet(subject: Subject) -> Taken:
    """Wait until nothing more is taken, and return it all."""
    taken, since = subject.taken(), time.monotonic()
    while time.monotonic() - since < QUIET_SECONDS:
        time.sleep(1)
        now = subject.taken()
        if now != taken:
            taken, since = now, time.monotonic()
    return taken


def judge(brought: Brought, taken: Taken) -> Verdict:
    """Hold what was taken against what arrived."""
    verdict = Verdict(len(brought))
    for path, content in brought.items():
        sha256 = taken.sha256.get(str(path))
        verdict.lost += sha256 is None
        verdict.half += sha256 not in (None, hashlib.sha256(content).hexdigest())
        verdict.twice += taken.times[str(path)] > 1
    return verdict


def hold(subject: Subject, scratch: Path, flood_files: int, flood_folders: int) -> dict[str, Verdict]:
    """Let everything arrive, round by round; return the verdict on each way."""
    site = Site(subject.inbox, scratch, slow_seconds=5, pause_seconds=0.8, folders=2_500)
    rounds = [
        {**possible_ways(), "linked": linked},
        *({name: way} for name, way in troubles(subject).items()),
    ]
    if flood_files:
        rounds += [{name: way} for name, way in floods(flood_files, flood_folders).items()]
    verdicts: dict[str, Verdict] = {}
    subject.start()
    try:
        for together in rounds:
            brought = bring(site, together)
            taken = wait_until_quiet(subject)
            verdicts |= {name: judge(files, taken) for name, files in brought.items()}
        if isinstance(subject, Daemon):
            print(f"  enrich says: {subject.rescued()}")
    finally:
        subject.stop()
    return verdicts


def troubles(subject: Subject) -> dict[str, Way]:
    """Return ways that have nothing to do with how a file is written."""

    def while_it_does_not_run(site: Site) -> Brought:
        subject.stop()
        brought = flood(site.inbox, 100, 0, first_number=100_000)
        subject.start()
        return brought

    def renamed_afterwards(site: Site) -> Brought:
        brought = {}
        for number in range(100):
            path = site.inbox / f"{number:06}.png"
            content = path.read_bytes()
            brought[path.rename(path.with_name(f"renamed-{path.name}"))] = content
        return brought

    def after_an_overflow(site: Site) -> Brought:
        os.kill(subject.process.pid, signal.SIGSTOP)  # as a machine does that is too busy
        try:
            for number in range(int(QUEUE.read_text()) // 2):
                path = site.inbox / f"{number}.part"
                path.touch()
                path.unlink()
            return flood(site.inbox, 100, 5, first_number=200_000)
        finally:
            os.kill(subject.process.pid, signal.SIGCONT)

    ways = (while_it_does_not_run, renamed_afterwards, after_an_overflow)
    return {way.__name__: way for way in ways}


def floods(count: int, folders: int) -> dict[str, Way]:
    """Return two floods of so many files: into one folder, and into so many new ones."""

    def one(site: Site) -> Brought:
        (site.inbox / "flood").mkdir()
        time.sleep(2)  # the folder is watched before the flood comes
        return flood(site.inbox / "flood", count, 0, first_number=1_000_000)

    def many(site: Site) -> Brought:
        (site.inbox / "floods").mkdir()
        time.sleep(2)
        return flood(site.inbox / "floods", count, folders, first_number=2_000_000)

    return {f"{count:,} at once, one folder": one, f"{count:,} at once, {folders:,} new folders": many}


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--flood", type=int, default=50_000, help="files of a flood; 0: none")
    parser.add_argument("--flood-folders", type=int, default=2_500)
    given = parser.parse_args()
    verdicts = {}
    print("arrivals: files brought; of them lost / described twice / half-written at the end")
    for kind in (Script, Daemon):
        with tempfile.TemporaryDirectory() as folder:
            work, scratch = Path(folder, "work"), Path(folder, "scratch")
            work.mkdir()
            scratch.mkdir()
            verdicts[kind.name] = hold(kind(work), scratch, given.flood, given.flood_folders)
    for name, script in verdicts["script"].items():
        ours = verdicts["enrich"][name]
        cells = [f"{found.lost:>6} {found.twice:>6} {found.half:>4}" for found in (script, ours)]
        print(f"  {name:<40} {script.brought:>6}   script {cells[0]}   enrich {cells[1]}")
    totals = {
        kind: {
            field.name: sum(getattr(verdict, field.name) for verdict in found.values())
            for field in fields(Verdict)
        }
        for kind, found in verdicts.items()
    }
    print(json.dumps({"benchmark": "arrivals", "ways": len(verdicts["script"]), **totals}))


if __name__ == "__main__":
    main()
