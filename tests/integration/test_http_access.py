"""Who is let in: keys, scopes, limits, and without any key only who sits at this machine."""

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from http_kit import PLENTY, Server, data_uri, make_key, picture, serving
from workplace import Workplace


@pytest.fixture(scope="module")
def keyless(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("keyless")
    place = Workplace(folder, f"sqlite:///{folder / 'catalog.db'}")
    with serving(place) as server:
        yield server
    place.engine.dispose()


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("keyed")
    place = Workplace(folder, f"sqlite:///{folder / 'catalog.db'}")
    place.config["api"] = {"rate_limit": PLENTY}
    make_key(place, "infer", "--scope", "infer")
    make_key(place, "read", "--scope", "read")
    make_key(place, "hourly", "--minute", "100", "--hour", "3")
    with serving(place) as server:
        yield server
    place.engine.dispose()


@pytest.fixture(scope="module")
def keys(keyed: Server) -> dict[str, str]:
    keys = keyed.place.keys
    return keys


def test_without_keys_it_says_so_and_serves_this_machine(keyless: Server) -> None:
    assert "no key is configured" in keyless.said
    assert keyless.get("/v1/models").status_code == 200
    assert keyless.get("/assets").status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "localhost.evil.example", "10.0.0.1", ""]
)
@pytest.mark.parametrize("path", ["/v1/models", "/assets", "/search?q=a", "/metrics"])
def test_another_name_that_leads_here_is_refused(keyless: Server, host: str, path: str) -> None:
    port = keyless.url.rpartition(":")[2]
    answer = keyless.get(path, headers={"Host": host.format(port=port)})
    assert answer.status_code in (400, 403)  # 400: a request without a host is none


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "LOCALHOST", "[::1]"])
def test_this_machines_own_names_are_served(keyless: Server, name: str) -> None:
    port = keyless.url.rpartition(":")[2]
    assert keyless.get("/v1/models", headers={"Host": f"{name}:{port}"}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "http://localhost.evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
@pytest.mark.parametrize(
    "media_type", ["text/plain", "application/json", "application/x-www-form-urlencoded"]
)
def test_a_page_of_another_origin_is_refused(
    keyless: Server, headers: dict[str, str], media_type: str
) -> None:
    body = '{"image": "x"}'
    sent = {"Content-Type": media_type, **headers}
    for path in (
        "/api/v1/generate_content",
        "/v1/chat/completions",
        "/v1/tasks",
        "/v2/image-to-text",
        "/assets",
    ):
        answer = keyless.post(path, data=body, headers=sent)
        assert answer.status_code in (401, 403), path


def test_a_page_of_the_same_origin_is_served(keyless: Server) -> None:
    headers = {"Origin": keyless.url, "Sec-Fetch-Site": "same-origin"}
    assert keyless.get("/v1/models", headers=headers).status_code == 200


def test_once_there_is_a_key_it_is_needed(lite_place: Workplace) -> None:
    with serving(lite_place) as server:
        assert server.get("/v1/models").status_code == 200
        key = make_key(lite_place, "first")
        import time

        time.sleep(1.5)  # so long it is believed that there is none
        assert server.get("/v1/models").status_code == 401
        assert server.get("/v1/models", key).status_code == 200
        # Revoking the last key does not open the server.
        assert lite_place.enrich("keys", "revoke", "first").returncode == 0
        assert server.get("/v1/models", key).status_code == 401
        assert server.get("/v1/models").status_code == 401


def test_open_to_others_without_a_key_it_does_not_start(lite_place: Workplace) -> None:
    ran = lite_place.enrich("serve", "--host", "0.0.0.0", "--port", "0")
    assert ran.returncode == 2
    assert "no key is configured" in ran.stderr


def test_scopes_are_kept(keyed: Server, keys: dict[str, str]) -> None:
    body = {"image": data_uri(picture(3))}
    assert keyed.post("/api/v1/generate_content", keys["infer"], json=body).status_code == 200
    assert keyed.post("/api/v1/generate_content", keys["read"], json=body).status_code == 401  # 1003 there
    assert keyed.get("/v1/models", keys["read"]).status_code == 403
    assert keyed.get("/search", keys["infer"], params={"q": "red"}).status_code == 403
    assert keyed.get("/search", keys["read"], params={"q": "red"}).status_code == 200
    assert keyed.get("/metrics", keys["infer"]).status_code == 403
    assert keyed.get("/metrics", keys["read"]).status_code == 200
    assert keyed.get("/metrics").status_code == 401


def test_health_needs_no_key(keyed: Server) -> None:
    for path in ("/healthz", "/readyz", "/openapi.json", "/docs"):
        assert keyed.get(path).status_code == 200, path


def test_an_hours_limit_holds_beside_a_minutes(keyed: Server, keys: dict[str, str]) -> None:
    path = "/api/v1/generate_content"
    assert [keyed.post(path, keys["hourly"], json={}).status_code for _ in range(4)] == [400, 400, 400, 429]
    assert int(keyed.post(path, keys["hourly"], json={}).headers["Retry-After"]) > 3000


def test_limits_hold_for_many_at_once(keyed: Server, tmp_path: Path) -> None:
    key = make_key(keyed.place, "hurried", "--minute", "10", "--hour", "1000")
    with ThreadPoolExecutor(16) as threads:
        statuses = list(
            threads.map(lambda _: keyed.post("/v2/image-to-text", key, json={}).status_code, range(40))
        )
    assert (statuses.count(400), statuses.count(429)) == (10, 30)


@pytest.mark.parametrize(
    "header", ["Bearer", "Bearer ", "Basic abc", "Bearer \xff\xfe", "Bearer " + "x" * 5000, "Bearer a b"]
)
def test_a_header_that_holds_no_key_is_refused(keyed: Server, header: str) -> None:
    answer = keyed.get("/v1/models", headers={"Authorization": header.encode("latin-1").decode("latin-1")})
    assert answer.status_code == 401


def test_a_body_that_is_too_large_is_refused_before_it_is_read(keyed: Server, keys: dict[str, str]) -> None:
    port = int(keyed.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(
            b"POST /v2/image-to-text HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99000000000\r\n"
            b"Authorization: Bearer " + keys["infer"].encode() + b"\r\n\r\n"
        )
        assert b" 413 " in connection.recv(65536).splitlines()[0]


def test_a_body_without_a_length_is_cut_off(keyed: Server, keys: dict[str, str]) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(200):
            yield b"x" * 1_000_000

    answer: Any = None
    try:
        answer = keyed.post("/v2/image-to-text", keys["infer"], data=endless())
    except OSError:  # the server hung up while we still sent, which is as good
        return
    assert answer.status_code == 413
