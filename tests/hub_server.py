"""A server that speaks the model hub's protocol, with faults on purpose; and repositories to serve.

Models are answered with their files' hashes and sizes (``/api/models/{id}/revision/{revision}``),
their names by ``/api/models/{id}/tree/{revision}``, and files
from ``/{id}/resolve/{revision}/{path}`` with ranges; large ones by a redirect to another host, as the hub
does.
"""

import contextlib
import dataclasses
import hashlib
import http.server
import json
import re
import threading
import urllib.parse
from collections.abc import Callable, Iterator
from typing import Any

import huggingface_hub.constants
import pytest

BLOCK = 1 << 16
#: From this size on files are kept by Git LFS, and known by their SHA-256.
LARGE = 4096


@dataclasses.dataclass
class Repository:
    """A repository: its files, and who may have it."""

    files: dict[str, bytes]
    licence: str | None = "apache-2.0"
    #: A token that must be shown.
    token: str | None = None
    is_gated: bool = False
    #: Files that are said to be others than they are.
    forged: set[str] = dataclasses.field(default_factory=set)

    @property
    def commit(self) -> str:
        digest = hashlib.sha1()
        for name, content in sorted(self.files.items()):
            digest.update(name.encode() + hashlib.sha256(content).digest())
        return digest.hexdigest()

    def siblings(self) -> list[dict[str, Any]]:
        return [self._sibling(name, content) for name, content in sorted(self.files.items())]

    def _sibling(self, name: str, content: bytes) -> dict[str, Any]:
        said = b"what it was once" if name in self.forged else content
        sibling: dict[str, Any] = {"rfilename": name, "size": len(content), "blobId": git_sha1(said)}
        if len(content) >= LARGE:
            digest = hashlib.sha256(said).hexdigest()
            sibling["lfs"] = {"sha256": digest, "size": len(content), "pointerSize": 130}
        return sibling


def git_sha1(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class Hub:
    """The server, and what it was asked."""

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        #: Method, path, and where its range starts.
        self.asked: list[tuple[str, str, int]] = []
        #: Called with a file's path and how much of it was sent, between two blocks.
        self.on_block: Callable[[str, int], None] = lambda path, sent: None
        #: Connections are cut once so much of a file was sent, so many times.
        self.cuts: dict[str, list[int]] = {}
        #: Every request is answered so.
        self.status: int | None = None
        self.takes_ranges = True
        outer = self

        class Handler(_Handler):
            hub = outer

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def point(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let this process take it for the hub."""
        template = self.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", self.url)
        monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)

    def sent(self, path: str) -> list[int]:
        """Where each request for the bytes of a file began."""
        return [start for method, place, start in self.asked if method == "GET" and place.endswith(path)]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextlib.contextmanager
def serving() -> Iterator[Hub]:
    """Start a hub; it ends with the block."""
    hub = Hub()
    try:
        yield hub
    finally:
        hub.on_block = lambda path, sent: None
        hub.close()


class _Handler(http.server.BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def log_message(self, *arguments: object) -> None:
        pass

    def _answer(self) -> None:
        place = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path)
        start = int(match[1]) if (match := re.match(r"bytes=(\d+)-", self.headers.get("Range", ""))) else 0
        self.hub.asked.append((self.command, place, start))
        if self.hub.status is not None:
            self._end(self.hub.status, {})
        elif match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/(.+)", place):
            self._list(match[1], match[2])
        elif match := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/(.+))?", place):
            self._describe(match[1], match[2])
        elif match := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", place):
            self._resolve(*match.groups())
        elif match := re.fullmatch(r"/stored/([^/]+/[^/]+)/(.+)", place):
            # Another host's: no token may get here.
            if "Authorization" in self.headers:
                self._end(400, {})
            else:
                repository = self.hub.repositories[match[1]]
                self._send(repository, match[2], start)
        else:
            self._end(404, {})

    def _found(self, name: str, revision: str | None) -> Repository | None:
        repository = self.hub.repositories.get(name)
        said = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        if repository is None:
            # As the hub does: who may not know of it is told to say who they are.
            self._end(401, {"X-Error-Code": "RepoNotFound"})
        elif repository.token is not None and said != repository.token:
            code = "GatedRepo" if repository.is_gated else "RepoNotFound"
            self._end(403 if repository.is_gated else 401, {"X-Error-Code": code})
        elif revision not in (None, "main", repository.commit):
            self._end(404, {"X-Error-Code": "RevisionNotFound"})
        else:
            return repository
        return None

    def _describe(self, name: str, revision: str | None) -> None:
        # Of a gated repository everyone may know the files.
        repository = self.hub.repositories.get(name)
        if repository is None or not repository.is_gated:
            repository = self._found(name, revision)
        if repository is None:
            return
        card = {} if repository.licence is None else {"cardData": {"license": repository.licence}}
        told = {"id": name, "sha": repository.commit, "siblings": repository.siblings(), **card}
        self._end(200, {"Content-Type": "application/json"}, json.dumps(told).encode())

    def _list(self, name: str, revision: str) -> None:
        repository = self._found(name, revision)
        if repository is not None:
            told = [
                {
                    "type": "file",
                    "path": one["rfilename"],
                    "size": one["size"],
                    "oid": one["blobId"],
                    **({"lfs": {**one["lfs"], "oid": one["lfs"]["sha256"]}} if "lfs" in one else {}),
                }
                for one in repository.siblings()
            ]
            self._end(200, {"Content-Type": "application/json"}, json.dumps(told).encode())

    def _resolve(self, name: str, revision: str, path: str) -> None:
        repository = self._found(name, revision)
        if repository is None:
            return
        content = repository.files.get(path)
        if content is None:
            self._end(404, {"X-Error-Code": "EntryNotFound"})
        elif len(content) >= LARGE:
            linked = {
                "Location": f"{self.hub.url.replace('127.0.0.1', 'localhost')}/stored/{name}/{path}",
                "X-Repo-Commit": repository.commit,
                "X-Linked-Etag": f'"{hashlib.sha256(content).hexdigest()}"',
                "X-Linked-Size": str(len(content)),
            }
            self._end(302, linked)
        else:
            self._send(repository, path, self.hub.asked[-1][2])

    def _send(self, repository: Repository, path: str, start: int) -> None:
        start = start if self.hub.takes_ranges else 0
        content = repository.files[path]
        headers = {
            "ETag": f'"{git_sha1(content)}"',
            "Accept-Ranges": "bytes",
            "X-Repo-Commit": repository.commit,
        }
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        self.send_response(206 if start else 200)
        for key, value in {**headers, "Content-Length": str(len(content) - start)}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        cuts = self.hub.cuts.get(path, [])
        cut = cuts.pop(0) if cuts else None
        for place in range(start, len(content), BLOCK):
            if cut is not None and place >= cut:
                self.close_connection = True
                return
            try:
                self.wfile.write(content[place : place + BLOCK])
                self.wfile.flush()
            except OSError:  # whoever asked is gone
                self.close_connection = True
                return
            self.hub.on_block(path, min(place + BLOCK, len(content)))

    def _end(self, status: int, headers: dict[str, str], body: bytes = b"") -> None:
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
