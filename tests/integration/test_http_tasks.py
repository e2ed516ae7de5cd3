"""Task arrays: waited for and not, repeated, killed in the middle, and told of by webhooks."""

import base64
import hashlib
import hmac
import json
import signal
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from http_kit import PLENTY, Host, Server, data_uri, hosting, make_key, picture, serving
from workplace import Workplace

PATH = "/v1/tasks"

#: What takes longer than a request waits.
SLOW = """
import time
import enrich

@enrich.hookimpl
def enrich_moderate(renditions, prompt, context):
    if "slowly" in (prompt or ""):
        time.sleep(11)
    return [None for _ in renditions]
"""


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    with hosting() as host:
        host.files["/scene.png"] = picture(3)
        yield host


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("tasks")
    place = Workplace(folder, f"sqlite:///{folder / 'catalog.db'}")
    place.plugin("slow", SLOW)
    place.config["api"] = {
        "rate_limit": PLENTY,
        "allow_hosts": ["127.0.0.1"],
        "cost": {"drawings-vlm": 0.0125},
        "sync_timeout_seconds": 8,
    }
    make_key(place, "one")
    make_key(place, "other")
    place.few = make_key(place, "few", "--minute", "2")  # type: ignore[attr-defined]  # as above
    with serving(place) as server:
        # The model is loaded by whoever asks first, and that takes longer than a request waits here.
        body = {"image": data_uri(picture(3))}
        assert server.post("/api/v1/generate_content", place.keys["one"], json=body).status_code == 200
        yield server
    place.engine.dispose()


@pytest.fixture(scope="module")
def key(server: Server) -> str:
    return server.place.keys["one"]


def task(**fields: Any) -> dict[str, Any]:
    return {
        "taskType": "imageCaption",
        "taskUUID": str(uuid.uuid4()),
        "inputImage": data_uri(picture(3)),
        **fields,
    }


def run(server: Server, key: str | None, *items: Any) -> dict[str, Any]:
    answer = server.post(PATH, key, json=list(items))
    assert answer.status_code == 200, answer.text
    said: dict[str, Any] = answer.json()
    return said


def response(server: Server, key: str | None, of: dict[str, Any], seconds: float = 60) -> dict[str, Any]:
    """Ask until a task is done."""
    end = time.monotonic() + seconds
    while True:
        said = run(server, key, {"taskType": "getResponse", "taskUUID": of["taskUUID"]})
        if said["data"][0]["status"] != "processing":
            return said
        assert time.monotonic() < end, said
        time.sleep(0.1)


@pytest.mark.parametrize("path", [PATH, "/v1"])
def test_a_picture_is_described(server: Server, key: str, path: str) -> None:
    asked = task()
    answer = server.post(path, key, json=[asked])
    assert answer.status_code == 200
    (item,) = answer.json()["data"]
    assert answer.json()["errors"] == []
    assert set(item) == {"taskType", "taskUUID", "text"}
    assert (item["taskType"], item["taskUUID"]) == ("imageCaption", asked["taskUUID"])
    assert item["text"]


def test_every_form_of_a_picture_gives_the_same(server: Server, key: str, host: Host) -> None:
    (sent,) = run(
        server, key, {"taskType": "imageUpload", "taskUUID": str(uuid.uuid4()), "image": data_uri(picture(3))}
    )["data"]
    forms = [
        data_uri(picture(3)),
        base64.b64encode(picture(3)).decode(),
        f"{host.url}/scene.png",
        sent["imageUUID"],
        sent["imageUUID"].upper(),
    ]
    said = run(server, key, *(task(inputImage=form) for form in forms))
    assert said["errors"] == []
    assert len({item["text"] for item in said["data"]}) == 1
    assert len(said["data"]) == len(forms)


def test_an_upload_is_its_keys_alone(server: Server, key: str) -> None:
    other = server.place.keys["other"]
    (sent,) = run(
        server, key, {"taskType": "imageUpload", "taskUUID": str(uuid.uuid4()), "image": data_uri(picture(3))}
    )["data"]
    said = run(server, other, task(inputImage=sent["imageUUID"]))
    assert said["data"] == []
    assert said["errors"][0]["code"] == "notFound"


def test_the_cost_is_said_where_it_is_asked_for(server: Server, key: str) -> None:
    (item,) = run(server, key, task(includeCost=True))["data"]
    assert item["cost"] == 0.0125


def test_a_prompt_is_answered(server: Server, key: str) -> None:
    asked = task(prompt="How many shapes are there?", model="drawings-vlm")
    assert run(server, key, asked)["data"][0]["text"]


def test_a_model_for_one_attribute_has_structured_data_only(server: Server, key: str) -> None:
    (item,) = run(server, key, task(model="drawings-age"))["data"]
    assert set(item) == {"taskType", "taskUUID", "structuredData"}
    assert set(item["structuredData"]) == {"ageGroup", "confidence"}


@pytest.mark.parametrize("version", range(1, 9))
@pytest.mark.parametrize("form", ["lower", "upper"])
def test_uuids_of_all_versions_are_echoed_as_written(
    server: Server, key: str, version: int, form: str
) -> None:
    named = str(uuid.uuid4())
    named = f"{named[:14]}{version}{named[15:]}"
    named = named.upper() if form == "upper" else named
    (item,) = run(server, key, task(taskUUID=named))["data"]
    assert item["taskUUID"] == named


def test_the_same_body_again_gives_the_stored_result(server: Server, key: str) -> None:
    asked = task(includeCost=True)
    first = run(server, key, asked)
    assert run(server, key, asked) == first
    rows = server.place.rows(f"SELECT attempts FROM api_tasks WHERE task_key = '{asked['taskUUID']}'")
    assert rows == [{"attempts": 1}]


def test_another_body_under_the_same_uuid_is_an_error(server: Server, key: str) -> None:
    asked = task()
    run(server, key, asked)
    said = run(server, key, {**asked, "prompt": "What?"})
    assert said["data"] == []
    assert said["errors"][0]["code"] == "duplicateTaskUUID"
    assert said["errors"][0]["taskUUID"] == asked["taskUUID"]
    other = server.place.keys["other"]
    assert run(server, other, {**asked, "prompt": "What is in this picture?"})["data"]


def test_one_of_an_array_may_fail(server: Server, key: str) -> None:
    items = [
        task(),
        task(inputImage=data_uri(b"no picture")),
        task(model="no-such-model"),
        task(taskUUID="123"),
        {key: value for key, value in task().items() if key != "taskUUID"},
        {key: value for key, value in task().items() if key != "inputImage"},
        {"taskType": "imageInference", "taskUUID": str(uuid.uuid4())},
        {"taskUUID": str(uuid.uuid4())},
        task(inputImage="http://127.0.0.1:1/x.png"),
        task(webhookURL="ftp://127.0.0.1/x", deliveryMethod="async"),
    ]
    said = run(server, key, *items)
    assert [item["taskUUID"] for item in said["data"]] == [items[0]["taskUUID"]]
    assert [error["code"] for error in said["errors"]] == [
        "invalidImage",
        "invalidModel",
        "invalidParameter",
        "invalidParameter",
        "invalidParameter",
        "unsupportedTaskType",
        "invalidParameter",
        "imageNotFetched",
        "invalidParameter",
    ]
    assert said["errors"][0]["taskType"] == "imageCaption"
    assert [error["parameter"] for error in said["errors"]] == [
        "inputImage",
        "model",
        "taskUUID",
        "taskUUID",
        "inputImage",
        "taskType",
        "taskType",
        "inputImage",
        "webhookURL",
    ]


@pytest.mark.parametrize("body", ['{"taskType": "imageCaption"}', "not json", "[1]", "[]", ""])
def test_what_is_no_array_of_objects_is_a_bad_request(server: Server, key: str, body: str) -> None:
    answer = server.post(PATH, key, data=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert "array" in answer.json()["errors"][0]["message"]


def test_the_key_may_be_a_task_of_the_array(server: Server, key: str) -> None:
    said = run(server, None, {"taskType": "authentication", "apiKey": key}, task())
    assert [item["taskType"] for item in said["data"]] == ["authentication", "imageCaption"]
    for items, code in (
        ([task()], "missingApiKey"),
        ([{"taskType": "authentication", "apiKey": "x"}], "invalidApiKey"),
    ):
        answer = server.post(PATH, json=items)
        assert (answer.status_code, answer.json()["errors"][0]["code"]) == (401, code)


def test_limits_count_tasks(server: Server) -> None:
    few: str = server.place.few  # type: ignore[attr-defined]  # as above
    said = run(server, few, task(), task(), task())
    assert len(said["data"]) == 2
    assert said["errors"][0]["code"] == "rateLimitExceeded"
    answer = server.post(PATH, few, json=[task()])
    assert answer.status_code == 429
    assert int(answer.headers["Retry-After"]) >= 1


def test_what_takes_too_long_goes_on(server: Server, key: str) -> None:
    asked = task(prompt="How many shapes are there, slowly?")
    said = run(server, key, asked)
    assert said["data"] == []
    assert said["errors"][0]["code"] == "timeout"
    (processing,) = run(server, key, {"taskType": "getResponse", "taskUUID": asked["taskUUID"]})["data"]
    assert processing["status"] == "processing"
    (item,) = response(server, key, asked)["data"]
    assert (item["status"], item["taskUUID"]) == ("success", asked["taskUUID"])
    assert item["text"]


def test_async_tasks_are_acknowledged_and_asked_for(server: Server, key: str) -> None:
    good = task(deliveryMethod="async", includeCost=True)
    bad = task(deliveryMethod="async", inputImage="http://127.0.0.1:1/x.png")
    said = run(server, key, good, bad)
    assert said == {
        "data": [{"taskType": "imageCaption", "taskUUID": one["taskUUID"]} for one in (good, bad)],
        "errors": [],
    }
    (item,) = response(server, key, good)["data"]
    assert item["status"] == "success"
    assert item["text"]
    assert item["cost"] == 0.0125
    failed = response(server, key, bad)
    assert failed["data"][0]["status"] == "error"
    assert failed["errors"][0]["code"] == "imageNotFetched"
    assert failed["errors"][0]["status"] == "error"


def test_nobody_hears_of_anothers_task(server: Server, key: str) -> None:
    asked = task()
    run(server, key, asked)
    other = server.place.keys["other"]
    said = run(server, other, {"taskType": "getResponse", "taskUUID": asked["taskUUID"]})
    assert said["errors"][0]["code"] == "notFound"


def test_a_webhook_is_signed_and_keeps_its_token(tmp_path: Path, host: Host) -> None:
    place = Workplace(tmp_path, f"sqlite:///{tmp_path / 'catalog.db'}")
    place.config["api"] = {"allow_hosts": ["127.0.0.1"]}
    asked = task(deliveryMethod="async", includeCost=True, webhookURL=f"{host.url}/hook?token=t%20k")
    with serving(place, environment={"ENRICH_WEBHOOK_SECRET": "whisper"}) as server:
        run(server, None, asked)
        _wait(lambda: any(asked["taskUUID"] in body.decode() for _, _, body in host.posts))
        assert "t%20k" not in server.said
    (found,) = [post for post in host.posts if asked["taskUUID"] in post[2].decode()]
    path, headers, body = found
    assert path == "/hook?token=t%20k"
    (item,) = json.loads(body)["data"]
    assert item["text"]
    assert item["cost"] == 0.0
    _check_signature(b"whisper", headers, body)
    place.engine.dispose()


#: The product waits up to a minute for who holds a task or a delivery, and hours for a receiver.
SOON = {
    "enrich.api.tasklist.LEASE_SECONDS": 15,
    "enrich.outbound.courier.LEASE_SECONDS": 5,
    "enrich.outbound.courier.LONGEST_SECONDS": 2,
    "enrich.outbound.courier.SHORTEST_SECONDS": 1,
    "enrich.outbound.pauses.LONGEST_SECONDS": 2,
}


@pytest.mark.timeout(300)
def test_a_killed_server_loses_no_task_and_no_webhook(place: Workplace) -> None:
    place.config["api"] = {"allow_hosts": ["127.0.0.1"]}
    pictures = [data_uri(picture(seed)) for seed in range(7)]
    with hosting() as host:
        asked = [
            task(deliveryMethod="async", inputImage=pictures[number % 7], webhookURL=f"{host.url}/hook")
            for number in range(200)
        ]
        host.is_down = True
        options: Any = {"environment": {"ENRICH_WEBHOOK_SECRET": "whisper"}, "constants": SOON}
        with serving(place, **options) as server:
            for start in range(0, 200, 50):
                if start == 150:
                    # The last ones are accepted a moment before the end, so that some are left to do.
                    _wait(lambda: _succeeded(place) > 5)
                run(server, None, *asked[start : start + 50])
            server.stop(signal.SIGKILL)
        assert _succeeded(place) < 200, "nothing was left to do: the test shows nothing"
        with serving(place, **options) as server:
            _wait(lambda: _succeeded(place) == 200, 200)
            host.is_down = False
            _wait(lambda: len(_told(host)) > 5, 120)
            server.stop(signal.SIGKILL)
        with serving(place, **options) as server:
            _wait(lambda: len(_told(host)) == 200, 120)
            assert _told(host) == {one["taskUUID"] for one in asked}
            for _, headers, body in host.posts:
                _check_signature(b"whisper", headers, body)
            for one in asked[::40]:
                assert response(server, None, one)["data"][0]["status"] == "success"


def _check_signature(secret: bytes, headers: dict[str, str], body: bytes) -> None:
    parts = dict(part.split("=", 1) for part in headers["X-Enrich-Signature"].split(","))
    signed = f"{parts['t']}.".encode() + body
    assert hmac.compare_digest(parts["v1"], hmac.new(secret, signed, hashlib.sha256).hexdigest())


def _succeeded(place: Workplace) -> int:
    (count,) = place.column("SELECT count(*) FROM api_tasks WHERE state = 'success'")
    return int(count)


def _told(host: Host) -> set[str]:
    return {json.loads(body)["data"][0]["taskUUID"] for _, _, body in list(host.posts)}


def _wait(condition: Any, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.1)
