"""The dialect of captions with a length."""

import base64
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from http_kit import Host, Server, data_uri, hosting, picture, serving_in

PATH = "/api/v6/image_editing/caption"


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    with hosting() as host:
        host.files["/scene.png"] = picture(3)
        yield host


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving_in(tmp_path_factory.mktemp("captions")) as server:
        yield server


@pytest.fixture(scope="module")
def key(server: Server) -> str:
    return server.place.keys["tests"]


@pytest.mark.parametrize("form", ["url", "data_uri", "base64"])
def test_a_picture_gets_its_caption(server: Server, key: str, host: Host, form: str) -> None:
    image = {
        "url": f"{host.url}/scene.png",
        "data_uri": data_uri(picture(3)),
        "base64": base64.b64encode(picture(3)).decode(),
    }[form]
    body = {"key": key, "model_id": "Image-Caption", "init_image": image, "length": "normal"}
    answer = server.post(PATH, json=body)
    said = answer.json()
    assert answer.status_code == 200, said
    assert said["status"] == "success"
    assert isinstance(said["id"], int)
    assert said["generationTime"] > 0
    (text,) = said["output"]
    assert text


def test_a_file_of_a_form_is_taken(server: Server, key: str) -> None:
    fields = {"key": key, "model_id": "Image-Caption", "length": "short"}
    answer = server.post(PATH, data=fields, files={"init_image": ("scene.png", picture(3))})
    assert answer.status_code == 200, answer.text
    assert answer.json()["output"][0]


def test_lengths_differ(server: Server, key: str) -> None:
    said = []
    for length in ("short", "Normal", "LONG"):
        body = {"key": key, "init_image": data_uri(picture(3)), "length": length}
        said.append(server.post(PATH, json=body).json()["output"][0])
    assert len(said[0]) < len(said[1]) < len(said[2])


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"length": None}, 400),
        ({"length": "endless"}, 400),
        ({"init_image": None}, 400),
        ({"init_image": data_uri(b"no picture")}, 415),
        ({"init_image": "http://10.0.0.1/a.png"}, 422),
        ({"model_id": "no-such-model"}, 404),
        ({"key": "wrong"}, 401),
        ({"key": None}, 401),
    ],
)
def test_what_is_wrong_is_said(server: Server, key: str, change: dict[str, Any], status: int) -> None:
    body = {"key": key, "init_image": data_uri(picture(3)), "length": "short", **change}
    answer = server.post(PATH, json={name: value for name, value in body.items() if value is not None})
    assert answer.status_code == status, answer.text
    assert set(answer.json()) == {"status", "message"}
    assert answer.json()["status"] == "error"


def test_the_key_of_a_body_is_in_no_log(server: Server, key: str) -> None:
    server.post(PATH, json={"key": key, "length": key})
    assert key not in server.said


def test_curl_says_the_same(server: Server, key: str, tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    (tmp_path / "scene.png").write_bytes(picture(3))
    command = [
        "curl",
        "-sS",
        server.url + PATH,
        "-F",
        f"key={key}",
        "-F",
        "length=normal",
        "-F",
        "init_image=@scene.png",
    ]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=90, check=True)
    assert json.loads(ran.stdout)["status"] == "success"
