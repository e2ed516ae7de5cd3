"""The describer's dialect: what it answers, and each of its error codes provoked for real."""

import base64
import json
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from http_kit import Host, Server, data_uri, hosting, make_key, noise, picture, serving
from workplace import Workplace

PATH = "/api/v1/generate_content"

#: Blocks a prompt with a word in it, and fails over another one.
STRICT = """
import enrich

@enrich.hookimpl
def enrich_moderate(renditions, prompt, context):
    if "explode" in (prompt or ""):
        raise RuntimeError("it exploded, and the PIN is 4711")
    return ["forbidden words" if "forbidden" in (prompt or "") else None for _ in renditions]
"""


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    with hosting() as host:
        host.files["/scene.png"] = picture(3)
        host.files["/page.html"] = b"<html>no picture</html>"
        yield host


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("describer")
    place = Workplace(folder, f"sqlite:///{folder / 'catalog.db'}")
    place.plugin("strict", STRICT)
    place.config["api"] = {
        "rate_limit": {"minute": 5, "hour": 300},
        "allow_hosts": ["127.0.0.1"],
        "cost": {"drawings-vlm": 0.25},
    }
    make_key(place, "plenty", "--minute", "100000", "--hour", "100000")
    make_key(place, "few")
    make_key(place, "poor", "--minute", "1000", "--hour", "1000", "--credits", "0.5")
    make_key(place, "revoked")
    make_key(place, "reader", "--scope", "read")
    assert place.enrich("keys", "revoke", "revoked").returncode == 0
    with serving(place, "--log-format", "json") as server:
        yield server
    place.engine.dispose()


@pytest.fixture(scope="module")
def keys(server: Server) -> dict[str, str]:
    return server.place.keys


def refused(server: Server, key: str | None, body: Any, status: int, code: int) -> dict[str, Any]:
    answer = server.post(PATH, key, json=body)
    said: dict[str, Any] = answer.json()
    assert (answer.status_code, said["code"]) == (status, code), said
    assert said["message"]
    assert said["request_id"] == answer.headers["X-Request-Id"]
    return said


@pytest.mark.parametrize("form", ["url", "data_uri", "base64"])
def test_a_picture_is_described(server: Server, keys: dict[str, str], host: Host, form: str) -> None:
    image = {
        "url": f"{host.url}/scene.png",
        "data_uri": data_uri(picture(3)),
        "base64": base64.b64encode(picture(3)).decode(),
    }[form]
    answer = server.post(PATH, keys["plenty"], json={"image": image})
    said = answer.json()
    assert answer.status_code == 200, said
    assert (said["code"], said["message"]) == (0, "success")
    assert said["data"]["content"]
    assert said["request_id"] == answer.headers["X-Request-Id"]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_prompt_is_answered_whatever_the_format(server: Server, keys: dict[str, str], kind: str) -> None:
    body = {"image": data_uri(picture(3, kind)), "prompt": "How many shapes are there?", "lang": "en"}
    assert server.post(PATH, keys["plenty"], json=body).json()["data"]["content"]


def test_a_language_of_null_is_english(server: Server, keys: dict[str, str]) -> None:
    body = {"image": data_uri(picture(3)), "lang": None}
    answer = server.post(PATH, keys["plenty"], json=body)
    assert (answer.status_code, answer.json()["code"]) == (200, 0)


def test_1002_without_a_key(server: Server) -> None:
    refused(server, None, {"image": data_uri(picture())}, 401, 1002)


@pytest.mark.parametrize("name", ["revoked", "unknown", "reader"])
def test_1003_with_a_wrong_key(server: Server, keys: dict[str, str], name: str) -> None:
    key = keys.get(name, "enr_abcdefgh_" + "x" * 32)
    refused(server, key, {"image": data_uri(picture())}, 401, 1003)


def test_1004_after_five_within_a_minute(server: Server, keys: dict[str, str]) -> None:
    for _ in range(5):
        refused(server, keys["few"], {}, 400, 1005)
    answer = server.post(PATH, keys["few"], json={})
    assert (answer.status_code, answer.json()["code"]) == (429, 1004)
    assert 1 <= int(answer.headers["Retry-After"]) <= 61


@pytest.mark.parametrize(
    "body",
    [{}, {"image": ""}, {"image": 5}, {"image": None}, {"image": data_uri(picture()), "lang": "xx"}, [], "x"],
)
def test_1005_with_a_wrong_parameter(server: Server, keys: dict[str, str], body: Any) -> None:
    refused(server, keys["plenty"], body, 400, 1005)


def test_1005_with_what_is_no_json(server: Server, keys: dict[str, str]) -> None:
    answer = server.post(
        PATH, keys["plenty"], data='{"image": NaN', headers={"Content-Type": "application/json"}
    )
    assert (answer.status_code, answer.json()["code"]) == (400, 1005)


def test_2002_without_credits(server: Server, keys: dict[str, str]) -> None:
    body = {"image": data_uri(picture(5))}
    # What fails costs nothing.
    refused(server, keys["poor"], {**body, "prompt": "forbidden"}, 422, 2003)
    assert [server.post(PATH, keys["poor"], json=body).status_code for _ in range(2)] == [200, 200]
    refused(server, keys["poor"], body, 402, 2002)


def test_2003_where_a_filter_refuses(server: Server, keys: dict[str, str]) -> None:
    refused(server, keys["plenty"], {"image": data_uri(picture()), "prompt": "forbidden things"}, 422, 2003)


@pytest.mark.parametrize("what", ["text", "truncated", "bmp", "gif", "large", "base64"])
def test_2004_with_what_is_no_picture_that_is_taken(server: Server, keys: dict[str, str], what: str) -> None:
    image = {
        "text": data_uri(b"hello"),
        "truncated": data_uri(picture(3)[:300]),
        "bmp": data_uri(picture(3, "BMP")),
        "gif": data_uri(picture(3, "GIF"), "image/png"),
        "large": data_uri(noise(1200)),
        "base64": "!!!! no base64 at all",
    }[what]
    refused(server, keys["plenty"], {"image": image}, 415, 2004)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1/x.png", "http://10.0.0.1/x.png", "http://[::1]/x.png", "{host}/missing.png"]
)
def test_2005_where_it_cannot_be_fetched(server: Server, keys: dict[str, str], host: Host, url: str) -> None:
    refused(server, keys["plenty"], {"image": url.format(host=host.url)}, 422, 2005)


def test_5050_where_something_of_ours_fails(server: Server, keys: dict[str, str]) -> None:
    said = refused(server, keys["plenty"], {"image": data_uri(picture()), "prompt": "explode"}, 500, 5050)
    assert "4711" not in said["message"]


def test_the_log_is_json_with_the_ids_of_requests(server: Server, keys: dict[str, str]) -> None:
    answer = server.post(PATH, keys["plenty"], json={"image": data_uri(picture(3))})
    request_id = answer.headers["X-Request-Id"]
    (line,) = [line for line in server.lines if line.get("request_id") == request_id and "status" in line]
    assert (line["dialect"], line["status"], line["path"]) == ("describer", 200, PATH)
    assert line["key"] == "plenty"
    assert line["cached"] is False


def test_usage_is_counted_by_key(server: Server, keys: dict[str, str]) -> None:
    rows = server.place.rows("SELECT * FROM key_usage WHERE name = 'poor'")
    assert sum(row["cost"] for row in rows) == pytest.approx(0.5)


def test_curl_says_the_same(server: Server, keys: dict[str, str], host: Host) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    body = json.dumps({"image": f"{host.url}/scene.png", "prompt": "What is in this picture?", "lang": "en"})
    command = ["curl", "-sS", server.url + PATH, "-H", f"Authorization: Bearer {keys['plenty']}", "-d", body]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=90, check=True)
    assert json.loads(ran.stdout)["code"] == 0
