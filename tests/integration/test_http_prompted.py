"""The dialect of one picture and one prompt."""

import hashlib
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from http_kit import Host, Server, data_uri, hosting, picture, serving_in

from enrich import __version__

PATH = "/v2/image-to-text"
PROMPT = "How many shapes are there?"


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    with hosting() as host:
        host.files["/a/scene.png"] = picture(3)
        yield host


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving_in(tmp_path_factory.mktemp("prompted")) as server:
        yield server


@pytest.fixture(scope="module")
def key(server: Server) -> str:
    return server.place.keys["tests"]


def check(said: dict[str, Any], file_name: str) -> None:
    assert said["status"] == "success"
    assert said["version"] == __version__
    assert said["image_to_text"]
    assert said["file_downloaded"] == file_name
    assert said["sha1"] == hashlib.sha1(picture(3)).hexdigest()
    uuid.UUID(said["request_uuid"])


def test_a_url_and_a_prompt(server: Server, key: str, host: Host) -> None:
    answer = server.post(PATH, key, json={"image_url": f"{host.url}/a/scene.png?x=1", "prompt": PROMPT})
    assert answer.status_code == 200, answer.text
    check(answer.json(), "scene.png")


def test_a_file_and_a_prompt(server: Server, key: str) -> None:
    answer = server.post(
        PATH, key, data={"prompt": PROMPT}, files={"image": ("mine.png", picture(3), "image/png")}
    )
    assert answer.status_code == 200, answer.text
    check(answer.json(), "mine.png")


def test_a_file_name_is_never_a_path(server: Server, key: str) -> None:
    files = {"image": ("../../etc/\u202epasswd\n.png", picture(3))}
    answer = server.post(PATH, key, data={"prompt": PROMPT}, files=files)
    assert answer.status_code == 200, answer.text
    named = answer.json()["file_downloaded"]
    assert "/" not in named
    assert named.isprintable()


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"prompt": PROMPT}, 400),
        ({"image_url": data_uri(picture(3))}, 400),
        ({"image_url": data_uri(picture(3)), "prompt": ""}, 400),
        ({"image_url": data_uri(picture(3)), "prompt": 7}, 400),
        ({"image_url": data_uri(b"no"), "prompt": PROMPT}, 415),
        ({"image_url": "http://169.254.169.254/latest/meta-data", "prompt": PROMPT}, 422),
        ({"image_url": "file:///etc/passwd", "prompt": PROMPT}, 400),
    ],
)
def test_what_is_wrong_is_said(server: Server, key: str, body: dict[str, Any], status: int) -> None:
    answer = server.post(PATH, key, json=body)
    assert answer.status_code == status, answer.text
    assert set(answer.json()) == {"status", "message", "request_uuid"}
    assert answer.json()["status"] == "error"


def test_a_broken_form_is_a_bad_request(server: Server, key: str) -> None:
    for body in (b"--x\r\nbroken", b"", b"--x\r\nContent-Disposition: form-data\r\n\r\na\r\n--x--"):
        headers = {"Content-Type": "multipart/form-data; boundary=x"}
        assert server.post(PATH, key, data=body, headers=headers).status_code == 400
