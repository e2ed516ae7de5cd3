"""A real classifier on real photographs, from a manifest alone."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from enrich.inference import Models, ModelStore
from enrich.types import Rendition

# The example of the manual is the manifest of this very network.
MANUAL = Path(__file__).resolve().parents[2] / "docs" / "models.md"
MANIFEST = json.loads(MANUAL.read_text().split("```json")[1].split("```")[0])


@pytest.fixture(scope="module")
def opened(eval_data, tmp_path_factory):
    """Open the network under a manifest with some keys of ``input`` changed."""
    store = tmp_path_factory.mktemp("models")
    models = Models(ModelStore(store), "cpu", threads=1)

    def open_model(name, **changed):
        folder = store / name
        if not folder.exists():
            shutil.copytree(eval_data / "models" / "squeezenet_fp16", folder)
            manifest = {**MANIFEST, "name": name, "input": MANIFEST["input"] | changed}
            (folder / "manifest.json").write_text(json.dumps(manifest))
        return models.open(name)

    yield open_model
    models.close()


@pytest.fixture(scope="module")
def photograph(eval_data):
    def read(name):
        pixels = np.asarray(PIL.Image.open(eval_data / "photos" / name).convert("RGB"))
        height, width = pixels.shape[:2]
        return Rendition(None, None, 0, pixels, width, height, width, height)

    return read


# What is in the picture, as ImageNet's classes call it; any of them may be first.
SEEN = {
    "skimage/chelsea.png": {"tabby", "tiger cat", "Egyptian cat"},
    "skimage/coffee.png": {"espresso", "cup"},
    "misc/winml_kitten_224.png": {"tabby", "tiger cat", "Egyptian cat"},
    "photoprism/elephant_mono.jpg": {"tusker", "Indian elephant", "African elephant"},
    "photoprism/chameleon_lime.jpg": {"African chameleon", "American chameleon"},
}


def names(scores, count):
    return [label.split(",")[0] for label, _ in scores.top(count)]


def hits(model, photograph):
    rows = model.predict([photograph(name) for name in SEEN])
    return sum(names(row, 1)[0] in seen for row, seen in zip(rows, SEEN.values(), strict=True))


def test_it_sees_what_is_there(opened, photograph):
    assert hits(opened("squeezenet"), photograph) == len(SEEN)


def test_the_five_best_for_a_cat_are_mostly_cats(opened, photograph):
    (scores,) = opened("squeezenet").predict([photograph("skimage/chelsea.png")])

    assert set(names(scores, 3)) == {"tabby", "tiger cat", "Egyptian cat"}
    assert scores.top(1)[0][1] > 0.3
    assert scores.probabilities.shape == (1000,)
    assert scores.probabilities.sum() == pytest.approx(1, abs=0.01)


def test_pixels_scaled_as_other_networks_want_them_show_it_nothing(opened, photograph):
    assert hits(opened("scaled", scale=1 / 255), photograph) <= 1


def test_the_colour_order_matters(opened, photograph):
    right, wrong = opened("squeezenet"), opened("rgb", colour="RGB")
    (first,), (second,) = (model.predict([photograph("skimage/coffee.png")]) for model in (right, wrong))

    assert first.top(1)[0][1] > 2 * second.probabilities[first.probabilities.argmax()]


def test_a_picture_says_the_same_alone_together_and_from_many_threads(opened, photograph):
    model = opened("squeezenet")
    pictures = [photograph(name) for name in SEEN]
    together = [row.probabilities for row in model.predict(pictures)]

    def ask(turn):
        index = turn % len(pictures)
        (row,) = model.predict([pictures[index]])
        np.testing.assert_array_equal(row.probabilities, together[index])
        return True

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(40)))
