"""A daemon whose models leave the memory, and that starts anew if the memory stays."""

import re
import signal
import time
from collections.abc import Callable

import pytest
import tiny_graphs
from http_kit import data_uri, picture, serving
from watching import watching
from workplace import Workplace

#: Keeps 300 MB once, when it is told to, as a runtime that gives nothing back would.
LEAKY = """
import pathlib
import enrich

KEPT = []

@enrich.hookimpl
def enrich_data(renditions, context):
    told = pathlib.Path(__file__).with_name("keep")
    if told.exists():
        told.unlink()
        KEPT.append(b"x" * 300_000_000)
    return [{} for _ in renditions]

@enrich.hookimpl
def enrich_moderate(renditions, prompt, context):
    enrich_data(renditions, context)
    return [None for _ in renditions]
"""
DESCRIBE = "/api/v1/generate_content"


@pytest.fixture
def place(lite_place: Workplace) -> Workplace:
    models = lite_place.folder / "models"
    resize = {"height": 8, "width": 8}
    tiny_graphs.write_model(models / "colours", input={"resize": resize, "scale": 1 / 255})
    lite_place.config |= {
        "models_dir": str(models),
        "unload_after_seconds": 0.5,
        "steps": {"tags": {"plugin": "tags", "model": "colours", "threshold": 0}},
    }
    return lite_place


CAPTIONED = "SELECT count(*) FROM annotations WHERE step = 'caption'"
TAGGED = "SELECT count(DISTINCT asset_id) FROM annotations WHERE step = 'tags'"


def test_a_model_is_unloaded_between_pictures(place: Workplace) -> None:
    place.config["metrics"] = {"file": "enrich.prom"}
    numbers = place.folder / "enrich.prom"
    with watching(place, "-v") as watch:
        watch.wait_until(numbers.exists)
        assert re.search(r"^enrich_process_models_loaded [01]\.0$", numbers.read_text(), re.MULTILINE)
        for number in (1, 2):
            watch.wait_until(lambda number=number: watch.said.count("was unloaded") == number)
            place.draw(f"{number}.png", (number, 9, 9))
            watch.wait_for(TAGGED, number)
        assert watch.stop()[0] == 0
    assert "Traceback" not in watch.said


def test_a_daemon_starts_anew_when_memory_stays(place: Workplace) -> None:
    place.plugin("leaky", LEAKY)
    place.config["recycle_above_mb"] = 150
    place.config["steps"]["leaky"] = {"plugin": "leaky"}
    (place.folder / "plugins" / "keep").touch()
    with watching(place) as watch:
        assert watch.told.count("READY=1") == 1
        place.draw("first.png", (1, 1, 1))
        watch.wait_for(TAGGED, 1)
        watch.wait_until(lambda: watch.told.count("READY=1") == 2, what="its second life")
        assert "all models are unloaded and" in watch.said
        assert watch.told.count("RELOADING=1") == 1
        assert "STOPPING=1" not in watch.told, "the service manager would wait for its end"
        assert watch.resident_bytes < 300_000_000
        assert [row["ended_at"] is None for row in place.rows("SELECT * FROM runs ORDER BY id")] == [
            False,
            True,
        ]

        place.draw("second.png", (2, 2, 2))
        watch.wait_for(TAGGED, 2)
        code, said = watch.stop(signal.SIGTERM)
    assert code == 0
    assert "STOPPING=1" in watch.told
    assert said.count("all models are unloaded and") == 1
    assert place.states("jobs") == {"done": 4}


def test_folders_and_requests_wake_the_same_model(lite_place: Workplace) -> None:
    lite_place.config["unload_after_seconds"] = 0.5
    lite_place.config["steps"]["caption"] = {"plugin": "caption", "model": "drawings-vlm"}
    with serving(lite_place, "-v") as server:
        for seed in (1, 2):
            unloads = server.said.count("drawings-vlm was unloaded")
            assert server.post(DESCRIBE, json={"image": data_uri(picture(seed))}).status_code == 200
            (lite_place.inbox / f"{seed}.png").write_bytes(picture(seed))
            _wait(lambda seed=seed: lite_place.column(CAPTIONED) == [seed])
            _wait(lambda unloads=unloads: server.said.count("drawings-vlm was unloaded") > unloads)
        # Unloaded it may have been between the request and the folder's turn only.
        _wait(lambda: re.search(r"^enrich_models_loaded 0", server.get("/metrics").text, re.MULTILINE))
        said = server.get("/metrics").text
        assert server.stop()[0] == 0
    assert float(re.findall(r"^enrich_models_unloaded_total (\S+)", said, re.MULTILINE)[0]) >= 2
    batches = re.findall(r'^enrich_model_batches_total\{.*stage="pictures".*\} (\S+)', said, re.MULTILINE)
    assert sum(map(float, batches)) >= 4, "counted on over every rest"


def test_a_server_starts_anew_when_memory_stays(lite_place: Workplace) -> None:
    lite_place.plugin("leaky", LEAKY)
    lite_place.config |= {"unload_after_seconds": 0.5, "recycle_above_mb": 150}
    with serving(lite_place, "--no-watch") as server:
        assert server.post(DESCRIBE, json={"image": data_uri(picture(1))}).status_code == 200
        (lite_place.folder / "plugins" / "keep").touch()
        assert server.post(DESCRIBE, json={"image": data_uri(picture(2))}).status_code == 200
        # What it says after it said why: in its second life.
        _wait(lambda: "serving http" in server.said.partition("all models are unloaded and")[2])
        server.url = re.findall(r"serving (http://\S+)", server.said)[-1]
        assert server.post(DESCRIBE, json={"image": data_uri(picture(3))}).status_code == 200
        assert server.resident_bytes < 300_000_000
        assert server.stop()[0] == 0


def _wait(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)
