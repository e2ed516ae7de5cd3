"""Faults on purpose: the command line in processes that kill themselves at a commit.

The product has no switch for this. A server process imports everything once and forks a child for
each attempt, which is enrich in all but the time its start takes: 0.1 s instead of a second. By hand,
without the server, in a folder with a config.yaml:

    python tests/faults.py --kill-at 7 --when before -- watch

A child that kills itself notes in ``deaths.log`` which tables the commit was about.
"""

import argparse
import contextlib
import importlib
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Literal

from workplace import Workplace

When = Literal["before", "after"]

DEATHS = "deaths.log"

#: What a run or a daemon with steps that need no model ever imports.
_MODULES = (
    "alembic.command",
    "alembic.ddl.postgresql",
    "alembic.ddl.sqlite",
    "alembic.runtime.environment",
    "enrich.cli.logs",
    "enrich.cli.output",
    "enrich.cli.work",
    "enrich.oneshot",
    "enrich.watch",
    "sqlalchemy.dialects.postgresql.psycopg",
    "sqlalchemy.dialects.sqlite.pysqlite",
    "watchdog.observers.inotify",
)

#: How often an attempt is looked at.
LOOK_SECONDS = 0.01

_WRITES = re.compile(r"\s*(?:INSERT INTO|UPDATE|DELETE FROM|(CREATE|DROP|ALTER))\s+\"?(\w+)", re.IGNORECASE)


class Attempt:
    """A forked command; to be asked like a ``subprocess.Popen``, of which it has what tests use."""

    def __init__(self, server: "ForkServer", pid: int, log: Path) -> None:
        self._server = server
        self.pid = pid
        self.log = log
        self.returncode: int | None = None

    @property
    def said(self) -> str:
        """What it said so far."""
        return self.log.read_text(errors="replace")

    def poll(self) -> int | None:
        if self.returncode is None:
            self.returncode = self._server.ask(poll=self.pid)
        return self.returncode

    def wait(self, timeout: float = 60) -> int:
        self.wait_until(lambda: self.poll() is not None, timeout, "its end")
        return self.returncode or 0

    def wait_until(self, condition: Callable[[], bool], seconds: float = 60, what: str = "that") -> None:
        """Look at ``condition`` until it holds; fail if the time is up before."""
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() >= end:
                self._say_where_it_is()
                raise AssertionError(f"waited {seconds} s for {what}; it said:\n{self.said}")
            time.sleep(LOOK_SECONDS)

    def _say_where_it_is(self) -> None:
        """End it such that it says what each of its threads does."""
        self.send_signal(signal.SIGABRT)
        for _ in range(100):
            if self.poll() is None:
                time.sleep(LOOK_SECONDS)

    def send_signal(self, number: int) -> None:
        # Not reaped yet, so the number is nobody else's.
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def stop(self, number: int = signal.SIGTERM, seconds: float = 60) -> int:
        """Send a signal, wait for the end, and return the exit code."""
        self.send_signal(number)
        return self.wait(seconds)


class ForkServer:
    """Starts commands quickly; whatever still runs is gone when it closes."""

    def __init__(self) -> None:
        # One thread only: a fork takes no others along.
        alone = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-X", "faulthandler", __file__, "--serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **alone},
        )
        self._numbers = itertools.count(1)

    def close(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(30)

    def ask(self, **request: Any) -> Any:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def start(
        self,
        place: Workplace,
        *arguments: object,
        kill_at: int | None = None,
        when: When = "before",
        about: str = "",
        constants: Mapping[str, float] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Attempt:
        """Start a command.

        Parameters
        ----------
        place : Workplace
            Its config.yaml is written first.
        *arguments : object
            The command line.
        kill_at : int or None
            The commit at which the process kills itself, from 1; those that write nothing do not count.
        when : str
            Before or after that commit.
        about : str
            A table; then only commits that write to it count.
        constants : mapping or None
            Other values for constants of modules, such as ``enrich.breaker.PAUSE_SECONDS``.
        environment : mapping or None
            Variables besides this process's own.
        """
        (place.folder / "config.yaml").write_text(json.dumps(place.config))
        log = place.folder / f"attempt-{next(self._numbers)}.log"
        pid = self.ask(
            arguments=[str(argument) for argument in arguments],
            folder=str(place.folder),
            log=str(log),
            kill_at=kill_at,
            when=when,
            about=about,
            constants=dict(constants or {}),
            environment={name: value for name, value in os.environ.items() if name not in ("PWD", "OLDPWD")}
            | dict(environment or {}),
        )
        return Attempt(self, pid, log)

    @contextlib.contextmanager
    def running(self, place: Workplace, *arguments: object, **options: Any) -> Iterator[Attempt]:
        """Start a command; whatever becomes of the test, it is gone at the end."""
        attempt = self.start(place, *arguments, **options)
        try:
            yield attempt
        finally:
            attempt.stop(signal.SIGKILL)


@contextlib.contextmanager
def forking() -> Iterator[ForkServer]:
    """Start a server; it ends with the block."""
    server = ForkServer()
    try:
        yield server
    finally:
        server.close()


def deaths(place: Workplace) -> list[set[str]]:
    """Return what each commit was about at which a process of this place killed itself."""
    path = place.folder / DEATHS
    return [set(line.split()) for line in path.read_text().splitlines()] if path.exists() else []


def arm(kill_at: int, when: When, about: str = "") -> None:
    """Let this process kill itself before or after its ``kill_at``-th commit that writes (to a table)."""
    import sqlalchemy as sa
    from sqlalchemy.engine.default import DefaultDialect

    numbers = itertools.count(1)
    commit = DefaultDialect.do_commit
    tables = threading.local()  # a transaction stays in its thread
    note = os.open(DEATHS, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    @sa.event.listens_for(sa.Engine, "before_cursor_execute")
    def see(connection: Any, cursor: Any, statement: str, *more: Any) -> None:
        if statement.startswith(("BEGIN", "SELECT pg_advisory_xact_lock")):
            tables.written = set()
        elif written := _WRITES.match(statement):
            tables.written = {*getattr(tables, "written", ()), "schema" if written[1] else written[2]}

    def do_commit(self: DefaultDialect, connection: Any) -> None:
        written, tables.written = getattr(tables, "written", set()), set()
        is_it = bool(about in written if about else written) and next(numbers) == kill_at
        if is_it:
            os.write(note, (" ".join(sorted(written)) + "\n").encode())
        if is_it and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        commit(self, connection)
        if is_it:
            os.kill(os.getpid(), signal.SIGKILL)

    DefaultDialect.do_commit = do_commit  # type: ignore[method-assign]  # the fault


def _serve() -> None:
    """Answer requests, one a line, until there are no more; in a child, return what it is to run."""
    for name in _MODULES:
        with contextlib.suppress(ImportError):  # of another system, or of an extra that is not installed
            importlib.import_module(name)
    _load_plugins()
    # Imports are done: what is alive now is not looked through at every collection, nor copied by it.
    import gc

    gc.freeze()
    children: dict[int, int | None] = {}
    # Not readline of sys.stdin: what it has read ahead would be the child's too.
    with os.fdopen(os.dup(0), closefd=True) as requests, os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)
        for line in requests:
            request = json.loads(line)
            if "poll" in request:
                answer = _poll(children, request["poll"])
            else:
                answer = os.fork()
                if answer == 0:
                    _become(request, (requests, answers))
                    return
                children[answer] = None
            answers.write(json.dumps(answer) + "\n")
            answers.flush()
    for pid in children:
        if _poll(children, pid) is None:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    sys.exit()


def _load_plugins() -> None:
    import PIL.Image

    from enrich.host import Host, discovery

    Host().load(discovery.installed(bundled_only=True))
    PIL.Image.init()


def _poll(children: dict[int, int | None], pid: int) -> int | None:
    if children[pid] is None:
        found, status = os.waitpid(pid, os.WNOHANG)
        children[pid] = os.waitstatus_to_exitcode(status) if found else None
    return children[pid]


def _become(request: dict[str, Any], pipes: tuple[IO[str], ...]) -> None:
    """Make this child what a shell would have started."""
    for pipe in pipes:
        pipe.close()
    nothing = os.open(os.devnull, os.O_RDONLY)
    log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for source, target in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
        os.set_inheritable(target, True)
    os.close(nothing)
    os.close(log)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    for name, value in request["constants"].items():
        module, _, constant = name.rpartition(".")
        assert hasattr(importlib.import_module(module), constant), f"no constant {name}"
        setattr(importlib.import_module(module), constant, value)
    sys.argv = ["enrich", *request["arguments"]]
    if request["kill_at"] is not None:
        arm(request["kill_at"], request["when"], request["about"])


def _main() -> None:
    from enrich.cli import main

    if sys.argv[1:] == ["--serve"]:
        _serve()
    else:
        parser = argparse.ArgumentParser(description="enrich, with faults")
        parser.add_argument(
            "--kill-at", type=int, required=True, metavar="N", help="die at the N-th commit that writes"
        )
        parser.add_argument("--when", choices=("before", "after"), default="before")
        parser.add_argument("--about", default="", metavar="TABLE", help="count commits that write to it")
        parser.add_argument("arguments", nargs="+", help="enrich's own command line, after --")
        options = parser.parse_args()
        sys.argv = ["enrich", *options.arguments]
        arm(options.kill_at, options.when, options.about)
    main()


if __name__ == "__main__":
    _main()
