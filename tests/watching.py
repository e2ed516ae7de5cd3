"""``enrich watch`` in a process of its own: started, waited for, asked, stopped."""

import contextlib
import itertools
import json
import os
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import forks
import sqlalchemy as sa
from workplace import Workplace

#: How often a test looks whether what it waits for is there; the daemon needs the processor too.
LOOK_SECONDS = 0.05

_NUMBERS = itertools.count(1)


class Watch:
    """A running ``enrich watch``.

    ``told`` is what it told the service manager, line by line; ``ready_seconds`` how long it took
    from its start until it said that it is ready.
    """

    def __init__(
        self, place: Workplace, process: subprocess.Popen[bytes] | forks.Attempt, log: Path, told: list[str]
    ) -> None:
        self.place = place
        self.process = process
        self.log = log
        self.told = told
        self.started_at = time.monotonic()
        self.ready_seconds = float("inf")

    @property
    def said(self) -> str:
        """What it said on stderr so far."""
        return self.log.read_text(errors="replace")

    @property
    def resident_bytes(self) -> int:
        return self._memory("VmRSS")

    @property
    def peak_resident_bytes(self) -> int:
        return self._memory("VmHWM")

    @property
    def cpu_seconds(self) -> float:
        """What it used of the processors so far, in user and system mode."""
        # The name in brackets may hold spaces; user and system time are fields 14 and 15 of them all.
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def wait_ready(self, seconds: float = 60) -> None:
        """Wait until it says that it is ready."""
        self.wait_until(lambda: "READY=1" in self.told, seconds, "READY=1")
        self.ready_seconds = time.monotonic() - self.started_at

    def wait_until(
        self, condition: Callable[[], bool], seconds: float = 60, what: str = "what it should do"
    ) -> None:
        """Look at ``condition`` until it holds; fail if the daemon ends or the time is up before."""
        end = time.monotonic() + seconds
        while not condition():
            assert self.process.poll() is None, f"it ended with {self.process.returncode}:\n{self.said}"
            assert time.monotonic() < end, f"waited {seconds} s for {what}; it said:\n{self.said}"
            time.sleep(LOOK_SECONDS if self.ready_seconds < float("inf") else LOOK_SECONDS / 10)

    def wait_for(self, sql: str, expected: Any, seconds: float = 60) -> None:
        """Ask the catalog until the first column is ``expected``: a list, or the only row's value.

        A catalog that cannot be asked just now gives no answer, and is asked again.
        """
        wanted = expected if isinstance(expected, list) else [expected]
        answer: Any = None

        def is_there() -> bool:
            nonlocal answer
            try:
                answer = self.place.column(sql)
            except sa.exc.DBAPIError as error:
                answer = error
            return bool(answer == wanted)

        try:
            self.wait_until(is_there, seconds, f"{wanted} of {sql}")
        except AssertionError as error:
            raise AssertionError(f"the last answer was {answer!r}; {error}") from None

    def stop(self, number: signal.Signals = signal.SIGTERM, seconds: float = 60) -> tuple[int, str]:
        """Send a signal and wait for the end; return the exit code and what it said on stderr."""
        self.process.send_signal(number)
        return self.process.wait(seconds), self.said

    def _memory(self, field: str) -> int:
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1]) * 1024
        raise AssertionError(f"no {field}: the process is gone")


@contextlib.contextmanager
def watching(
    place: Workplace,
    *arguments: object,
    before: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    constants: Mapping[str, float] | None = None,
    is_awaited: bool = True,
) -> Iterator[Watch]:
    """Start ``enrich watch``, forked unless said; whatever becomes of the test, it is gone at the end.

    Parameters
    ----------
    place : Workplace
        Its config.yaml is written first.
    *arguments : object
        Of the command line, after ``watch``.
    before : sequence of str
        A command that becomes the daemon by exec, such as ``unshare``.
    environment : mapping or None
        Variables besides this process's own.
    constants : mapping or None
        Other values for constants of modules; not with ``before``.
    is_awaited : bool
        Come back only when it says that it is ready.
    """
    (place.folder / "config.yaml").write_text(json.dumps(place.config))
    log = place.folder / f"watch-{next(_NUMBERS)}.log"
    command = ["watch", *map(str, arguments)]
    with _service_manager() as (address, told):
        options: dict[str, Any] = {
            "output": log,
            "environment": {**os.environ, "NOTIFY_SOCKET": address, **(environment or {})},
        }
        process: subprocess.Popen[bytes] | forks.Attempt
        if before:
            process = forks.start_cold(place.folder, *command, before=before, **options)
        else:
            process = forks.shared().start_in(place.folder, *command, constants=constants, **options)
        try:
            watch = Watch(place, process, log, told)
            if is_awaited:
                watch.wait_ready()
            yield watch
        finally:
            process.kill()
            process.wait()


@contextlib.contextmanager
def _service_manager() -> Iterator[tuple[str, list[str]]]:
    """Listen as a service manager does; yield the address, and the lines told so far."""
    told: list[str] = []
    # Not below pytest's folder: the address of a socket has 107 bytes at most.
    with tempfile.TemporaryDirectory(prefix="enrich-notify-") as folder:
        address = f"{folder}/socket"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
            listening.bind(address)

            def listen() -> None:
                # To the end, because a full socket would hold the daemon up.
                while message := listening.recv(65536):
                    told.extend(message.decode().splitlines())

            thread = threading.Thread(target=listen)
            thread.start()
            try:
                yield address, told
            finally:
                with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ending:
                    ending.sendto(b"", address)
                thread.join()
