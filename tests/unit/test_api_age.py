"""An age group that is asked for over HTTP is judged as the steps of config.yaml say for that model."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_graphs
from onnx import TensorProto, helper
from served import ALICE, place, png

from enrich import app
from enrich.api.requests import Ask
from enrich.api.service import Service
from enrich.settings import Step

BRIGHT, DARK = (250, 200, 150), (0, 0, 0)
GROUPS = ["0-12", "21-44", "65+"]


def write_detector(folder: Path) -> None:
    """Write a model that finds one face, on the right, in a bright picture and none in a dark one."""
    folder.mkdir(parents=True)
    nodes = [
        helper.make_node("ReduceMean", ["pixels"], ["light"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Reshape", ["light", "shape"], ["scores"]),
        helper.make_node("Mul", ["scores", "zero"], ["nothing"]),
        helper.make_node("Add", ["table", "nothing"], ["boxes"]),
    ]
    constants = {
        "shape": np.array([-1, 1, 1], np.int64),
        "zero": np.zeros((1, 1, 1), np.float32),
        "table": np.array([[[0.5, 0.0, 1.0, 0.5]]], np.float32),
    }
    ports = [("boxes", TensorProto.FLOAT, ["n", 1, 4]), ("scores", TensorProto.FLOAT, ["n", 1, 1])]
    tiny_graphs.save(
        folder / "model.onnx", nodes, [("pixels", TensorProto.FLOAT, ["n", 3, 8, 8])], ports, constants
    )
    manifest = {"family": "detector", "labels": ["face"], "input": {"resize": {"height": 8, "width": 8}}}
    (folder / "manifest.json").write_text(json.dumps(manifest))


@pytest.fixture
def service_of(tmp_path: Path) -> Iterator[Any]:
    """Return a service over tiny models, with these steps in its configuration, and its pictures."""
    write_detector(tmp_path / "models" / "finder")
    tiny_graphs.write_model(tmp_path / "models" / "judge", labels=GROUPS, hooks=["enrich_age"])
    with place(tmp_path) as made, contextlib.ExitStack() as stack:

        def make(**steps: Any) -> Any:
            bound = {name: Step.model_validate(step) for name, step in steps.items()}
            settings = made.settings.model_copy(update={"steps": bound, "models_dir": tmp_path / "models"})
            models = app.open_models(settings)
            stack.callback(models.close)
            service = Service(settings, made.host, models, app.open_store(settings), made.pictures)
            received = stack.enter_context(made.pictures.receive(ALICE))

            def group(colour: tuple[int, int, int]) -> Any:
                shown = (received.chunks([png(colour)], ""),)
                return service.answer(Ask("age", shown, model="judge")).data["ageGroup"]

            return group

        yield make


def test_without_a_step_the_whole_picture_is_judged(service_of: Any) -> None:
    group = service_of(colours={"plugin": "colors"})
    assert (group(BRIGHT), group(DARK)) == ("0-12", "0-12")


def test_the_faces_of_the_first_step_for_the_model_are_judged(service_of: Any) -> None:
    near = {"plugin": "age", "faces": "finder", "second_look": False}
    group = service_of(
        other={"plugin": "age", "model": "drawings-age"},
        age={**near, "model": "judge", "size_px": 64},
        again={"plugin": "age", "model": "judge", "threshold": 1.0},
    )
    assert group(BRIGHT) == "0-12"
    assert group(DARK) is None, "no face, and so no one"
