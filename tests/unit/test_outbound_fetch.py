"""Fetching from real servers: what comes, within what limits, and what is said when nothing does."""

import contextlib
import gzip
import io
import os
import socket
import threading
import time
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from outside import Request, Site, certified, free_port, response, site

from enrich.errors import FetchFailed, FetchRefused, FetchTooLarge
from enrich.outbound import Fetched, Fetcher, Limits
from enrich.outbound.deadline import Deadline
from enrich.outbound.names import MAX_THREADS, Resolver

PICTURE = os.urandom(200_000)


def fetch(server: Site, path: str = "/", **limits: Any) -> tuple[bytes, Fetched]:
    into = io.BytesIO()
    done = Fetcher([server.address], limits=Limits(**limits)).fetch(server.url(path), into)
    return into.getvalue(), done


def scripted(*pieces: bytes) -> Any:
    return lambda request: pieces


def test_what_comes_is_written_as_it_came() -> None:
    with site(lambda request: response(PICTURE, Content_Type="Image/JPEG; q=1")) as server:
        content, done = fetch(server, "/a/My%20cat.jpg?size=1")
        assert content == PICTURE
        assert done == Fetched("image/jpeg", "My cat.jpg", len(PICTURE), f"http://{server.address}")
        (request,) = server.requests
    assert request.path == "/a/My%20cat.jpg?size=1"
    assert request.headers["host"] == server.address
    assert request.headers["accept-encoding"] == "identity"
    assert "enrich/" in request.headers["user-agent"]
    assert not {"cookie", "authorization", "referer"} & set(request.headers)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/", ""),
        ("/a/b/", ""),
        ("/a.jpg", "a.jpg"),
        ("/a/..%2f..%2fetc%2fpasswd", "passwd"),
        ("/%2e%2e", ""),
        ("/a%5Cb.png", "b.png"),
        ("/x%00%0a%1b[31my.png", "x[31my.png"),
        ("/%E2%80%AEgpj.exe", "gpj.exe"),
        ("/%ff.png", "\ufffd.png"),
        ("/" + "%C3%A9" * 200, "é" * 127),
    ],
)
def test_the_file_name_is_a_name_and_nothing_else(path: str, name: str) -> None:
    with site(lambda request: response(b"x")) as server:
        assert fetch(server, path)[1].file_name == name


def test_redirects_are_followed_within_limits() -> None:
    def answer(request: Request) -> Iterable[bytes]:
        left = int(request.path.rpartition("/")[2] or 0)
        if left:
            return response(b"ignored", "302 Found", Location=f"/x/{left - 1}")
        return response(b"here")

    with site(answer) as server:
        content, done = fetch(server, "/x/3")
        assert (content, done.file_name) == (b"here", "3")
        with pytest.raises(FetchFailed, match="redirects more than 3 times") as failed:
            fetch(server, "/x/4")
        assert not failed.value.retryable
        with pytest.raises(FetchFailed, match="more than 0 times"):
            fetch(server, "/x/1", max_redirects=0)


def test_a_redirect_without_a_place_and_one_in_a_circle_end() -> None:
    with (
        site(lambda request: response(status="302 Found")) as server,
        pytest.raises(FetchFailed, match="nowhere"),
    ):
        fetch(server)
    with site(lambda request: response(status="302 Found", Location="/")) as server:
        with pytest.raises(FetchFailed, match="more than 3 times"):
            fetch(server)
        assert server.connections == 4


@pytest.mark.parametrize(
    ("status", "retryable"),
    [("404 Not Found", False), ("403 No", False), ("204 Empty", False), ("206 Part", False),
     ("304 Same", False), ("429 Slower", True), ("500 Bug", True), ("503 Later", True)],
)  # fmt: skip
def test_an_answer_other_than_200(status: str, retryable: bool) -> None:
    with (
        site(lambda request: response(b"a page", status)) as server,
        pytest.raises(FetchFailed, match=f"answered {status[:3]}") as failed,
    ):
        fetch(server, "/path?token=secret")
    assert failed.value.retryable is retryable
    assert "secret" not in str(failed.value)


# Size


def test_too_much_is_not_read() -> None:
    sent = 0

    def answer(request: Request) -> Iterable[bytes]:
        nonlocal sent
        yield b"HTTP/1.1 200 OK\r\n\r\n"
        for _ in range(10_000):
            sent += 10_000
            yield bytes(10_000)

    with site(answer) as server:
        into = io.BytesIO()
        with pytest.raises(FetchTooLarge) as failed:
            Fetcher([server.address], limits=Limits(max_bytes=50_000)).fetch(server.url(), into)
        assert len(into.getvalue()) <= 50_000
    assert sent < 50_000_000
    assert not failed.value.retryable


def test_what_is_announced_too_large_is_not_begun_and_what_fits_exactly_is_taken() -> None:
    with site(lambda request: response(bytes(1001))) as server:
        with pytest.raises(FetchTooLarge, match="sends 1,001 bytes; at most 1,000 are taken"):
            fetch(server, max_bytes=1000)
        assert fetch(server, max_bytes=1001)[1].size_bytes == 1001
        with pytest.raises(FetchTooLarge):
            Fetcher([server.address]).fetch(server.url(), io.BytesIO(), max_bytes=1000)


def chunked(*chunks: bytes) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in (*chunks, b""))


def test_chunks() -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    with site(scripted(head, chunked(PICTURE[:70_000], PICTURE[70_000:]))) as server:
        assert fetch(server)[0] == PICTURE
        with pytest.raises(FetchTooLarge):
            fetch(server, max_bytes=100_000)
    for broken in (b"5\r\nab", b"zz\r\nab\r\n", b"-1\r\n", b"5" * 70_000):
        with site(scripted(head, broken)) as server, pytest.raises(FetchFailed) as failed:
            fetch(server)
        assert failed.value.retryable


# Compression that was not asked for


def deflated(data: bytes, window: int) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, window)
    return packer.compress(data) + packer.flush()


@pytest.mark.parametrize(
    ("packing", "packed"),
    [
        ("gzip", gzip.compress(PICTURE, mtime=0)),
        ("x-gzip", gzip.compress(PICTURE, mtime=0)),
        ("GZIP", gzip.compress(PICTURE, mtime=0)),
        ("deflate", deflated(PICTURE, 15)),
        ("deflate", deflated(PICTURE, -15)),
        ("identity", PICTURE),
    ],
)
def test_what_comes_packed_is_unpacked(packing: str, packed: bytes) -> None:
    with site(lambda request: response(packed, Content_Encoding=packing)) as server:
        content, done = fetch(server)
    assert content == PICTURE
    assert done.size_bytes == len(PICTURE)


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 65_537, 131_072, 1_000_003])
def test_what_is_packed_well_is_unpacked_whole(size: int) -> None:
    with site(lambda request: response(gzip.compress(bytes(size)), Content_Encoding="gzip")) as server:
        assert fetch(server)[0] == bytes(size)


def test_what_zlib_holds_back_when_it_has_read_all_comes_too() -> None:
    now = b""

    def answer(request: Request) -> Iterable[bytes]:
        return response(deflated(now, -15), Content_Encoding="deflate")

    with site(answer) as server:
        for size in range(65_530, 66_100, 19):  # no checksum at the end: the last bits are of a run of zeros
            now = b"x" + bytes(size)
            assert fetch(server)[0] == now


@pytest.mark.parametrize("packing", ["gzip", "deflate"])
def test_a_bomb_is_noticed_while_it_is_small(packing: str) -> None:
    bomb = deflated(bytes(60_000_000), 31 if packing == "gzip" else 15)
    assert len(bomb) < 100_000
    with site(lambda request: response(bomb, Content_Encoding=packing)) as server:
        into = io.BytesIO()
        with pytest.raises(FetchTooLarge):
            Fetcher([server.address], limits=Limits(max_bytes=1_000_000)).fetch(server.url(), into)
        assert len(into.getvalue()) <= 1_000_000


@pytest.mark.parametrize(
    ("packing", "sent"),
    [
        ("br", b"x"),
        ("zstd", b"x"),
        ("gzip, gzip", gzip.compress(gzip.compress(b"x", mtime=0), mtime=0)),
        ("gzip", b"no gzip at all"),
        ("gzip", gzip.compress(PICTURE, mtime=0)[:-9]),
        ("gzip", gzip.compress(b"x", mtime=0) * 2),
        ("gzip", gzip.compress(b"x", mtime=0) + b"more"),
        ("gzip", b""),
        ("deflate", b"\x78\x9c nothing"),
    ],
)
def test_what_cannot_be_unpacked_fails(packing: str, sent: bytes) -> None:
    with site(lambda request: response(sent, Content_Encoding=packing)) as server, pytest.raises(FetchFailed):
        fetch(server)


# Time


def test_a_deadline_that_is_over_is_an_error() -> None:
    assert 0 < Deadline(60).left() <= 60
    assert Deadline(60).left(5) == 5
    with pytest.raises(FetchFailed, match="longer than 0 s") as failed:
        Deadline(0).left()
    assert failed.value.retryable


def dripping(head: bytes) -> Any:
    def answer(request: Request) -> Iterable[bytes]:
        yield head
        while True:
            time.sleep(0.05)
            yield b"x"

    return answer


@pytest.mark.parametrize(
    "head", [b"", b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"]
)
def test_one_that_drips_does_not_hold_us(head: bytes) -> None:
    started = time.monotonic()
    with site(dripping(head)) as server, pytest.raises(FetchFailed) as failed:
        fetch(server, total_seconds=0.5)
    assert time.monotonic() - started < 20
    assert failed.value.retryable


def test_one_that_is_silent_and_one_that_hangs_up() -> None:
    silent = threading.Event()

    def say_nothing(request: Request) -> Iterable[bytes]:
        silent.wait(30)
        return ()

    with site(say_nothing) as server:
        with pytest.raises(FetchFailed, match=r"in time|longer than"):
            Fetcher([server.address]).fetch(server.url(), io.BytesIO(), seconds=0.3)
        silent.set()
    with site(scripted()) as server, pytest.raises(FetchFailed):
        fetch(server)
    with (
        site(scripted(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345")) as server,
        pytest.raises(FetchFailed, match="before the end") as failed,
    ):
        fetch(server)
    assert failed.value.retryable


def test_nobody_there() -> None:
    port = free_port()
    with pytest.raises(FetchFailed, match=f"^http://127.0.0.1:{port} does not answer$") as failed:
        Fetcher(["127.0.0.1"]).fetch(f"http://127.0.0.1:{port}/secret?secret", io.BytesIO())
    assert failed.value.retryable


def test_the_next_address_is_tried() -> None:
    with site(lambda request: response(b"x")) as server:
        fetcher = Fetcher(["two.example"], ask=lambda host, port: ["127.0.0.9", "127.0.0.1"])
        into = io.BytesIO()
        fetcher.fetch(server.url("/", "two.example"), into)
        assert into.getvalue() == b"x"
        assert server.requests[0].headers["host"] == f"two.example:{server.port}"


@pytest.mark.parametrize(
    "said",
    [b"nonsense\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n", b"HTTP/9\r\n\r\n", b"\x00" * 1000,
     b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 500, b"HTTP/1.1 200 OK\r\nA: " + b"b" * 70_000, b"x" * 70_000,
     b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n12345",
     b"HTTP/1.1 302 F\r\nLocation: \xff\xfe\r\n\r\n", b"HTTP/1.1 100 C\r\n\r\n" * 3],
)  # fmt: skip
def test_what_is_no_http_is_one_of_our_errors(said: bytes) -> None:
    with site(scripted(said)) as server:
        try:
            fetch(server)
        except (FetchFailed, FetchRefused) as error:
            assert server.address in str(error)


def test_random_answers_are_our_errors_too() -> None:
    start = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    for seed in range(60):
        noise = bytearray(start)
        for step in range(4):
            noise[(seed * 131 + step * 37) % len(noise)] = (seed * 89 + step * 151) % 256
        ours = (FetchFailed, FetchRefused, FetchTooLarge)
        with site(scripted(bytes(noise))) as server, contextlib.suppress(*ours):
            fetch(server, total_seconds=5)


def test_a_full_disk_is_the_callers_own_trouble() -> None:
    class Full(io.BytesIO):
        def write(self, data: Any) -> int:
            raise OSError(28, "No space left on device")

    with site(lambda request: response(b"x")) as server, pytest.raises(OSError, match="No space"):
        Fetcher([server.address]).fetch(server.url(), Full())


# Names


def test_a_name_server_that_hangs_holds_nobody_for_longer_and_no_more_threads_than_said() -> None:
    go = threading.Event()
    asked = threading.Semaphore(0)

    def hang(host: str, port: int) -> list[str]:
        asked.release()
        go.wait(60)
        return ["127.0.0.1"]

    resolver = Resolver(hang)
    before = threading.active_count()
    for number in range(2 * MAX_THREADS):
        with pytest.raises(FetchFailed, match="looked up") as failed:
            resolver.resolve(f"n{number}.example", 80, 0.01)
        assert failed.value.retryable
    assert threading.active_count() <= before + MAX_THREADS
    go.set()
    end = time.monotonic() + 20
    while threading.active_count() > before and time.monotonic() < end:
        time.sleep(0.01)
    assert resolver.resolve("later.example", 80, 20) == ["127.0.0.1"]


def test_an_unknown_name() -> None:
    def unknown(host: str, port: int) -> list[str]:
        raise socket.gaierror(-2, "Name or service not known")

    with pytest.raises(FetchFailed, match=r"^nowhere\.example: no such host$"):
        Fetcher(ask=unknown).fetch("http://nowhere.example/secret", io.BytesIO())


# TLS


def test_https_checks_the_name(tmp_path: Path) -> None:
    server_side, client_side = certified(tmp_path, "pictures.example")
    with site(lambda request: response(b"x"), context=server_side) as server:

        def fetch_as(host: str, **options: Any) -> bytes:
            into = io.BytesIO()
            fetcher = Fetcher([host], ask=lambda host, port: ["127.0.0.1"], **options)
            fetcher.fetch(server.url("/a.jpg?secret", host, "https"), into)
            return into.getvalue()

        assert fetch_as("pictures.example", context=client_side) == b"x"
        with pytest.raises(FetchFailed, match=r"its certificate is wrong: .*[Hh]ostname") as failed:
            fetch_as("other.example", context=client_side)
        assert "secret" not in str(failed.value)
        with pytest.raises(FetchFailed, match="its certificate is wrong: self"):
            fetch_as("pictures.example")
        with pytest.raises(FetchFailed):
            Fetcher([server.address]).fetch(server.url(), io.BytesIO(), seconds=0.5)
        assert len(server.requests) == 1
    with site(lambda request: response(b"x")) as plain, pytest.raises(FetchFailed, match="speaks no TLS"):
        Fetcher([plain.address], limits=Limits(connect_seconds=0.2)).fetch(
            plain.url("/", scheme="https"), io.BytesIO()
        )
