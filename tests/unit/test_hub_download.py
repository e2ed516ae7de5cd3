"""A file's bytes over HTTP, from servers that mean no good."""

import http.server
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import huggingface_hub as hub
import huggingface_hub.constants
import huggingface_hub.errors
import huggingface_hub.utils
import pytest

from enrich.errors import ConfigError, FetchFailed
from enrich.hub import download as downloads
from enrich.hub.download import download
from enrich.hub.refusals import check_endpoint, translated
from enrich.hub.repository import look_up

CONTENT = bytes(range(256)) * 400
WHOLE = len(CONTENT)

Answer = Callable[["Handler", int], None]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    answers: list[Answer]
    starts: list[int]

    tokens: list[str | None]

    def do_GET(self) -> None:
        self.tokens.append(self.headers.get("Authorization"))
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
        self.starts.append(start)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        answer(self, start)

    def log_message(self, *arguments: object) -> None:
        pass

    def end(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)


class Server:
    """Answers one after the other, the last of them for ever."""

    def __init__(self) -> None:
        self.starts: list[int] = []
        self.tokens: list[str | None] = []
        outer = self

        class Ours(Handler):
            starts = outer.starts
            tokens = outer.tokens

        self._handler = Ours
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Ours)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/model.onnx"

    def answers(self, *answers: Answer) -> None:
        self._handler.answers = list(answers)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(downloads, "WAITS_SECONDS", (0.0, 0.0))
    monkeypatch.setattr(hub.constants, "HF_HUB_OFFLINE", False)
    server = Server()
    yield server
    server.close()


def good(handler: Handler, start: int) -> None:
    said = {"Content_Range": f"bytes {start}-{WHOLE - 1}/{WHOLE}"} if start else {}
    handler.end(206 if start else 200, CONTENT[start:], **said)


def cut(handler: Handler, start: int) -> None:
    handler.send_response(206 if start else 200)
    if start:
        handler.send_header("Content-Range", f"bytes {start}-{WHOLE - 1}/{WHOLE}")
    handler.send_header("Content-Length", str(WHOLE - start))
    handler.end_headers()
    handler.wfile.write(CONTENT[start : start + WHOLE // 2])
    handler.close_connection = True


def refuse(status: int, **headers: str) -> Answer:
    return lambda handler, start: handler.end(status, **headers)


def fetch(server: Server, target: Path, size: int | None = WHOLE) -> int:
    """Fetch a file, and return how many bytes were told of."""
    told: list[int] = []
    with translated(hub, server.url, "", kept="; kept"):
        download(hub, server.url, target, size, told.append, {})
    return sum(told)


@pytest.mark.parametrize("size", [WHOLE, None])
def test_a_file_that_is_cut_is_gone_on_with(server: Server, tmp_path: Path, size: int | None) -> None:
    server.answers(cut, good)

    assert fetch(server, tmp_path / "file", size) == WHOLE
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert server.starts == [0, WHOLE // 2]


def test_a_server_that_answers_with_other_bytes_than_were_asked_for_is_asked_for_all(
    server: Server, tmp_path: Path
) -> None:
    def other(handler: Handler, start: int) -> None:
        handler.end(206, CONTENT, Content_Range=f"bytes 0-{WHOLE - 1}/{WHOLE}")

    (tmp_path / "file").write_bytes(CONTENT[:1000])
    server.answers(other)
    assert fetch(server, tmp_path / "file") == WHOLE
    assert (tmp_path / "file").read_bytes() == CONTENT


@pytest.mark.parametrize("size", [WHOLE, None])
def test_what_is_longer_than_the_servers_file_is_begun_again(
    server: Server, tmp_path: Path, size: int | None
) -> None:
    (tmp_path / "file").write_bytes(CONTENT[:1000])
    server.answers(refuse(416), good)

    assert fetch(server, tmp_path / "file", size) == WHOLE
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert server.starts == [1000, 0]


def test_no_more_is_taken_than_was_promised(server: Server, tmp_path: Path) -> None:
    written = 0

    def endless(handler: Handler, start: int) -> None:
        nonlocal written
        handler.send_response(200)
        handler.send_header("Connection", "close")
        handler.end_headers()
        handler.close_connection = True
        while written < 1000 * WHOLE:
            try:
                handler.wfile.write(CONTENT)
            except OSError:
                return
            written += WHOLE

    server.answers(endless)
    # Not the address, in which a password may stand.
    with pytest.raises(FetchFailed, match=rf"^model\.onnx: more comes than the {WHOLE} bytes") as caught:
        fetch(server, tmp_path / "file")
    assert caught.value.retryable is False
    assert (tmp_path / "file").stat().st_size == 0
    assert written < 1000 * WHOLE


def test_a_server_that_is_busy_for_a_moment_is_asked_again(server: Server, tmp_path: Path) -> None:
    server.answers(refuse(503), refuse(429, Retry_After="0"), good)

    assert fetch(server, tmp_path / "file") == WHOLE


def test_a_server_that_wishes_for_a_day_is_not_waited_for(server: Server, tmp_path: Path) -> None:
    server.answers(refuse(429, Retry_After="86400"))

    with pytest.raises(FetchFailed, match="status 429; it wishes to be left alone for 86400 seconds"):
        fetch(server, tmp_path / "file")
    assert server.starts == [0]


def test_a_server_that_stays_busy_is_given_up(server: Server, tmp_path: Path) -> None:
    server.answers(refuse(502))

    with pytest.raises(FetchFailed, match="answered with status 502; try again later") as caught:
        fetch(server, tmp_path / "file")
    assert caught.value.retryable is True
    assert len(server.starts) == 1 + len(downloads.WAITS_SECONDS)


def test_what_is_gone_is_asked_for_once(server: Server, tmp_path: Path) -> None:
    server.answers(refuse(410))

    with pytest.raises(FetchFailed, match="status 410; it was moved, withdrawn or renamed"):
        fetch(server, tmp_path / "file")
    assert len(server.starts) == 1


def test_a_server_that_falls_silent_is_given_up_with_what_came(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = threading.Event()

    def stall(handler: Handler, start: int) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(WHOLE))
        handler.end_headers()
        handler.wfile.write(CONTENT[:5000] if not start else b"")
        ended.wait(30)
        handler.close_connection = True

    monkeypatch.setattr(hub.constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.1)
    monkeypatch.setattr(downloads, "WAITS_SECONDS", ())
    server.answers(stall)
    with pytest.raises(FetchFailed, match=r"cannot be reached \(.*timed out.*; kept") as caught:
        fetch(server, tmp_path / "file")
    ended.set()
    assert caught.value.retryable is True
    assert (tmp_path / "file").read_bytes() == CONTENT[:5000]


@pytest.mark.parametrize(
    "address", ["", "nonsense", "ftp://hub", "http://", "http://hub:port", "http://[::1"]
)
def test_an_endpoint_that_is_none_is_wrong_configuration(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub.constants, "ENDPOINT", address)
    with pytest.raises(ConfigError, match="environment: HF_ENDPOINT: is no address"):
        check_endpoint(hub)


def test_a_token_does_not_follow_to_another_host(server: Server, tmp_path: Path) -> None:
    other = Server()
    try:
        other.answers(good)
        server.answers(refuse(302, Location=other.url))
        target = tmp_path / "model.onnx"
        download(hub, server.url, target, WHOLE, lambda count: None, {"authorization": "Bearer hf_secret"})
    finally:
        other.close()

    assert target.read_bytes() == CONTENT
    assert (server.tokens, other.tokens) == (["Bearer hf_secret"], [None])


def test_a_token_that_is_none_is_wrong_configuration(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_sécret")
    monkeypatch.setattr(hub.constants, "ENDPOINT", server.url.removesuffix("/model.onnx"))
    server.answers(refuse(404))
    with pytest.raises(ConfigError, match="environment: HF_TOKEN: has characters") as caught:
        look_up("someone/colours", "main")
    assert "cret" not in str(caught.value)
