"""The command line in processes that a server forks: ``enrich`` in all but the time its start takes.

A server process imports once what enrich and its dependencies have, and forks a child for each command,
which starts in 0.1 s instead of one to three. Where the start itself is what is tested, as the demo's and the
service's, tests start an interpreter instead.
"""

import atexit
import contextlib
import functools
import importlib
import itertools
import json
import os
import pkgutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from workplace import Workplace

When = Literal["before", "after"]

#: What is imported before it is needed, besides enrich's own modules. Not ONNX Runtime, which starts a
#: thread, nor huggingface_hub's constants, which are the environment's at its import.
_MODULES = (
    "alembic.command",
    "alembic.ddl.postgresql",
    "alembic.ddl.sqlite",
    "alembic.runtime.environment",
    "asyncio",
    "jinja2.sandbox",
    "sqlalchemy.dialects.postgresql.psycopg",
    "sqlalchemy.dialects.sqlite.pysqlite",
    "tokenizers",
    "uvicorn.lifespan.on",
    "uvicorn.loops.auto",
    "uvicorn.protocols.http.auto",
    "watchdog.observers.inotify",
)
#: Of enrich's own: these need what only the exporters' environments have.
_LEFT_OUT = ("enrich.__main__", "enrich.exporters")

#: How often an attempt is looked at.
LOOK_SECONDS = 0.01


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
            [sys.executable, "-X", "faulthandler", __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **alone},
        )
        self._numbers = itertools.count(1)
        self._asking = threading.Lock()

    def close(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(30)

    def ask(self, **request: Any) -> Any:
        assert self._process.stdin is not None and self._process.stdout is not None
        with self._asking:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            return json.loads(self._process.stdout.readline())

    def start(
        self,
        place: "Workplace",
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
        fault = None if kill_at is None else {"kill_at": kill_at, "when": when, "about": about}
        return self.start_in(
            place.folder,
            *arguments,
            output=log,
            constants=constants or {},
            environment={**os.environ, **(environment or {})},
            fault=fault,
        )

    def start_in(
        self,
        folder: Path,
        *arguments: object,
        output: Path,
        errors: Path | None = None,
        environment: Mapping[str, str],
        constants: Mapping[str, float] | None = None,
        fault: Mapping[str, Any] | None = None,
    ) -> Attempt:
        """Start a command in a folder, with this environment; what it says goes into files."""
        changed = [name for name, value in environment.items() if os.environ.get(name) != value]
        assert not any(name.startswith("PYTHON") for name in changed), "an interpreter heeds it at its start"
        output.touch()  # whoever looks at once finds it
        pid = self.ask(
            arguments=[str(argument) for argument in arguments],
            folder=str(folder),
            output=str(output),
            errors=str(errors or output),
            environment={name: environment[name] for name in environment if name not in ("PWD", "OLDPWD")},
            constants=dict(constants or {}),
            fault=fault,
        )
        return Attempt(self, pid, errors or output)

    @contextlib.contextmanager
    def running(self, place: "Workplace", *arguments: object, **options: Any) -> Iterator[Attempt]:
        """Start a command; whatever becomes of the test, it is gone at the end."""
        attempt = self.start(place, *arguments, **options)
        try:
            yield attempt
        finally:
            attempt.stop(signal.SIGKILL)


@functools.cache
def shared() -> ForkServer:
    """Return the server of this process, which starts it at first and ends with it."""
    server = ForkServer()
    atexit.register(server.close)
    return server


def run(
    folder: Path,
    *arguments: object,
    env: Mapping[str, str] | None = None,
    timeout: float = 100,
    is_forked: bool = True,
    **options: Any,
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end in ``folder``, as ``subprocess.run`` would, whose options it takes.

    It is forked, or else, and with options that a fork knows nothing of, started as a user starts it.
    """
    if options or not is_forked:
        command = [sys.executable, "-m", "enrich", *map(str, arguments)]
        return subprocess.run(
            command,
            **{
                "cwd": folder,
                "env": env,
                "timeout": timeout,
                "capture_output": True,
                "text": True,
                **options,
            },
        )
    with tempfile.TemporaryDirectory(prefix="enrich-said-") as said:
        output, errors = Path(said, "output"), Path(said, "errors")
        attempt = shared().start_in(
            folder,
            *arguments,
            output=output,
            errors=errors,
            environment=os.environ if env is None else env,
        )
        try:
            code = attempt.wait(timeout)
        finally:
            attempt.kill()
        return subprocess.CompletedProcess(arguments, code, output.read_text(), errors.read_text())


def start_cold(
    folder: Path,
    *arguments: object,
    before: Sequence[str] = (),
    output: Path,
    environment: Mapping[str, str],
) -> subprocess.Popen[bytes]:
    """Start a command as a user does: an interpreter that has imported nothing yet.

    ``before`` is a command that becomes it by exec, such as ``unshare``.
    """
    command = [*before, sys.executable, "-m", "enrich", *map(str, arguments)]
    # Into a file: nobody reads a pipe while the test looks elsewhere, and it would fill up.
    with output.open("wb") as said:
        return subprocess.Popen(command, cwd=folder, env=environment, stdout=said, stderr=said)


def _serve() -> None:
    """Answer requests, one a line, until there are no more; in a child, return what it is to run."""
    _import_all()
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


def _import_all() -> None:
    import PIL.Image

    import enrich
    from enrich.host import Host, discovery

    own = [
        module.name for module in pkgutil.walk_packages(enrich.__path__, "enrich.", onerror=lambda _: None)
    ]
    for name in (*own, *_MODULES):
        if not name.startswith(_LEFT_OUT):
            with contextlib.suppress(ImportError):  # of another system, or of an extra that is not installed
                importlib.import_module(name)
    Host().load(discovery.installed(bundled_only=True))
    PIL.Image.init()
    tempfile.tempdir = None  # a child's own environment says where that is


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
    output, errors = (
        os.open(request[name], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644) for name in ("output", "errors")
    )
    for source, target in ((nothing, 0), (output, 1), (errors, 2)):
        os.dup2(source, target)
        os.set_inheritable(target, True)
        os.close(source)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    time.tzset()
    for name, value in request["constants"].items():
        module, _, constant = name.rpartition(".")
        assert hasattr(importlib.import_module(module), constant), f"no constant {name}"
        setattr(importlib.import_module(module), constant, value)
    sys.argv = ["enrich", *request["arguments"]]
    # Who starts itself anew starts what it would have been.
    sys.orig_argv = [sys.executable, "-m", *sys.argv]
    if request["fault"] is not None:
        import faults

        faults.arm(**request["fault"])


if __name__ == "__main__":
    _serve()
    from enrich.cli import main

    main()
