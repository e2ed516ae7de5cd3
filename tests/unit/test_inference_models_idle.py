"""Models that leave the memory while nobody asks them."""

import gc
import logging
import os
import shutil
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tiny_duals
import tiny_graphs

from enrich.errors import EnrichError, ManifestError, ModelMissing, UsageError
from enrich.inference import Model, Models, ModelStore
from enrich.inference.idle_model import IdleModel
from enrich.types import Rendition

#: Longer than any test.
LONG = 1000.0


def plain(*colour: int) -> Rendition:
    pixels = np.full((8, 8, 3), colour, np.uint8)
    return Rendition(None, None, 0, pixels, 8, 8, 8, 8)


RED = plain(200, 20, 10)


def wait_until(condition: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[..., Models]]:
    """Make Models of the store in ``tmp_path``; they are closed at the end."""
    made: list[Models] = []

    def open_models(**options: Any) -> Models:
        made.append(Models(ModelStore(tmp_path), "cpu", threads=1, **options))
        return made[-1]

    yield open_models
    for models in made:
        models.close()


def idle(model: Model) -> IdleModel:
    assert isinstance(model, IdleModel)
    return model


def scores(model: Model, rendition: Rendition = RED) -> list[float]:
    return [confidence for _, confidence in model.predict([rendition])[0].top(3)]


def test_what_rests_is_gone_and_comes_back_when_it_is_asked(tmp_path, opened):
    tiny_graphs.write_model(tmp_path / "colours", revision="7")
    model = idle(opened(unload_after_seconds=LONG).open("colours"))
    before = scores(model)
    session = weakref.ref(model._state[2]._session)  # no other way to see that it is gone

    assert model.rest()
    gc.collect()
    assert session() is None
    assert "model-colours" not in {thread.name for thread in threading.enumerate()}
    assert (model.is_loaded, model.name, model.revision) == (False, "colours", "7")
    assert (model.family, model.labels) == ("classifier", ("red", "green", "blue"))
    assert model.hooks == ("enrich_tag", "enrich_age")
    assert model.provider == "CPUExecutionProvider"
    assert model.refusals([RED]) == [None]
    assert not model.is_loaded, "all of that is known without it"
    assert scores(model) == before
    assert model.is_loaded


def test_it_rests_after_a_while_and_not_before(tmp_path, opened, caplog):
    tiny_graphs.write_model(tmp_path / "colours")
    models = opened(unload_after_seconds=0.3)
    model = idle(models.open("colours"))
    with caplog.at_level(logging.INFO, "enrich"):
        end = time.monotonic() + 1
        while time.monotonic() < end:
            scores(model)
            assert model.is_loaded
        wait_until(lambda: not model.is_loaded)
        wait_until(lambda: models.numbers()["models_unloaded_total"] == 1)
    assert models.numbers()["models_loaded"] == 0
    (said,) = [record.getMessage() for record in caplog.records]
    assert said.startswith("the model colours was unloaded: ")
    assert scores(model)
    assert models.numbers()["models_loaded"] == 1


def test_without_the_setting_nothing_ever_rests(tmp_path, opened):
    tiny_graphs.write_model(tmp_path / "colours")
    models = opened()

    assert not isinstance(models.open("colours"), IdleModel)
    assert models.numbers()["models_loaded"] == 1
    assert "idle models" not in {thread.name for thread in threading.enumerate()}


def test_what_is_at_work_does_not_rest(tmp_path):
    tiny_graphs.write_model(tmp_path / "colours")
    store, begun, end = ModelStore(tmp_path), threading.Event(), threading.Event()

    class Slow(SimpleNamespace):
        def predict(self, renditions: object, labels: object) -> list[Any]:
            begun.set()
            assert end.wait(30)
            return []

    loaded = Slow(provider="x", size_px=None, stats=tiny_graphs_stats(), close=lambda: None)
    model = IdleModel(store.get("colours"), lambda stored: loaded, lambda: store.get("colours"))
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(model.predict, [RED])
        assert begun.wait(30)
        assert not model.rest()
        end.set()
        asked.result()
    assert not model.rest(LONG)
    assert model.rest()
    assert not model.rest(), "it rests"


def tiny_graphs_stats() -> Any:
    from enrich.inference import Stats

    return Stats({1: 2}, 1, 0)


def test_many_ask_while_it_is_put_to_rest_all_the_time(tmp_path, opened):
    tiny_graphs.write_model(tmp_path / "colours")
    model = idle(opened(unload_after_seconds=LONG).open("colours"))
    expected = scores(model)
    done, rests, asked = threading.Event(), 0, []

    def ask(_: int) -> bool:
        seen = []
        while rests < 10 or len(seen) < 10:
            seen.append(scores(model) == expected)
            time.sleep(0.001)  # or somebody would be at it always
        asked.append(len(seen))
        return all(seen)

    def disturb() -> None:
        nonlocal rests
        while not done.wait(0.001):
            rests += model.rest()

    thread = threading.Thread(target=disturb)
    thread.start()
    with ThreadPoolExecutor(4) as pool:
        right = list(pool.map(ask, range(4)))
    done.set()
    thread.join()

    assert right == [True] * 4
    assert model.stats.items == 1 + sum(asked), "counted over all rests"


def test_it_is_loaded_once_for_all_that_wait_for_it(tmp_path):
    tiny_graphs.write_model(tmp_path / "colours")
    store, loads = ModelStore(tmp_path), []

    def load(stored: Any) -> Any:
        loads.append(stored)
        time.sleep(0.1)
        return SimpleNamespace(
            provider="x", size_px=None, predict=lambda *_: [], stats=tiny_graphs_stats(), close=lambda: None
        )

    model = IdleModel(store.get("colours"), load, lambda: store.get("colours"))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(model.predict, [[RED]] * 8))

    assert len(loads) == 1


def test_what_is_wrong_is_said_when_it_is_opened(tmp_path, opened):
    tiny_graphs.write_model(tmp_path / "wrong", labels=["one"])
    models = opened(unload_after_seconds=LONG)
    errors = []
    for _ in range(2):
        with pytest.raises(ManifestError, match="there are 1") as caught:
            models.open("wrong")
        errors.append(caught.value)
    assert errors[0] is errors[1]
    with pytest.raises(ModelMissing):
        models.open("absent")


def test_a_model_that_cannot_come_back_says_why_until_it_can(tmp_path, opened):
    folder = tiny_graphs.write_model(tmp_path / "colours")
    model = idle(opened(unload_after_seconds=LONG).open("colours"))
    before = scores(model), model.revision
    model.rest()
    shutil.move(folder, tmp_path.parent / "elsewhere")
    for _ in range(2):
        with pytest.raises(ModelMissing, match='no model "colours"'):
            scores(model)
    assert not model.is_loaded
    shutil.move(tmp_path.parent / "elsewhere", folder)

    assert (scores(model), model.revision) == before


@pytest.mark.parametrize("change", ["revision", "labels", "weights"])
def test_another_model_in_its_place_is_not_taken_for_it(tmp_path, opened, change):
    folder = tiny_graphs.write_model(tmp_path / "colours")
    model = idle(opened(unload_after_seconds=LONG).open("colours"))
    assert model.revision.startswith("sha256-")
    model.rest()
    if change == "revision":
        tiny_graphs.write_model(tmp_path / "other", revision="2")
    elif change == "labels":
        tiny_graphs.write_model(tmp_path / "other", labels=["blue", "green", "red"])
    else:
        tiny_graphs.write_model(tmp_path / "other")
        tiny_graphs.save_colour_means(tmp_path / "other" / "model.onnx", batch=1)
    shutil.rmtree(folder)
    (tmp_path / "other").rename(folder)

    with pytest.raises(ManifestError, match="start again to use what is there now"):
        scores(model)


def test_the_same_files_written_anew_are_the_same_model(tmp_path, opened):
    folder = tiny_graphs.write_model(tmp_path / "colours")
    model = idle(opened(unload_after_seconds=LONG).open("colours"))
    before, revision = scores(model), model.revision
    model.rest()
    for path in folder.iterdir():
        os.utime(path, (1, 1))

    assert (scores(model), model.revision) == (before, revision)


def test_everything_a_model_can_be_asked_wakes_it(tmp_path, opened):
    """A method that ``Model`` gains is one that this class must pass on."""
    own = {name for name in vars(IdleModel) if not name.startswith("_")}
    known_at_rest = {"name", "revision", "family", "manifest", "hooks", "labels", "languages", "refusals"}
    asked = {name for name in vars(Model) if not name.startswith("_")} - known_at_rest

    assert asked - own == set()


def test_a_family_refuses_what_it_cannot_do_as_ever(tmp_path, opened):
    tiny_graphs.write_model(tmp_path / "colours")
    tiny_duals.write_dual(tmp_path / "clip", zero_shot={"template": "a photo of {}"})
    models = opened(unload_after_seconds=LONG)
    colours, clip = idle(models.open("colours")), idle(models.open("clip"))

    with pytest.raises(UsageError, match="family classifier, which can score labels"):
        colours.embed([RED])
    with pytest.raises(UsageError, match="cannot write captions"):
        clip.caption_prompt(None, None)
    assert clip.template == "a photo of {}"
    assert colours.template == "{}"
    assert (clip.writer_stats, colours.size_px) == (None, None)
    (vector,) = clip.embed(["a red square"])
    clip.rest()
    np.testing.assert_array_equal(clip.embed(["a red square"])[0], vector)


def test_one_that_was_opened_and_not_asked_makes_room_for_the_next(tmp_path, opened):
    for name in ("first", "second", "third"):
        tiny_graphs.write_model(tmp_path / name)
    models = opened(unload_after_seconds=LONG)
    first = idle(models.open("first"))
    first.predict([])  # a plugin that looks whether it can
    second = idle(models.open("second"))
    assert (first.is_loaded, second.is_loaded) == (False, True)
    scores(second)
    third = idle(models.open("third"))

    assert (first.is_loaded, second.is_loaded, third.is_loaded) == (False, True, True)


@pytest.mark.parametrize("is_resting", [False, True])
def test_closed_models_refuse_work(tmp_path, opened, is_resting):
    tiny_graphs.write_model(tmp_path / "colours")
    models = opened(unload_after_seconds=LONG)
    model = idle(models.open("colours"))
    if is_resting:
        model.rest()
    models.close()

    with pytest.raises(EnrichError, match="closed"):
        scores(model)
    with pytest.raises(EnrichError, match="closed"):
        models.open("colours")
    assert "idle models" not in {thread.name for thread in threading.enumerate()}


MEMORY = """
import sys, json, numpy as np
from pathlib import Path
from enrich.inference import Models, ModelStore
from enrich.inference.memory import resident_bytes
from enrich.types import Rendition

grey = Rendition(None, None, 0, np.full((8, 8, 3), 128, np.uint8), 8, 8, 8, 8)
models = Models(ModelStore(Path(sys.argv[1])), "cpu", threads=1, unload_after_seconds=1000)
warm = models.open("warm")  # what the runtime itself takes
warm.predict([grey]); warm.rest()
floor, seen = resident_bytes(), []
for name in json.loads(sys.argv[2]):
    model = models.open(name)
    seen.append(resident_bytes() - floor)
    if sys.argv[3] == "asked":
        model.predict([grey])
        models._rest(model, 0)  # as its thread does, in time
        seen.append(resident_bytes() - floor)
print(max(seen), seen[-1], models.numbers()["models_given_back_bytes_total"])
models.close()
"""
MEGABYTES = 24


@pytest.mark.parametrize("use", ["opened", "asked"])
def test_twenty_large_models_in_turn_need_the_memory_of_one(tmp_path, use):
    tiny_graphs.write_model(tmp_path / "warm")
    large = tiny_graphs.save_weighty(tmp_path / "large.onnx", MEGABYTES)
    names = [f"large-{n}" for n in range(20)]
    for name in names:
        folder = tiny_graphs.write_model(tmp_path / name)
        (folder / "model.onnx").unlink()
        (folder / "model.onnx").hardlink_to(large)
    command = [sys.executable, "-c", MEMORY, str(tmp_path), str(names).replace("'", '"'), use]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    peak, last, given_back = (int(float(word)) / 2**20 for word in done.stdout.split())

    # The weights, the file's own bytes while it is read, and what the weights are made into.
    assert peak < 4 * MEGABYTES
    assert given_back > 18 * MEGABYTES
    if use == "asked":
        assert last < MEGABYTES / 2
