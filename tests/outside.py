"""What is outside: real servers on this machine, scripted byte by byte, and one that nobody may reach."""

import contextlib
import hashlib
import hmac
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest


@dataclass
class Request:
    """What a server was asked."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


Answer = Callable[[Request], Iterable[bytes]]


def response(
    body: bytes = b"", status: str = "200 OK", *, length: bool = True, **headers: str
) -> Iterable[bytes]:
    """An answer in one piece; underscores of header names become dashes."""
    lines = [f"HTTP/1.1 {status}", *(f"{name.replace('_', '-')}: {said}" for name, said in headers.items())]
    if length:
        lines.append(f"Content-Length: {len(body)}")
    return ["\r\n".join([*lines, "", ""]).encode() + body]


class Site:
    """A server on a free port; ``answer`` yields the bytes to send, and may sleep between them."""

    def __init__(self, answer: Answer, *, context: ssl.SSLContext | None = None, port: int = 0) -> None:
        self.answer = answer
        self.requests: list[Request] = []
        #: How many connections were made, whether or not anything was said.
        self.connections = 0
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port: int = self._listener.getsockname()[1]
        self._open: set[socket.socket] = set()
        self._is_closed = False
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def url(self, path: str = "/", host: str = "127.0.0.1", scheme: str = "http") -> str:
        return f"{scheme}://{host}:{self.port}{path}"

    def close(self) -> None:
        self._is_closed = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for sock in list(self._open):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            if self._is_closed:
                sock.close()
                return
            self.connections += 1
            self._open.add(sock)
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        raw = sock
        try:
            if self._context is not None:
                sock = self._context.wrap_socket(sock, server_side=True)
            request = _read(sock)
            if request is not None:
                self.requests.append(request)
                for piece in self.answer(request):
                    sock.sendall(piece)
        except OSError:
            pass  # whoever asked has gone
        finally:
            self._open.discard(raw)
            sock.close()


def _read(sock: socket.socket) -> Request | None:
    with sock.makefile("rb") as stream:
        first = stream.readline().decode("latin-1").split()
        if len(first) < 2:  # a handshake of TLS, in whose random bytes a line may end
            return None
        headers: dict[str, str] = {}
        while (line := stream.readline().strip()) != b"":
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        body = stream.read(int(headers.get("content-length", "0")))
    return Request(first[0], first[1], headers, body)


@contextlib.contextmanager
def site(answer: Answer, *, context: ssl.SSLContext | None = None, port: int = 0) -> Iterator[Site]:
    server = Site(answer, context=context, port=port)
    try:
        yield server
    finally:
        server.close()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@dataclass
class Received:
    """What a webhook's receiver saw; ``is_signed`` by the secret it knows."""

    id: str
    body: bytes
    at: int
    is_signed: bool


@dataclass
class Receiver:
    """Notes each post; answers ``status``, in full or with what ``before`` does first."""

    secret: str = "s3cret"
    status: str = "204 No Content"
    location: str = ""
    before: Callable[[], None] = lambda: None
    received: list[Received] = field(default_factory=list)

    def __call__(self, request: Request) -> Iterable[bytes]:
        self.before()
        signature = dict(
            part.split("=", 1) for part in request.headers.get("x-enrich-signature", "t=0").split(",")
        )
        wanted = hmac.new(
            self.secret.encode(), signature["t"].encode() + b"." + request.body, hashlib.sha256
        ).hexdigest()
        self.received.append(
            Received(
                request.headers.get("x-enrich-delivery", ""),
                request.body,
                int(signature["t"]),
                hmac.compare_digest(wanted, signature.get("v1", "")),
            )
        )
        headers = {"Location": self.location} if self.location else {}
        return response(status=self.status, **headers)


def certified(folder: Path, host: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's context with a certificate of its own for ``host``, and a client's that trusts it."""
    key, certificate = folder / f"{host}.key", folder / f"{host}.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    names = ["-days", "2", "-subj", f"/CN={host}", "-addext", f"subjectAltName=DNS:{host}"]
    try:
        subprocess.run(
            [*command, *names, "-keyout", key, "-out", certificate],
            check=True,
            capture_output=True,
            timeout=60,
        )
    except FileNotFoundError:
        pytest.skip("makes its certificate with openssl, which is not installed")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate, key)
    return server, ssl.create_default_context(cafile=str(certificate))
