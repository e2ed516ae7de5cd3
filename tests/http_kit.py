"""``enrich serve`` in a process of its own, as a user starts it; pictures, and servers that it talks to."""

import base64
import contextlib
import http.server
import io
import json
import os
import random
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import forks
import PIL.Image
import requests
from workplace import Workplace

from enrich.drawings.scenes import draw_scene

_SERVING = re.compile(r"serving (http://[^\s\"]+)")
#: Enough for any test but those of the limits themselves.
PLENTY = {"minute": 100_000, "hour": 100_000}


class Server:
    """A running ``enrich serve``."""

    def __init__(self, place: Workplace, process: subprocess.Popen[bytes] | forks.Attempt, log: Path) -> None:
        self.place = place
        self.process = process
        self.log = log
        self.url = ""

    @property
    def said(self) -> str:
        """What it said on stderr so far."""
        return self.log.read_text(errors="replace")

    @property
    def lines(self) -> list[dict[str, Any]]:
        """Its log, where that is JSON."""
        return [json.loads(line) for line in self.said.splitlines() if line.startswith("{")]

    @property
    def resident_bytes(self) -> int:
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise AssertionError("the process is gone")

    def post(self, path: str, key: str | None = None, **options: Any) -> requests.Response:
        return self.ask("POST", path, key, **options)

    def get(self, path: str, key: str | None = None, **options: Any) -> requests.Response:
        return self.ask("GET", path, key, **options)

    def ask(self, method: str, path: str, key: str | None = None, **options: Any) -> requests.Response:
        headers = {**({"Authorization": f"Bearer {key}"} if key else {}), **options.pop("headers", {})}
        return requests.request(method, self.url + path, headers=headers, **{"timeout": 90, **options})

    def stop(self, number: signal.Signals = signal.SIGTERM, seconds: float = 60) -> tuple[int, str]:
        """Send a signal and wait for the end; return the exit code and what it said."""
        self.process.send_signal(number)
        return self.process.wait(seconds), self.said

    def _wait(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (found := _SERVING.search(self.said)) is None:
            assert self.process.poll() is None, f"it ended with {self.process.returncode}:\n{self.said}"
            assert time.monotonic() < end, f"it does not serve:\n{self.said}"
            time.sleep(0.05)
        self.url = found[1]


@contextlib.contextmanager
def serving(
    place: Workplace,
    *arguments: object,
    environment: Mapping[str, str] | None = None,
    constants: Mapping[str, float] | None = None,
    is_forked: bool = True,
) -> Iterator[Server]:
    """Start ``enrich serve`` on a free port; whatever becomes of the test, it is gone at the end.

    It is forked from a process that has imported everything, and may have other values for constants of
    modules; or else it is started as a user starts it.
    """
    (place.folder / "config.yaml").write_text(json.dumps(place.config))
    log = place.folder / f"serve-{time.monotonic_ns()}.log"
    command = ["serve", "--port", "0", *map(str, arguments)]
    options: dict[str, Any] = {"output": log, "environment": {**os.environ, **(environment or {})}}
    process: subprocess.Popen[bytes] | forks.Attempt
    if is_forked:
        process = forks.shared().start_in(place.folder, *command, constants=constants, **options)
    else:
        process = forks.start_cold(place.folder, *command, **options)
    try:
        server = Server(place, process, log)
        server._wait(90)
        yield server
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def serving_in(folder: Path) -> Iterator[Server]:
    """Start it in an empty folder, with the key ``tests``, without limits; it may fetch from this machine."""
    place = Workplace(folder, f"sqlite:///{folder / 'catalog.db'}")
    place.config["api"] = {"rate_limit": PLENTY, "allow_hosts": ["127.0.0.1"]}
    make_key(place, "tests")
    with serving(place) as server:
        yield server
    place.engine.dispose()


def make_key(place: Workplace, name: str, *arguments: str) -> str:
    """Make a key as an operator does; it is also in ``place.keys``."""
    made = place.enrich("keys", "create", name, "--json", *arguments)
    assert made.returncode == 0, made.stderr
    place.keys[name] = json.loads(made.stdout)["key"]
    return place.keys[name]


def picture(seed: int = 1, kind: str = "PNG") -> bytes:
    """Draw a scene that the bundled model knows."""
    drawn, _ = draw_scene(random.Random(seed), 320)
    written = io.BytesIO()
    drawn.convert("RGB").save(written, kind)
    return written.getvalue()


def noise(edge: int, kind: str = "PNG") -> bytes:
    """Return a picture of noise, which no format makes small."""
    written = io.BytesIO()
    pixels = random.Random(7).randbytes(edge * edge * 3)
    PIL.Image.frombytes("RGB", (edge, edge), pixels).save(written, kind)
    return written.getvalue()


def data_uri(content: bytes, media_type: str = "image/png") -> str:
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"


class Host:
    """A server of pictures, and a receiver of webhooks, on this machine.

    ``posts`` are the bodies that came, ``headers`` theirs; ``is_down`` answers 503 to them.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.posts: list[tuple[str, dict[str, str], bytes]] = []
        self.is_down = False
        self.url = ""


@contextlib.contextmanager
def hosting() -> Iterator[Host]:
    """Run a ``Host`` until the end of the test."""
    host = Host()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = host.files.get(self.path.partition("?")[0])
            self._answer(200 if content is not None else 404, content or b"")

        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            body = self.rfile.read(length)
            if len(body) < length:  # whoever sent it was killed
                self.close_connection = True
                return
            if not host.is_down:
                host.posts.append((self.path, dict(self.headers), body))
            self._answer(503 if host.is_down else 200, b"")

        def _answer(self, status: int, content: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *arguments: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    host.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield host
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
