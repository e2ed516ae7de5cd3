"""Tasks that are sent again, asked for in each state, and found again after the server's end."""

import signal
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from http_kit import PLENTY, Server, data_uri, make_key, picture, serving
from workplace import Workplace

#: Waits for as long as a file is there.
HELD = """
import pathlib, time
import enrich

@enrich.hookimpl
def enrich_moderate(renditions, prompt, context):
    while "held" in (prompt or "") and pathlib.Path(__file__).with_name("hold").exists():
        time.sleep(0.05)
    return [None for _ in renditions]
"""


@pytest.fixture
def held(lite_place: Workplace) -> Iterator[Workplace]:
    lite_place.plugin("held", HELD)
    (lite_place.folder / "plugins" / "hold").touch()
    lite_place.config["api"] = {"rate_limit": PLENTY, "sync_timeout_seconds": 2}
    make_key(lite_place, "tests")
    yield lite_place
    (lite_place.folder / "plugins" / "hold").unlink(missing_ok=True)


def task(**fields: Any) -> dict[str, Any]:
    image = data_uri(picture(3))
    return {"taskType": "imageCaption", "taskUUID": str(uuid.uuid4()), "inputImage": image, **fields}


def run(server: Server, *items: Any) -> dict[str, Any]:
    key = server.place.keys["tests"]
    answer = server.post("/v1/tasks", key, json=list(items))
    assert answer.status_code == 200, answer.text
    said: dict[str, Any] = answer.json()
    return said


def states(server: Server, *asked: dict[str, Any]) -> list[str]:
    said = run(server, *({"taskType": "getResponse", "taskUUID": one["taskUUID"]} for one in asked))
    assert [item["taskUUID"] for item in said["data"]] == [one["taskUUID"] for one in asked]
    return [item["status"] for item in said["data"]]


@pytest.mark.timeout(300)
def test_a_task_in_each_state_and_through_a_kill(held: Workplace) -> None:
    slow = task(prompt="How many shapes are held?")
    slow_async = task(prompt="How many shapes are held?", deliveryMethod="async")
    good, bad = task(deliveryMethod="async"), task(deliveryMethod="async", model="no-such-model")
    with serving(held) as server:
        said = run(server, good, bad, slow_async, slow)
        assert [item["taskUUID"] for item in said["data"]] == [
            one["taskUUID"] for one in (good, bad, slow_async)
        ]
        assert [(error["code"], error["taskUUID"]) for error in said["errors"]] == [
            ("timeout", slow["taskUUID"])
        ]
        _wait(lambda: states(server, good, bad) == ["success", "error"])
        assert states(server, slow, slow_async) == ["processing", "processing"]
        # Again while it is at work: no second task, and still no answer in time.
        assert run(server, slow)["errors"][0]["code"] == "timeout"
        assert run(server, {**slow, "prompt": "What?"})["errors"][0]["code"] == "duplicateTaskUUID"
        assert run(server, slow_async) == {
            "data": [{"taskType": "imageCaption", "taskUUID": slow_async["taskUUID"]}],
            "errors": [],
        }
        assert states(server, slow) == ["processing"]
        server.stop(signal.SIGKILL)
    (held.folder / "plugins" / "hold").unlink()
    with serving(held) as server:
        _wait(lambda: states(server, slow, slow_async) == ["success", "success"])
        assert states(server, good, bad) == ["success", "error"]
        (item,) = run(server, slow)["data"]
        assert item["text"]
        assert run(server, bad)["data"] == [{"taskType": "imageCaption", "taskUUID": bad["taskUUID"]}]
        assert held.column("SELECT count(*) FROM api_tasks") == [4]


def test_a_name_is_one_tasks_however_it_is_written(held: Workplace) -> None:
    held.config["api"] = {"rate_limit": PLENTY}
    with serving(held, "--no-watch") as server:
        first = task()
        again = {**dict(reversed(first.items())), "taskUUID": first["taskUUID"].upper()}
        other = {**first, "includeCost": True}
        said = run(server, first, again, other)
        assert [item["taskUUID"] for item in said["data"]] == [first["taskUUID"], again["taskUUID"]]
        assert len({item["text"] for item in said["data"]}) == 1
        asked = {"taskType": "getResponse", "taskUUID": again["taskUUID"]}
        assert run(server, asked)["data"][0]["taskUUID"] == again["taskUUID"]
        assert [error["code"] for error in said["errors"]] == ["duplicateTaskUUID"]
        assert held.rows("SELECT attempts FROM api_tasks") == [{"attempts": 1}]
        assert held.column("SELECT count(*) FROM usage") == [1]
        wrong = [
            f"{{{uuid.uuid4()}}}",
            f"urn:uuid:{uuid.uuid4()}",
            uuid.uuid4().hex,
            f" {uuid.uuid4()}",
            f"{uuid.uuid4()}\n",
            "g" * 8 + str(uuid.uuid4())[8:],
            "",
            12,
            None,
            [str(uuid.uuid4())],
        ]
        said = run(server, *(task(taskUUID=name) for name in wrong))
        assert said["data"] == []
        assert [(error["parameter"], error["taskUUID"]) for error in said["errors"]] == [
            ("taskUUID", name) for name in wrong
        ]
        unknown = {"taskType": "getResponse", "taskUUID": str(uuid.uuid4())}
        assert run(server, unknown)["errors"][0]["code"] == "notFound"


def _wait(condition: Any, seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.2)
