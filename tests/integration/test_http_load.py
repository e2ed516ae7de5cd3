"""``enrich serve`` under too much, with clients that go away, told to end, and beside folder work."""

import base64
import collections
import json
import re
import socket
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from http_kit import Server, data_uri, noise, picture, serving
from workplace import Workplace

DESCRIBE = "/api/v1/generate_content"
TASKS = "/v1/tasks"

#: Holds requests with "slowly" in their prompt until a file says that they may go on.
HELD = """
import pathlib, time
import enrich

HERE = pathlib.Path(__file__).parent

@enrich.hookimpl
def enrich_moderate(renditions, prompt, context):
    if "slowly" in (prompt or ""):
        (HERE / "begun").touch()
        while not (HERE / "go").exists():
            time.sleep(0.01)
    return [None for _ in renditions]
"""


def test_batches_are_shared_with_folder_work(lite_place: Workplace) -> None:
    lite_place.config["steps"] = {"caption": {"plugin": "caption", "model": "drawings-vlm"}}
    files = [picture(seed) for seed in range(24)]
    sent = [data_uri(picture(seed)) for seed in range(100, 124)]
    with serving(lite_place) as server:
        assert server.post(DESCRIBE, json={"image": sent[0]}).status_code == 200
        before = batches(server)
        for number, content in enumerate(files):
            (lite_place.inbox / f"{number}.png").write_bytes(content)
        with ThreadPoolExecutor(12) as threads:
            answers = list(threads.map(lambda uri: server.post(DESCRIBE, json={"image": uri}), sent))
        assert {answer.status_code for answer in answers} == {200}
        wait(lambda: lite_place.column("SELECT count(*) FROM jobs WHERE state = 'done'") == [len(files)])
        made = batches(server) - before
        # One model saw the pictures of both, each once, and not each by itself.
        assert sum(size * count for size, count in made.items()) == len(files) + len(sent)
        assert sum(made.values()) < len(files) + len(sent)


def test_a_flood_of_large_bodies_takes_no_memory(lite_place: Workplace) -> None:
    lite_place.plugin("held", HELD)
    lite_place.config["api"] = {"max_queue": 4}
    body = json.dumps({"image": data_uri(noise(1000)), "prompt": "How many shapes are there, slowly?"})
    with serving(lite_place, "--no-watch") as server:
        assert server.post(DESCRIBE, json={"image": data_uri(picture(3))}).status_code == 200
        before = server.resident_bytes
        most, ended = [before], threading.Event()

        def look() -> None:
            while not ended.wait(0.02):
                most[0] = max(most[0], server.resident_bytes)

        def ask(_: int) -> tuple[int, str | None]:
            answer = server.post(DESCRIBE, data=body, headers={"Content-Type": "application/json"})
            return answer.status_code, answer.headers.get("Retry-After")

        looking = threading.Thread(target=look)
        looking.start()
        try:
            with ThreadPoolExecutor(40) as threads:
                coming = [threads.submit(ask, number) for number in range(40)]
                # The four that are in stay in, so that all others are refused meanwhile.
                wait(lambda: sum(one.done() for one in coming) == 36)
                (lite_place.folder / "plugins" / "go").touch()
                answers = [one.result() for one in coming]
        finally:
            ended.set()
            looking.join()
        refused = [retry for status, retry in answers if status in (429, 503)]
        assert len(refused) == 36
        assert all(retry is not None and int(retry) >= 1 for retry in refused)
        # Forty bodies have 160 MB; what one of the four takes while it is decoded is some 20 MB.
        assert most[0] - before < 120_000_000


def test_who_goes_away_frees_a_place_and_reaches_no_model(lite_place: Workplace) -> None:
    lite_place.plugin("held", HELD)
    lite_place.config["api"] = {"max_queue": 1}
    with serving(lite_place, "--no-watch") as server:
        plain = {"image": data_uri(picture(3))}
        assert server.post(DESCRIBE, json=plain).status_code == 200
        before = batches(server)
        body = json.dumps({**plain, "prompt": "How many shapes are there, slowly?"})
        head = f"POST {DESCRIBE} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
        with socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2]))) as connection:
            connection.sendall((head + body).encode())
            wait(lambda: (lite_place.folder / "plugins" / "begun").exists())
            assert server.post(DESCRIBE, json=plain).status_code in (429, 503)
        # Answered by the same loop, after it saw the client go.
        for _ in range(3):
            assert server.get("/healthz").status_code == 200
        (lite_place.folder / "plugins" / "go").touch()
        wait(lambda: at_work(server) == 0)
        assert batches(server) == before
        assert server.post(DESCRIBE, json=plain).status_code == 200


def test_tasks_outlast_an_orderly_end(lite_place: Workplace) -> None:
    # Each takes a while, so that they are not all done before the end.
    lite_place.plugin(
        "held",
        HELD.replace('while not (HERE / "go").exists():\n            time.sleep(0.01)', "time.sleep(1)"),
    )
    image = base64.b64encode(picture(3)).decode()
    prompt = "How many shapes are there, slowly?"
    wanted = [str(uuid.uuid4()) for _ in range(48)]
    array = [
        {
            "taskType": "imageCaption",
            "taskUUID": one,
            "inputImage": image,
            "deliveryMethod": "async",
            "prompt": prompt,
        }
        for one in wanted
    ]
    with serving(lite_place, "--no-watch") as server:
        accepted = server.post(TASKS, json=array)
        assert accepted.status_code == 200, accepted.text
        wait(lambda: (lite_place.folder / "plugins" / "begun").exists())
        code, said = server.stop()
        assert code == 0, said
    ended = lite_place.column("SELECT count(*) FROM api_tasks WHERE state IN ('success', 'error')")[0]
    assert ended < len(wanted), "they were done before the end: the test shows nothing"
    with serving(lite_place, "--no-watch"):
        done = "SELECT count(*) FROM api_tasks WHERE state = 'success'"
        wait(lambda: lite_place.column(done) == [len(wanted)])


def batches(server: Server) -> collections.Counter[int]:
    """Return how many batches of pictures the model ran, by their size."""
    found: collections.Counter[int] = collections.Counter()
    for line in server.get("/metrics").text.splitlines():
        if line.startswith("enrich_model_batches_total{") and 'stage="pictures"' in line:
            size = re.search(r'size="(\d+)"', line)
            assert size is not None
            found[int(size[1])] += int(float(line.rpartition(" ")[2]))
    return found


def at_work(server: Server) -> int:
    found = re.search(r"^enrich_http_at_work(?:\{.*\})? ([0-9.]+)", server.get("/metrics").text, re.MULTILINE)
    assert found is not None
    return int(float(found[1]))


def wait(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Look until it holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.05)
