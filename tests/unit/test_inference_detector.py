"""Detectors: what graphs of several kinds give, read as boxes; and regressors, which say one number."""

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageOps
import pytest
import tiny_graphs
from onnx import TensorProto, helper

from enrich.errors import InferenceError, ManifestError, UsageError
from enrich.hub.listed import LISTED
from enrich.inference.boxes import Found, read_map, suppress
from enrich.inference.detector import Detector
from enrich.inference.devices import Device
from enrich.inference.faces import find_faces
from enrich.inference.families import open_model, try_out
from enrich.inference.regressor import Regressor
from enrich.inference.session import Session
from enrich.inference.stored import read_model
from enrich.types import Region, Rendition

FLOAT = TensorProto.FLOAT
SIDE = 8
INPUT = {"resize": {"height": SIDE, "width": SIDE}}


def grey(level: int = 255, width: int = 20, height: int = 12) -> Rendition:
    pixels = np.full((height, width, 3), level, np.uint8)
    return Rendition(None, None, 0, pixels, width, height, width, height)


def save_tables(path: Path, batch: int | str = "batch", **tables: np.ndarray) -> None:
    """A graph whose outputs are these tables for each picture, times its brightness (0..1)."""
    nodes = [helper.make_node("ReduceMean", ["pixels"], ["light"], axes=[1, 2, 3], keepdims=1)]
    outputs, constants = [], {}
    for name, table in tables.items():
        constants[f"{name}_table"] = table.astype(np.float32)[None]
        if table.ndim == 2:
            constants["flat"] = np.array([0, 1, 1], np.int64)
            nodes.append(helper.make_node("Reshape", ["light", "flat"], [f"{name}_light"]))
        factor = "light" if table.ndim == 3 else f"{name}_light"
        nodes.append(helper.make_node("Mul", [f"{name}_table", factor], [name]))
        outputs.append((name, FLOAT, [batch, *table.shape]))
    tiny_graphs.save(path, nodes, [("pixels", FLOAT, [batch, 3, SIDE, SIDE])], outputs, constants)


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Any]:
    """Make models around tables, or whatever graph lies in the folder; they are closed in the end."""
    with contextlib.ExitStack() as stack:

        def make(tables: dict[str, np.ndarray] | None, batch: int | str = "batch", **manifest: Any) -> Any:
            folder = tmp_path / "m"
            folder.mkdir(exist_ok=True)
            if tables is not None:
                save_tables(folder / "model.onnx", batch, **tables)
            values = {"family": "detector", "labels": ["cat", "dog"], "input": INPUT, **manifest}
            (folder / "manifest.json").write_text(json.dumps(values))
            model = open_model(read_model(folder), Device("cpu"))
            stack.callback(model.close)
            return model

        yield make


PAIR = {
    "boxes": np.array([[0.1, 0.2, 0.5, 0.6], [0.5, 0.5, 1.2, 0.9], [0.0, 0.0, 0.1, 0.1]]),
    "scores": np.array([[0.9, 0.1], [0.2, 0.8], [0.3, 0.2]]),
}


def found(model: Any, *pictures: Rendition) -> list[list[tuple[Any, ...]]]:
    return [
        [(one.name, round(one.confidence, 3), *rounded(one.region)) for one in each]
        for each in model.detect(pictures or [grey()])
    ]


def rounded(region: Region) -> tuple[float, ...]:
    return tuple(round(value, 3) for value in (region.x, region.y, region.width, region.height))


CAT, DOG = ("cat", 0.9, 0.1, 0.2, 0.4, 0.4), ("dog", 0.8, 0.5, 0.5, 0.5, 0.4)


def test_boxes_and_scores_are_things_with_regions_the_surest_first(opened: Any) -> None:
    model = opened(PAIR)
    assert isinstance(model, Detector)
    assert found(model) == [[CAT, DOG]], "cut at the edge, and without what is below the threshold"
    assert (model.hooks, model.labels) == (("enrich_tag",), ("cat", "dog"))
    assert model.detect([]) == []
    try_out(model)


def test_each_picture_has_its_own_alone_and_in_a_batch(opened: Any) -> None:
    model = opened(PAIR, detection={"threshold": 0.05})
    pictures = [grey(level) for level in (255, 0, 128, 200, 64)]
    together = found(model, *pictures)
    assert together == [found(model, picture)[0] for picture in pictures]
    assert together[1] == []
    assert len({each[0][1] for each in together if each}) == 4


def test_a_graph_for_one_picture_takes_any_number(opened: Any) -> None:
    model = opened(PAIR, batch=1)
    assert found(model, *[grey()] * 3) == [[CAT, DOG]] * 3
    assert model.stats.runs == {1: 3}


@pytest.mark.parametrize(
    ("box", "boxes"),
    [
        ("corners", [[0.1, 0.2, 0.5, 0.6], [0.5, 0.5, 1.0, 0.9]]),
        ("centre", [[0.3, 0.4, 0.4, 0.4], [0.75, 0.7, 0.5, 0.4]]),
        ("corner", [[0.1, 0.2, 0.4, 0.4], [0.5, 0.5, 0.5, 0.4]]),
    ],
)
@pytest.mark.parametrize("unit", ["share", "px"])
def test_boxes_are_read_in_every_form(opened: Any, box: str, boxes: list[list[float]], unit: str) -> None:
    table = np.array(boxes) * (SIDE if unit == "px" else 1)
    model = opened({"boxes": table, "scores": PAIR["scores"][:2]}, detection={"box": box, "unit": unit})
    assert found(model) == [[CAT, DOG]]


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("has_objectness", [False, True])
def test_rows_hold_boxes_and_scores_either_way_round(opened: Any, turned: bool, has_objectness: bool) -> None:
    parts = [PAIR["boxes"], PAIR["scores"]]
    if has_objectness:
        parts = [PAIR["boxes"], np.array([[0.5], [1.0], [0.1]]), PAIR["scores"]]
    # Five boxes: otherwise the axes of so small a table could be told in both ways.
    rows = np.concatenate(parts, axis=1)
    rows = np.concatenate([rows, np.zeros((5, rows.shape[1]))])
    model = opened({"found": rows.T if turned else rows}, detection={"form": "rows", "threshold": 0.4})
    assert found(model) == [[DOG, ("cat", 0.45, *CAT[2:])] if has_objectness else [CAT, DOG]]


def test_scores_may_be_logits_and_one_label_may_mean_nothing(opened: Any) -> None:
    tables = {"pred_boxes": PAIR["boxes"], "logits": np.array([[3.0, 0, 0], [0, 4, 0], [0, 0, 9]])}
    model = opened(
        tables, labels=["cat", "dog", "nothing"], detection={"activation": "softmax", "background": "nothing"}
    )
    (things,) = model.detect([grey()])
    assert [(one.name, round(one.confidence, 4)) for one in things] == [
        ("dog", round(np.exp(4) / (np.exp(4) + 2), 4)),
        ("cat", round(np.exp(3) / (np.exp(3) + 2), 4)),
    ]


def test_what_is_found_twice_is_one_thing_unless_it_has_another_name(opened: Any) -> None:
    boxes = np.array(
        [[0.1, 0.1, 0.5, 0.5], [0.1, 0.1, 0.5, 0.52], [0.1, 0.1, 0.5, 0.5], [0.6, 0.6, 0.9, 0.9]]
    )
    scores = np.array([[0.8, 0], [0.9, 0], [0, 0.7], [0.6, 0]])
    model = opened({"boxes": boxes, "scores": scores})
    assert [one[:2] for one in found(model)[0]] == [("cat", 0.9), ("dog", 0.7), ("cat", 0.6)]
    model = opened({"boxes": boxes, "scores": scores}, detection={"limit": 1})
    assert [one[:2] for one in found(model)[0]] == [("cat", 0.9)]


def naive(corners: np.ndarray, labels: np.ndarray, confidences: np.ndarray, overlap: float) -> list[int]:
    kept: list[int] = []
    for index in np.argsort(-confidences, kind="stable"):
        for other in kept:
            a, b = corners[index], corners[other]
            shared = max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))
            union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
            if labels[index] == labels[other] and shared / union >= overlap:
                break
        else:
            kept.append(int(index))
    return kept


@pytest.mark.parametrize("overlap", [0.3, 0.7, 1.0])
def test_suppression_says_what_the_plain_loops_say(overlap: float) -> None:
    rng = np.random.default_rng(5)
    for count in (0, 1, 2, 60, 400):
        start = rng.uniform(0, 0.7, (count, 2))
        corners = np.concatenate([start, start + rng.uniform(0.05, 0.3, (count, 2))], axis=1)
        labels, confidences = rng.integers(0, 3, count), rng.uniform(0, 1, count)
        kept = suppress(Found(corners, labels, confidences), overlap, 1000)
        assert kept.confidences.tolist() == confidences[naive(corners, labels, confidences, overlap)].tolist()


def test_a_map_is_read_cell_by_cell() -> None:
    rng = np.random.default_rng(6)
    cells = rng.normal(size=(5 + 3, 4, 6))
    cells[[0, 5, 6, 7]] = rng.uniform(0, 1, (4, 4, 6))
    read = read_map(cells)
    for index in range(24):
        row, column = divmod(index, 6)
        cell = cells[:, row, column]
        middle = (column + np.tanh(cell[1])) / 6, (row + np.tanh(cell[2])) / 4
        size = 1 / (1 + np.exp(-cell[3])), 1 / (1 + np.exp(-cell[4]))
        expected = [m + side * s / 2 for side in (-1, 1) for m, s in zip(middle, size, strict=True)]
        np.testing.assert_allclose(read.corners[index], expected)
        assert read.labels[index] == cell[5:].argmax()
        assert read.confidences[index] == pytest.approx(cell[0] ** 0.6 * cell[5:].max() ** 0.4)


def test_fastestdets_map_is_a_form_of_its_own(opened: Any) -> None:
    cells = np.zeros((5 + 2, 3, 3))
    cells[[0, 6], 1, 2] = 1, 0.5
    model = opened({"map": cells}, detection={"form": "fastestdet"})
    assert found(model) == [[("dog", round(0.5**0.4, 3), 0.417, 0.083, 0.5, 0.5)]]


@pytest.mark.parametrize(
    ("tables", "manifest", "complaint"),
    [
        (PAIR, {"labels": ["cat"]}, r"labels: there are 1, .*boxes \[1, 3, 4\] and scores \[1, 3, 2\]"),
        ({"boxes": PAIR["boxes"]}, {}, "one output; .*rows or fastestdet"),
        ({"x": PAIR["boxes"]}, {"detection": {"form": "rows"}}, "does not fit the form rows"),
        ({"x": PAIR["boxes"]}, {"detection": {"form": "fastestdet"}}, "does not fit the form fastestdet"),
        ({"x": np.zeros((7, 2, 2))}, {"detection": {"form": "rows"}}, "does not fit the form rows"),
        (PAIR, {"detection": {"boxes": "b"}}, r"detection\.boxes\.name: there is no b"),
        (PAIR, {"detection": {"background": "air"}}, r"detection\.background: air is none of the labels"),
        (
            PAIR,
            {"input": {"resize": {"shortest_edge": 9}, "crop": 8}},
            r"input\.crop: a detector sees the whole",
        ),
        (PAIR, {"detection": {"threshold": 0}}, r"detection\.threshold: "),
        (PAIR, {"detection": {"form": "circles"}}, r"detection\.form: "),
        (PAIR, {"labels": None}, r"id2label: missing"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(
    opened: Any, tables: dict[str, np.ndarray], manifest: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ManifestError, match=complaint):
        opened(tables, **manifest)


def test_what_is_not_finite_is_an_error(opened: Any) -> None:
    # Infinity times no light is no number; the blank picture of the start is black as well.
    model = opened({"boxes": PAIR["boxes"], "scores": np.full((3, 2), np.inf)})
    with pytest.raises(InferenceError, match="m: what was found in a picture is not finite"):
        model.detect([grey()])


def test_a_detector_says_what_it_can_do(opened: Any) -> None:
    with pytest.raises(
        UsageError, match=r"cannot score labels: it is of the family detector, .* find things"
    ):
        opened(PAIR).predict([grey()])


# Regressors


def save_ages(folder: Path, width: int = 1) -> None:
    """An age by the picture's brightness, and a second output."""
    folder.mkdir()
    nodes = [
        helper.make_node("ReduceMean", ["pixels"], ["light"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Reshape", ["light", "column"], ["years"]),
        helper.make_node("Expand", ["years", "wide"], ["age"]),
        helper.make_node("Neg", ["years"], ["gender"]),
    ]
    tiny_graphs.save(
        folder / "model.onnx",
        nodes,
        [("pixels", FLOAT, ["n", 3, SIDE, SIDE])],
        [("gender", FLOAT, ["n", 1]), ("age", FLOAT, ["n", width])],
        {"column": np.array([-1, 1], np.int64), "wide": np.array([1, width], np.int64)},
    )


AGES: dict[str, Any] = {"family": "regressor", "labels": None, "input": {**INPUT, "scale": 1}}


def test_a_regressor_says_one_number_of_each_picture(opened: Any, tmp_path: Path) -> None:
    save_ages(tmp_path / "m")
    model = opened(None, **AGES)
    assert isinstance(model, Regressor)
    assert model.measure([grey(30), grey(71)]) == [30.0, 71.0]
    assert model.measure([]) == []
    assert model.hooks == ("enrich_age",)
    try_out(model)
    with pytest.raises(UsageError, match=r"cannot find things: it is of the family regressor, .* measure"):
        model.detect([grey()])


class Watched(Session):
    """Remembers which outputs were asked for."""

    asked: set[str]

    def run(self, feeds: Mapping[str, Any], outputs: Sequence[str]) -> list[Any]:
        self.asked = {*getattr(self, "asked", ()), *outputs}
        return super().run(feeds, outputs)


def test_what_else_the_graph_says_is_never_read(opened: Any, tmp_path: Path) -> None:
    save_ages(tmp_path / "m")
    opened(None, **AGES)
    session = Watched(tmp_path / "m" / "model.onnx", Device("cpu"))
    with contextlib.closing(Regressor(read_model(tmp_path / "m"), session)) as model:
        assert model.measure([grey(30)]) == [30.0]
    assert {port.name for port in session.outputs} == {"age", "gender"}
    assert session.asked == {"age"}


def test_a_regressor_of_several_numbers_is_none(opened: Any, tmp_path: Path) -> None:
    save_ages(tmp_path / "m", width=2)
    with pytest.raises(ManifestError, match="one number of a picture, and the graph's output age has 2"):
        opened(None, **AGES)


def test_an_age_that_is_not_finite_is_an_error(opened: Any) -> None:
    model = opened({"age": np.full((1, 1), np.inf)}, **AGES)
    with pytest.raises(InferenceError, match="is not finite"):
        model.measure([grey()])


# Real weights


def rendition(path: Path) -> Rendition:
    image = PIL.ImageOps.exif_transpose(PIL.Image.open(path)).convert("RGB")
    image.thumbnail((1024, 1024))
    return Rendition(None, None, 0, np.asarray(image), *image.size, *image.size)


@pytest.fixture
def ultraface(eval_data: Path, opened: Any, tmp_path: Path) -> Any:
    (tmp_path / "m").mkdir()
    weights = eval_data / "models" / "ultraface" / "version-RFB-320.onnx"
    (tmp_path / "m" / weights.name).write_bytes(weights.read_bytes())
    return opened(None, **LISTED["ultraface-rfb-320"].manifest)


def test_ultraface_finds_the_faces_of_portraits_and_none_elsewhere(eval_data: Path, ultraface: Any) -> None:
    photos, model = eval_data / "photos", ultraface
    people = sorted(path for path in (photos / "people").glob("*.jpg") if "bbt" not in path.name)
    none = [
        photos / "skimage" / "coffee.png",
        photos / "nature" / "silver_fir.jpg",
        photos / "misc" / "dog.jpg",
    ]
    assert len(people) > 20
    assert [len(faces) for faces in model.detect([rendition(path) for path in people])] == [1] * len(people)
    assert model.detect([rendition(path) for path in none]) == [[], [], []]


def test_a_second_look_sees_true_faces_again_and_most_false_ones_not(eval_data: Path, ultraface: Any) -> None:
    photos = eval_data / "photos"
    crowds = [rendition(path) for path in sorted((photos / "crowds").glob("*.jpg"))]
    # A cactus, kittens, a dog: at its own threshold it takes them for faces.
    names = ("nature/notocactus_minimus.jpg", "misc/winml_kitten_224.png", "skimage/chelsea.png")
    none = [rendition(photos / name) for name in (*names, "photoprism/dog_toshi_yellow.jpg")]

    def count(pictures: list[Rendition], *, looks_twice: bool) -> int:
        return sum(map(len, find_faces(ultraface, pictures, looks_twice=looks_twice)))

    once, twice = (count(crowds, looks_twice=looks_twice) for looks_twice in (False, True))
    assert once >= 60
    assert twice >= 0.97 * once
    once, twice = (count(none, looks_twice=looks_twice) for looks_twice in (False, True))
    assert (once, twice) == (4, 0)
