"""``enrich serve`` as a process: beside folder work, under load, told to end, and with a plugin's paths."""

import json
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from http_kit import data_uri, hosting, picture, serving
from workplace import Workplace

#: Answers "slowly" after a while, and says so when it begins.
SLOW = """
import pathlib, time
import enrich

@enrich.hookimpl
def enrich_moderate(renditions, prompt, context):
    if "slowly" in (prompt or ""):
        pathlib.Path(__file__).with_name("begun").touch()
        time.sleep(4)
    return [None for _ in renditions]
"""

#: A dialect of its own: a picture in the query, upper-case letters back.
SHOUT = """
import enrich
from enrich.api.errors import InvalidParameter
from enrich.api.requests import Ask
from enrich.api.routes import Dialect
from starlette.responses import PlainTextResponse

def refuse(error, exchange):
    return PlainTextResponse(f"NO: {error}", status_code=error.status)

def shout(exchange):
    caller = exchange.authorize("infer", count=1)
    url = exchange.query.get("picture")
    if not url:
        raise InvalidParameter("picture: is required", "picture")
    ask = Ask("caption", (exchange.pictures().named(url),), dialect="shout", caller=caller)
    reply = exchange.backend.metering.answer(ask, exchange.cancel)
    return PlainTextResponse(reply.text.upper())

@enrich.hookimpl
def enrich_register_routes(routes):
    routes.add("GET", "/shout", shout, dialect=Dialect("shout", refuse), summary="A caption, loud")
"""

DESCRIBE = "/api/v1/generate_content"


def test_folders_are_looked_after_beside_http(lite_place: Workplace) -> None:
    with serving(lite_place, is_forked=False) as server:
        lite_place.draw("new.png")
        _wait(lambda: lite_place.column("SELECT count(*) FROM asset_tags") == [1])
        assert server.post(DESCRIBE, json={"image": data_uri(picture(3))}).status_code == 200
        code, _ = server.stop()
        assert code == 0
    lite_place.check_counters()


def test_without_watching_folders_are_left_alone(lite_place: Workplace) -> None:
    lite_place.draw("new.png")
    with serving(lite_place, "--no-watch") as server:
        assert server.post(DESCRIBE, json={"image": data_uri(picture(3))}).status_code == 200
        assert lite_place.column("SELECT count(*) FROM files") == [0]
        code, _ = server.stop(signal.SIGINT)
        assert code == 0


def test_who_wants_http_alone_needs_neither_roots_nor_steps(lite_place: Workplace) -> None:
    lite_place.config["steps"] = {}
    for command in (("run",), ("serve", "--port", "0")):
        ran = lite_place.enrich(*command)
        assert (ran.returncode, "steps: none is configured" in ran.stderr) == (2, True), command
    with serving(lite_place, "--no-watch") as server:
        assert server.post(DESCRIBE, json={"image": data_uri(picture(3))}).status_code == 200
        assert server.post("/assets", json={"image": data_uri(picture(3))}).status_code == 201


def test_a_taken_port_is_said(lite_place: Workplace) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ran = lite_place.enrich("serve", "--port", taken.getsockname()[1])
    assert ran.returncode == 2
    assert "cannot be listened at" in ran.stderr


def test_what_was_accepted_is_finished(lite_place: Workplace) -> None:
    lite_place.plugin("slow", SLOW)
    with serving(lite_place, "--no-watch") as server, ThreadPoolExecutor(1) as threads:
        body = {"image": data_uri(picture(3)), "prompt": "How many shapes are there, slowly?"}
        answer = threads.submit(server.post, DESCRIBE, json=body)
        _wait(lambda: (lite_place.folder / "plugins" / "begun").exists())
        code, said = server.stop()
        assert code == 0, said
        assert answer.result().status_code == 200


def test_more_than_are_let_in_are_refused_at_once(lite_place: Workplace) -> None:
    lite_place.plugin("slow", SLOW)
    lite_place.config["api"] = {"max_queue": 4}
    with serving(lite_place, "--no-watch") as server:
        # Once for the model, which is loaded by whoever asks first.
        assert server.post(DESCRIBE, json={"image": data_uri(picture(3))}).status_code == 200
        before = server.resident_bytes
        body = {"image": data_uri(picture(3)), "prompt": "How many shapes are there, slowly?"}

        def ask(_: int) -> tuple[int, str | None]:
            answer = server.post("/v2/image-to-text", json={**body, "image_url": body["image"]})
            return answer.status_code, answer.headers.get("Retry-After")

        with ThreadPoolExecutor(40) as threads:
            answers = list(threads.map(ask, range(40)))
            assert server.get("/healthz").status_code == 200
        refused = [retry for status, retry in answers if status == 503]
        assert len(refused) == 36
        assert all(retry is not None and int(retry) >= 1 for retry in refused)
        assert [status for status, _ in answers].count(200) == 4
        assert server.resident_bytes - before < 150_000_000


def test_who_goes_away_is_not_worked_for(lite_place: Workplace) -> None:
    lite_place.plugin("slow", SLOW)
    with serving(lite_place, "--no-watch", "-v") as server:
        assert server.post(DESCRIBE, json={"image": data_uri(picture(3))}).status_code == 200
        body = json.dumps({"image": data_uri(picture(3)), "prompt": "How many shapes are there, slowly?"})
        address = ("127.0.0.1", int(server.url.rpartition(":")[2]))
        with socket.create_connection(address) as connection:
            connection.sendall(
                f"POST {DESCRIBE} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode()
                + body.encode()
            )
            _wait(lambda: (lite_place.folder / "plugins" / "begun").exists())
        _wait(lambda: "error=cancelled" in server.said)
        _wait(lambda: lite_place.column("SELECT count(*) FROM usage WHERE status = 'cancelled'") == [1])


def test_a_plugin_brings_a_dialect(lite_place: Workplace) -> None:
    lite_place.plugin("shout", SHOUT)
    lite_place.config["api"] = {"allow_hosts": ["127.0.0.1"]}
    with hosting() as host, serving(lite_place, "--no-watch") as server:
        host.files["/scene.png"] = picture(3)
        answer = server.get("/shout", params={"picture": f"{host.url}/scene.png"})
        assert answer.status_code == 200
        assert answer.text.isupper()
        refused = server.get("/shout")
        assert (refused.status_code, refused.text[:3]) == (400, "NO:")
        assert "/shout" in server.get("/openapi.json").json()["paths"]
        assert server.get("/shout", headers={"Origin": "https://evil.example"}).status_code == 403


def test_what_is_kept_is_answered_from_the_catalog(lite_place: Workplace) -> None:
    lite_place.config["api"] = {"keep": True, "cost": {"drawings-vlm": 0.5}}
    body = {"image": data_uri(picture(3)), "prompt": "How many shapes are there?"}
    with serving(lite_place, "--no-watch", "--log-format", "json") as server:
        first, again, other = (
            server.post(DESCRIBE, json=asked) for asked in (body, body, {**body, "prompt": "What colours?"})
        )
        server.stop()  # what was used is written soon, and at the end
    assert first.json()["data"] == again.json()["data"]
    cached = {line["request_id"]: line["cached"] for line in server.lines if "cached" in line}
    ids = [answer.headers["X-Request-Id"] for answer in (first, again, other)]
    assert [cached[one] for one in ids] == [False, True, False]
    rows = lite_place.rows("SELECT cost, is_cached FROM usage ORDER BY id")
    assert [(row["cost"], bool(row["is_cached"])) for row in rows] == [
        (0.5, False),
        (0.0, True),
        (0.5, False),
    ]
    assert lite_place.column("SELECT count(*) FROM assets") == [1]


def test_a_body_that_does_not_come_is_not_waited_for(lite_place: Workplace) -> None:
    lite_place.config["api"] = {"deadline_seconds": 2, "max_queue": 1}
    with serving(lite_place, "--no-watch") as server:
        address = ("127.0.0.1", int(server.url.rpartition(":")[2]))
        with socket.create_connection(address, timeout=30) as connection:
            head = f"POST {DESCRIBE} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{{"
            connection.sendall(head.encode())
            _wait(lambda: server.post(DESCRIBE, json={}).status_code == 429)
            assert b" 500 " in connection.recv(65536).splitlines()[0]
        assert server.post(DESCRIBE, json={}).status_code == 400


def test_a_second_signal_ends_at_once(lite_place: Workplace) -> None:
    lite_place.plugin("slow", SLOW.replace("sleep(4)", "sleep(60)"))
    with serving(lite_place, "--no-watch") as server:
        body = {"image": data_uri(picture(3)), "prompt": "How many shapes are there, slowly?"}
        thread = threading.Thread(target=_ask_in_vain, args=(server.url + DESCRIBE, body))
        thread.start()
        _wait(lambda: (lite_place.folder / "plugins" / "begun").exists())
        server.process.send_signal(signal.SIGTERM)
        time.sleep(1)
        code, _ = server.stop()
        assert code == 130
        thread.join()


def test_numbers_say_what_was_done(lite_place: Workplace) -> None:
    with serving(lite_place, "--no-watch") as server:
        server.post(DESCRIBE, json={"image": data_uri(picture(3))})
        server.post(DESCRIBE, json={})
        text = server.get("/metrics").text
    assert 'enrich_http_requests_total{dialect="describer",status="200"} 1.0' in text
    assert 'enrich_http_failures_total{dialect="describer",kind="invalid_parameter"} 1.0' in text
    assert 'enrich_work_seconds_count{kind="caption",model="drawings-vlm"} 1.0' in text
    assert "enrich_http_at_work" in text
    assert "enrich_tasks_open 0.0" in text
    assert 'enrich_model_batches_total{model="drawings-vlm"' in text


@pytest.mark.parametrize("path", ["/docs", "/openapi.json"])
def test_the_documents_need_nothing_from_elsewhere(lite_place: Workplace, path: str) -> None:
    with serving(lite_place, "--no-watch") as server:
        answer = server.get(path)
        assert answer.status_code == 200
        assert "src=" not in answer.text
        assert "/v1/chat/completions" in answer.text


def _ask_in_vain(url: str, body: dict[str, Any]) -> None:
    import contextlib

    import requests

    with contextlib.suppress(requests.RequestException):
        requests.post(url, json=body, timeout=60)


def _wait(condition: Any, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.05)
