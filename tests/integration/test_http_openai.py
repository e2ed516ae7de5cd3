"""OpenAI's dialect, spoken by OpenAI's own client to a server started as a user starts it."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from http_kit import Host, Server, data_uri, hosting, picture, serving_in

MODEL = "drawings-vlm"


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    with hosting() as host:
        host.files["/scene.png"] = picture(3)
        yield host


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, host: Host) -> Iterator[Server]:
    with serving_in(tmp_path_factory.mktemp("openai")) as server:
        yield server


@pytest.fixture(scope="module")
def key(server: Server) -> str:
    return server.place.keys["tests"]


@pytest.fixture
def client(server: Server, key: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key=key, max_retries=0, timeout=90) as client:
        yield client


def ask(text: str, *urls: str) -> list[Any]:
    parts: list[dict[str, Any]] = [{"type": "text", "text": text}]
    parts += [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    return [{"role": "user", "content": parts}]


def test_models_are_listed_and_shown(client: openai.OpenAI) -> None:
    listed = {model.id: model for model in client.models.list()}
    assert [*listed] == sorted(listed)
    assert MODEL in listed
    # When it came here, in whole seconds: after it was thought of, and not in the future.
    assert all(1_700_000_000 < model.created <= time.time() for model in listed.values())
    assert client.models.retrieve(MODEL) == listed[MODEL]


@pytest.mark.parametrize("name", ["no-such-model", "nobody/no-such-model", "runware:150@2"])
def test_a_model_that_is_not_here_is_not_shown(client: openai.OpenAI, name: str) -> None:
    with pytest.raises(openai.NotFoundError) as refused:
        client.models.retrieve(name)
    assert (refused.value.code, refused.value.param) == ("model_not_found", "model")


def test_a_picture_in_the_message_is_described(client: openai.OpenAI) -> None:
    said = client.chat.completions.create(
        model=MODEL, messages=ask("What is in this picture?", data_uri(picture(3)))
    )
    assert said.object == "chat.completion"
    assert said.model == MODEL
    assert said.choices[0].finish_reason == "stop"
    assert said.choices[0].message.role == "assistant"
    assert said.choices[0].message.content
    assert said.usage is not None
    assert said.usage.completion_tokens > 0
    assert said.usage.total_tokens == said.usage.prompt_tokens + said.usage.completion_tokens


def test_a_picture_by_its_url_is_the_same_picture(client: openai.OpenAI, host: Host) -> None:
    by_url, by_uri = (
        client.chat.completions.create(model=MODEL, messages=ask("What is in this picture?", url))
        for url in (f"{host.url}/scene.png?token=secret", data_uri(picture(3)))
    )
    assert by_url.choices[0].message.content == by_uri.choices[0].message.content


def test_two_pictures_are_answered_one_after_the_other(client: openai.OpenAI) -> None:
    said = client.chat.completions.create(
        model=MODEL, messages=ask("What is in this picture?", data_uri(picture(3)), data_uri(picture(4)))
    )
    content = said.choices[0].message.content
    assert content is not None
    assert "Picture 1" in content
    assert "Picture 2" in content


def test_a_conversation_goes_on(client: openai.OpenAI) -> None:
    messages = ask("What is in this picture?", data_uri(picture(3)))
    first = client.chat.completions.create(model=MODEL, messages=messages)
    messages += [
        {"role": "assistant", "content": first.choices[0].message.content},
        {"role": "user", "content": "How many shapes are there?"},
    ]
    messages.insert(0, {"role": "system", "content": "Be brief."})
    again = client.chat.completions.create(model=MODEL, messages=messages)
    assert again.choices[0].message.content


def test_words_come_as_they_are_made(client: openai.OpenAI) -> None:
    messages = ask("What is in this picture?", data_uri(picture(3)))
    whole = client.chat.completions.create(model=MODEL, messages=messages)
    with client.chat.completions.create(
        model=MODEL, messages=messages, stream=True, stream_options={"include_usage": True}
    ) as stream:
        chunks = list(stream)
    pieces = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices]
    assert "".join(piece or "" for piece in pieces) == whole.choices[0].message.content
    assert sum(1 for piece in pieces if piece) > 1
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    assert chunks[-1].usage == whole.usage


def test_the_budget_of_tokens_is_kept(client: openai.OpenAI) -> None:
    said = client.chat.completions.create(
        model=MODEL, messages=ask("What is in this picture?", data_uri(picture(3))), max_tokens=3
    )
    assert said.choices[0].finish_reason == "length"
    assert said.usage is not None
    assert said.usage.completion_tokens <= 3


def test_a_bad_key_is_refused(server: Server) -> None:
    with (
        openai.OpenAI(base_url=f"{server.url}/v1", api_key="enr_wrong", max_retries=0) as client,
        pytest.raises(openai.AuthenticationError) as refused,
    ):
        client.models.list()
    assert refused.value.code == "invalid_api_key"


@pytest.mark.parametrize("urls", [[data_uri(picture(3))], [], [data_uri(b"no picture")]])
def test_an_unknown_model_is_not_found_whatever_it_is_asked(client: openai.OpenAI, urls: list[str]) -> None:
    with pytest.raises(openai.NotFoundError) as refused:
        client.chat.completions.create(model="gpt-nothing", messages=ask("Hello?", *urls))
    assert (refused.value.code, refused.value.param) == ("model_not_found", "model")


@pytest.mark.parametrize(
    "url", [data_uri(b"no picture at all"), data_uri(picture(3)[:200]), "data:image/png,"]
)
def test_a_broken_picture_is_a_bad_request(client: openai.OpenAI, url: str) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model=MODEL, messages=ask("What is it?", url))
    assert refused.value.code == "invalid_image"


def test_a_stream_that_cannot_begin_is_refused_as_any_request(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(
            model="gpt-nothing", messages=ask("Hello?", data_uri(picture(3))), stream=True
        )


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("messages", []),
        ("messages", "What?"),
        ("messages", [{"role": "user", "content": [{"type": "image_url"}]}]),
        ("messages", [{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}]),
        ("messages", [{"role": "user", "content": {"type": "text", "text": "What?"}}]),
        ("messages", ask("What?", *["data:image/png;base64,AAAA"] * 17)),
        ("messages", [ask("?", f"https://example.org/{number}")[0] for number in range(17)]),
        ("messages", [{"role": "robot", "content": "Hello"}]),
        ("messages", [{"role": "assistant", "content": "Hello"}]),
        ("max_tokens", 0),
        ("temperature", 3),
        ("n", 2),
        ("stop", ["a", "b", "c", "d", "e"]),
        ("stream", "yes"),
        ("model", None),
    ],
)
def test_a_wrong_field_is_named(server: Server, key: str, field: str, value: Any) -> None:
    body = {"model": MODEL, "messages": ask("What?", data_uri(picture(3))), "unknown": {"a": 1}, field: value}
    answer = server.post("/v1/chat/completions", key, json=body)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["type"] == "invalid_request_error"
    assert error["param"].startswith(field)
    assert ".str" not in error["param"]


def test_what_is_secret_is_in_no_log(server: Server, key: str, host: Host, client: openai.OpenAI) -> None:
    client.chat.completions.create(
        model=MODEL, messages=ask("Is my password qwertz right?", f"{host.url}/scene.png?token=secret")
    )
    server.get(f"/v1/models?key={key}", key)
    said = server.said
    assert "/v1/chat/completions 200" in said
    assert key not in said
    assert "token=secret" not in said
    assert "qwertz" not in said


def test_curl_says_the_same(server: Server, key: str, tmp_path: Path) -> None:
    import shutil
    import subprocess

    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    body = {"model": MODEL, "messages": ask("What is in this picture?", data_uri(picture(3)))}
    (tmp_path / "body.json").write_text(json.dumps(body))
    command = [
        "curl", "-sS", f"{server.url}/v1/chat/completions",
        "-H", f"Authorization: Bearer {key}",
        "-H", "Content-Type: application/json",
        "-d", "@body.json",
    ]  # fmt: skip
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=90, check=True)
    assert json.loads(ran.stdout)["choices"][0]["message"]["content"]
