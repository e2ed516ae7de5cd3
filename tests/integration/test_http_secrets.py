"""What is secret is in no log, whatever goes wrong; and no client writes lines of its own into one."""

import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from http_kit import PLENTY, Host, Server, data_uri, hosting, make_key, picture, serving
from outside import free_port
from workplace import Workplace, wait_until

PIN = "4711-is-the-pin"
TOKEN = "t0ken-of-a-webhook"
PASSWORD = "hunter2-in-a-url"
SECRET = "whisper-of-the-receiver"
WRONG = "enr_wrong12345_neverwasone"

#: Fails over a word in the prompt.
FRAIL = """
import enrich

@enrich.hookimpl
def enrich_moderate(renditions, prompt, context):
    if "fail" in (prompt or ""):
        raise RuntimeError("it failed")
    return [None for _ in renditions]
"""


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    with hosting() as host:
        host.files["/picture.png"] = picture(3)
        host.is_down = True
        yield host


@pytest.fixture(scope="module", params=["text", "json"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, host: Host
) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("secrets")
    place = Workplace(folder, f"sqlite:///{folder / 'catalog.db'}")
    place.plugin("frail", FRAIL)
    place.config["api"] = {"rate_limit": PLENTY, "allow_hosts": ["127.0.0.1"]}
    make_key(place, "tests")
    environment = {"ENRICH_WEBHOOK_SECRET": SECRET}
    with serving(place, "-vv", "--log-format", request.param, environment=environment) as server:
        yield server
    place.engine.dispose()


def ask_in_every_way(server: Server, host: Host, key: str) -> None:
    """Say each secret in each place where a client may say it, rightly and wrongly."""
    link = f"{host.url}/picture.png?token={TOKEN}"
    secret_link = link.replace("//", f"//bob:{PASSWORD}@")
    gone = f"http://127.0.0.1:{free_port()}/x.png?token={TOKEN}"
    for image in (link, secret_link, gone, data_uri(picture(3))):
        for prompt in (PIN, f"fail {PIN}"):
            part = {"type": "image_url", "image_url": {"url": image}}
            message = {"role": "user", "content": [{"type": "text", "text": prompt}, part]}
            chat = {"model": "drawings-vlm", "messages": [message]}
            task = {"taskType": "imageCaption", "taskUUID": str(uuid.uuid4()), "prompt": prompt}
            webhook = f"{host.url}/hook?token={TOKEN}"
            later = {**task, "taskUUID": str(uuid.uuid4()), "deliveryMethod": "async", "webhookURL": webhook}
            login = {"taskType": "authentication", "apiKey": key}
            for path, body, secret in (
                ("/v1/chat/completions", chat, key),
                ("/v1/chat/completions", {**chat, "stream": True}, key),
                ("/v1/tasks", [login, {**task, "inputImage": image}, {**later, "inputImage": image}], None),
                ("/v1/tasks", [{**later, "inputImage": image, "webhookURL": secret_link}], key),
                (f"/api/v1/generate_content?key={key}", {"image": image, "prompt": prompt}, key),
                ("/v2/image-to-text", {"image_url": image, "prompt": prompt}, key),
                (
                    "/api/v6/image_editing/caption",
                    {"key": key, "init_image": image, "length": "short"},
                    None,
                ),
                ("/assets", {"image": image}, key),
            ):
                server.post(path, secret, json=body)
    server.post("/v1/tasks", json=[{"taskType": "authentication", "apiKey": WRONG}])
    server.get("/v1/models", WRONG)
    server.post("/v1/tasks", key, data=f'[{{"apiKey": "{key}"', headers={"Content-Type": "application/json"})
    # An address with a user in it makes the client send a header of its own.
    requests.get(f"{server.url.replace('//', f'//bob:{PASSWORD}@')}/v1/models", timeout=90)


@pytest.mark.timeout(300)
def test_no_secret_is_in_a_log(server: Server, host: Host) -> None:
    key = server.place.keys["tests"]
    ask_in_every_way(server, host, key)
    process: Any = server.process
    tried = "SELECT count(*) FROM deliveries WHERE attempts > 0"
    wait_until(lambda: server.place.column(tried) != [0], process, seconds=120)
    said = server.said
    assert "/v1/chat/completions" in said
    found = [secret for secret in (key, key[-24:], WRONG, PIN, TOKEN, PASSWORD, SECRET) if secret in said]
    assert found == []
    shown = json.dumps(server.place.rows("SELECT * FROM api_keys"), default=str)
    assert key[-24:] not in shown


@pytest.mark.timeout(300)
def test_no_client_writes_a_line_of_the_log(server: Server) -> None:
    key = server.place.keys["tests"]
    forged = "2026-01-01 00:00:00,000 INFO enrich.http: forged"
    body = {"model": f"x\n{forged}", "messages": [{"role": "user", "content": "?"}]}
    server.post("/v1/chat/completions", key, json=body)
    server.get(f"/v1/models%0a{forged}%0d{forged}%1b[2J", key)
    server.get("/v1/models", key, headers={"User-Agent": "a\tb"})
    assert "forged" in server.said
    assert not [line for line in server.said.splitlines() if line.startswith(forged[:10])]
    assert "\x1b" not in server.said
