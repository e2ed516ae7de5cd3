"""What every bundled plugin with a work hook must do, whatever it says of a picture."""

import inspect
import logging
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from enrich import app, errors
from enrich.drawings.scenes import draw_scene
from enrich.drawings.wording import all_tags
from enrich.host import BoundStep, Host
from enrich.host.host import Outcome
from enrich.inference import Models
from enrich.settings import Settings, Step
from enrich.types import Context, Rendition, Skip

WORK_HOOKS = {f"enrich_{name}" for name in ("caption", "answer", "age", "tag", "text", "embed", "data")}
STEPS: dict[str, dict[str, Any]] = {
    "age": {"plugin": "age", "model": "drawings-age"},
    "answer": {
        "plugin": "answer",
        "model": "drawings-vlm",
        "questions": {
            "background": "What colour is the background?",
            "count": {"ask": "Combien de formes y a-t-il ?", "type": "number", "lang": "fr"},
        },
    },
    "caption": {"plugin": "caption", "model": "drawings-vlm", "length": "long", "lang": "ja"},
    "colors": {"plugin": "colors"},
    "embed": {"plugin": "embed", "model": "drawings-clip"},
    "ocr": {"plugin": "ocr"},
    "quality": {"plugin": "quality"},
    "phrases": {
        "plugin": "phrases",
        "model": "drawings-clip",
        "phrases": {"what": ["circle", "square"], "where": ["white background", "black background"]},
    },
    "tags": {"plugin": "tags", "model": "drawings-clip", "vocabulary": all_tags("en"), "threshold": 0.01},
}
#: Of what is measured in float32, rows are added up in another order in a batch of another size.
APART_MAX = 1e-5


@pytest.fixture(scope="module")
def host() -> Host:
    return app.load_plugins(Settings(), bundled_only=True)


@pytest.fixture(scope="module")
def models() -> Iterator[Models]:
    models = app.open_models(Settings())
    yield models
    models.close()


@pytest.fixture(scope="module", params=STEPS)
def step(request: pytest.FixtureRequest, host: Host, models: Models) -> BoundStep:
    if request.param == "ocr":
        pytest.importorskip("rapidocr", reason="no rapidocr: install the extra ocr")
    return host.bind(request.param, Step.model_validate(STEPS[request.param]), models.open)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Scenes as they come: a JPEG, CMYK, with alpha, grey, with a palette, narrow, a single pixel."""
    folder = tmp_path_factory.mktemp("pictures")
    drawn = [draw_scene(random.Random(seed), 150)[0] for seed in range(6)]
    made = {
        "plain.jpg": drawn[0],
        "cmyk.jpg": drawn[1].convert("CMYK"),
        "alpha.png": drawn[2].convert("RGBA"),
        "grey.webp": drawn[3].convert("L"),
        "palette.png": drawn[4].convert("P"),
        "narrow.png": drawn[5].resize((300, 3)),
        "pixel.png": PIL.Image.new("RGB", (1, 1), (200, 30, 60)),
    }
    for name, image in made.items():
        image.save(folder / name)
    return [folder / name for name in made]


def read(host: Host, step: BoundStep, *paths: Path) -> list[Rendition]:
    """Renditions of which no model knows anything yet."""
    return [app.read_rendition(Settings(), host, path, step.size_px) for path in paths]


def describe(host: Host, step: BoundStep, renditions: list[Rendition]) -> list[Outcome]:
    return host.describe(step, renditions, [()] * len(renditions))


def assert_same(one: Outcome, other: Outcome) -> None:
    assert not isinstance(one, errors.EnrichError), one
    assert not isinstance(other, errors.EnrichError), other
    if isinstance(one, Skip) or isinstance(other, Skip):
        assert one == other
        return
    assert len(one) == len(other)
    for ours, theirs in zip(one, other, strict=True):
        same = ("kind", "item", "page", "text", "language", "question", "is_empty")
        assert [getattr(ours, name) for name in same] == [getattr(theirs, name) for name in same]
        assert ours.confidence == pytest.approx(theirs.confidence, abs=APART_MAX)
        assert [tag.name for tag in ours.tags] == [tag.name for tag in theirs.tags]
        for mine, other_tag in zip(ours.tags, theirs.tags, strict=True):
            assert mine.confidence == pytest.approx(other_tag.confidence, abs=APART_MAX)
        if ours.vector is not None:
            assert theirs.vector is not None
            assert np.abs(ours.vector - theirs.vector).max() < APART_MAX


def test_every_bundled_plugin_is_here(host: Host) -> None:
    working = {name for name, plugin in host.plugins.items() if WORK_HOOKS & set(plugin.hooks)}
    assert working == set(STEPS)


def test_one_outcome_each_and_no_failure(host: Host, step: BoundStep, pictures: list[Path]) -> None:
    outcomes = describe(host, step, read(host, step, *pictures))
    assert len(outcomes) == len(pictures)
    for path, outcome in zip(pictures, outcomes, strict=True):
        assert isinstance(outcome, (list, Skip)), (path.name, outcome)
    assert isinstance(outcomes[0], list), "a plain picture is described"


def test_an_empty_batch_is_an_empty_list(host: Host, step: BoundStep) -> None:
    assert describe(host, step, []) == []
    work = getattr(step.plugin.module, step.hook)
    log = logging.getLogger("test")
    offered = {
        "renditions": [],
        "questions": step.questions,
        "context": Context(step.name, step.options, step.model, [], "en", "short", None, log),
    }
    assert list(work(**{name: offered[name] for name in inspect.signature(work).parameters})) == []


def test_the_same_alone_and_in_any_company(host: Host, step: BoundStep, pictures: list[Path]) -> None:
    alone = {path: describe(host, step, read(host, step, path))[0] for path in pictures}
    for seed in range(3):
        order = random.Random(seed).choices(pictures, k=9)
        for path, outcome in zip(order, describe(host, step, read(host, step, *order)), strict=True):
            assert_same(outcome, alone[path])


def test_from_several_threads(host: Host, step: BoundStep, pictures: list[Path]) -> None:
    expected = describe(host, step, read(host, step, *pictures))
    batches = [read(host, step, *pictures) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        for outcomes in pool.map(lambda batch: describe(host, step, batch), batches):
            for ours, theirs in zip(outcomes, expected, strict=True):
                assert_same(ours, theirs)


def test_a_picture_is_seen_as_its_orientation_says(host: Host, step: BoundStep, tmp_path: Path) -> None:
    image, _ = draw_scene(random.Random(3), 160)
    image.save(tmp_path / "upright.png")
    exif = PIL.Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by a quarter
    image.transpose(PIL.Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=exif)
    upright, turned = describe(
        host, step, read(host, step, tmp_path / "upright.png", tmp_path / "turned.png")
    )
    assert isinstance(upright, list)
    assert_same(turned, upright)


def test_pixels_are_left_as_they_were(host: Host, step: BoundStep, pictures: list[Path]) -> None:
    renditions = read(host, step, *pictures)
    before = [one.pixels.copy() for one in renditions]
    describe(host, step, renditions)
    for one, pixels in zip(renditions, before, strict=True):
        assert not one.pixels.flags.writeable
        assert np.array_equal(one.pixels, pixels)
