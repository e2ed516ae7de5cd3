"""Requests as users of each service have them in their scripts, changed in host, key and picture alone."""

import asyncio
import base64
import json
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pydantic
import pytest
import requests
from http_kit import PLENTY, Host, Server, data_uri, hosting, make_key, picture, serving
from workplace import Workplace

JSON = "Content-Type: application/json"
CAPTION = "/api/v6/image_editing/caption"
QUESTION = "How many shapes are there?"


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    with hosting() as host:
        host.files["/picture.jpg"] = picture(3, "JPEG")
        yield host


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("forms")
    place = Workplace(folder, f"sqlite:///{folder / 'catalog.db'}")
    place.config["api"] = {
        "rate_limit": PLENTY,
        "allow_hosts": ["127.0.0.1"],
        "cost": {"drawings-vlm": 0.002},
    }
    make_key(place, "forms")
    (folder / "picture.jpg").write_bytes(picture(3, "JPEG"))
    (folder / "PICTURE.WEBP").write_bytes(picture(3, "WEBP"))
    with serving(place, is_forked=False) as server:
        yield server
    place.engine.dispose()


@pytest.fixture(scope="module")
def key(server: Server) -> str:
    return server.place.keys["forms"]


def curl(server: Server, path: str, *arguments: str) -> Any:
    """Run curl in a folder with a picture; return the JSON that it prints."""
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    ran = subprocess.run(
        ["curl", "-sS", *arguments, server.url + path],
        cwd=server.place.folder,
        capture_output=True,
        text=True,
        timeout=90,
        check=True,
    )
    return json.loads(ran.stdout)


def bearer(key: str) -> tuple[str, str]:
    return ("-H", f"Authorization: Bearer {key}")


# OpenAI's dialect.


def question(url: str, **image: Any) -> list[Any]:
    parts = [{"type": "text", "text": QUESTION}, {"type": "image_url", "image_url": {"url": url, **image}}]
    return [{"role": "user", "content": parts}]


def test_openai_by_curl_with_base64_in_a_file(server: Server, key: str) -> None:
    encoded = base64.b64encode(picture(3, "JPEG")).decode()
    body = {"model": "drawings-vlm", "messages": question(f"data:image/jpeg;base64,{encoded}")}
    (server.place.folder / "payload.json").write_text(json.dumps(body))
    said = curl(server, "/v1/chat/completions", "-H", JSON, *bearer(key), "--data-binary", "@payload.json")
    assert said["choices"][0]["message"]["content"]


def test_openai_client_told_by_the_environment(
    server: Server, key: str, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", f"{server.url}/v1")
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with openai.OpenAI(max_retries=0) as client:
        said = client.chat.completions.create(
            model=next(model.id for model in client.models.list() if model.id.endswith("vlm")),
            messages=question(f"{host.url}/picture.jpg", detail="low"),
            max_completion_tokens=40,
            temperature=1,
            top_p=1,
            seed=7,
            stop=["\n"],
            user="somebody",
            presence_penalty=0,
        )
    assert said.choices[0].message.content
    assert said.usage is not None
    assert said.usage.completion_tokens <= 40


def test_openai_asynchronous_client_streams(server: Server, key: str) -> None:
    async def go() -> tuple[str, str | None]:
        async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key=key, max_retries=0) as client:
            uri = data_uri(picture(3))
            whole = await client.chat.completions.create(model="drawings-vlm", messages=question(uri))
            stream = await client.chat.completions.create(
                model="drawings-vlm", messages=question(uri), stream=True
            )
            pieces = [chunk.choices[0].delta.content or "" async for chunk in stream]
        return "".join(pieces), whole.choices[0].message.content

    streamed, whole = asyncio.run(go())
    assert streamed == whole != ""


def test_openai_structured_outputs_are_parsed(server: Server, key: str) -> None:
    class Counted(pydantic.BaseModel):
        count: int

    with openai.OpenAI(base_url=f"{server.url}/v1", api_key=key, max_retries=0) as client:
        said = client.chat.completions.parse(
            model="drawings-vlm", messages=question(data_uri(picture(3))), response_format=Counted
        )
    assert isinstance(said.choices[0].message.parsed, Counted)


def test_openai_what_text_appears(server: Server, key: str) -> None:
    messages = question(data_uri(picture(3)))
    messages[0]["content"][0]["text"] = "What text appears in this image?"
    body = {"model": "ocr", "messages": messages}
    answer = requests.post(
        f"{server.url}/v1/chat/completions", headers={"Authorization": f"Bearer {key}"}, json=body, timeout=90
    )
    assert answer.status_code == 200, answer.text
    assert isinstance(answer.json()["choices"][0]["message"]["content"], str)


# Task arrays.


def task(**fields: Any) -> dict[str, Any]:
    return {"taskType": "imageCaption", "taskUUID": str(uuid.uuid4()), **fields}


@pytest.mark.parametrize("path", ["/v1", "/v1/tasks"])
def test_tasks_by_curl_with_the_key_in_front(server: Server, key: str, host: Host, path: str) -> None:
    asked = task(inputImage=f"{host.url}/picture.jpg", includeCost=True, numberResults=1)
    body = json.dumps([{"taskType": "authentication", "apiKey": key}, asked])
    said = curl(server, path, "--location", "-X", "POST", "-H", JSON, "--data-raw", body)
    (item,) = [one for one in said["data"] if one["taskType"] == "imageCaption"]
    assert (item["taskUUID"], item["cost"], said["errors"]) == (asked["taskUUID"], 0.002, [])
    assert item["text"]


def test_tasks_upload_then_ask(server: Server, key: str) -> None:
    url, headers = f"{server.url}/v1/tasks", {"Authorization": f"Bearer {key}"}
    encoded = base64.b64encode(picture(3, "WEBP")).decode()
    upload = {"taskType": "imageUpload", "taskUUID": str(uuid.uuid4()), "image": encoded}
    (sent,) = requests.post(url, headers=headers, json=[upload], timeout=90).json()["data"]
    asked = task(inputImage=sent["imageUUID"], prompt=QUESTION, deliveryMethod="sync")
    (item,) = requests.post(url, headers=headers, json=[asked], timeout=90).json()["data"]
    assert item["text"]


# The describer.


@pytest.mark.parametrize("lang", ["en", "zh", "fr", "de", "es", "ja", "ko"])
def test_describer_by_curl_in_each_language(server: Server, key: str, host: Host, lang: str) -> None:
    body = json.dumps({"image": f"{host.url}/picture.jpg", "lang": lang})
    said = curl(
        server, "/api/v1/generate_content", "--request", "POST", "-H", JSON, *bearer(key), "--data", body
    )
    assert (said["code"], said["message"]) == (0, "success"), said
    assert said["data"]["content"]


def test_describer_by_requests_with_a_data_uri(server: Server, key: str) -> None:
    payload = {"image": data_uri(picture(3, "JPEG"), "image/jpeg"), "prompt": QUESTION}
    answer = requests.post(
        f"{server.url}/api/v1/generate_content",
        headers={"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
        data=json.dumps(payload),
        timeout=90,
    )
    assert answer.json()["data"]["content"]


# A caption of a length.


@pytest.mark.parametrize("length", ["short", "Normal", "LONG"])
def test_caption_by_curl_with_json(server: Server, key: str, host: Host, length: str) -> None:
    fields = {
        "key": key,
        "model_id": "Image-Caption",
        "init_image": f"{host.url}/picture.jpg",
        "length": length,
    }
    said = curl(server, CAPTION, "--location", "--request", "POST", "-H", JSON, "-d", json.dumps(fields))
    assert said["status"] == "success", said
    assert set(said) == {"status", "id", "generationTime", "output"}
    assert said["output"][0]


def test_caption_by_curl_with_a_file(server: Server, key: str) -> None:
    fields = ["-F", f"key={key}", "-F", "model_id=Image-Caption", "-F", "length=normal"]
    said = curl(server, CAPTION, *fields, "-F", "init_image=@PICTURE.WEBP;type=image/jpeg")
    assert said["status"] == "success", said


@pytest.mark.parametrize("form", ["base64", "data"])
def test_caption_by_requests(server: Server, key: str, form: str) -> None:
    content = picture(3, "JPEG")
    image = base64.b64encode(content).decode() if form == "base64" else data_uri(content, "image/jpeg")
    payload = json.dumps({"key": key, "model_id": "Image-Caption", "init_image": image, "length": "short"})
    headers = {"Content-Type": "application/json"}
    answer = requests.request("POST", server.url + CAPTION, headers=headers, data=payload, timeout=90)
    assert answer.json()["status"] == "success", answer.text


# A picture and a prompt.


def test_prompted_by_curl_with_json_and_with_a_file(server: Server, key: str, host: Host) -> None:
    body = json.dumps({"image_url": f"{host.url}/picture.jpg", "prompt": QUESTION})
    by_url = curl(server, "/v2/image-to-text", "-H", JSON, *bearer(key), "-d", body)
    by_file = curl(
        server, "/v2/image-to-text", *bearer(key), "-F", "image=@picture.jpg", "-F", f"prompt={QUESTION}"
    )
    for said in (by_url, by_file):
        assert said["status"] == "success", said
        assert said["file_downloaded"] == "picture.jpg"
    assert by_url["sha1"] == by_file["sha1"]
    assert by_url["image_to_text"] == by_file["image_to_text"] != ""


def test_prompted_by_requests_with_an_open_file(server: Server, key: str) -> None:
    path: Path = server.place.folder / "picture.jpg"
    with path.open("rb") as file:
        answer = requests.post(
            f"{server.url}/v2/image-to-text",
            headers={"Authorization": f"Bearer {key}"},
            files={"image": file},
            data={"prompt": QUESTION},
            timeout=90,
        )
    assert answer.json()["image_to_text"]


# Our own paths.


def test_own_by_curl(server: Server, key: str) -> None:
    sent = curl(server, "/assets", *bearer(key), "-F", "image=@picture.jpg")
    assert curl(server, f"/assets/{sent['uuid']}", *bearer(key))["sha256"] == sent["sha256"]
    assert sent["id"] in [one["id"] for one in curl(server, "/assets?limit=5", *bearer(key))["assets"]]
    assert curl(server, "/healthz")
