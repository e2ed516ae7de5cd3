import hashlib
import json
import random
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

import enrich.drawings
from enrich.drawings.faces import AGE_GROUPS, draw_face
from enrich.drawings.poster import draw_poster
from enrich.drawings.scenes import draw_scene

MODELS = Path(enrich.drawings.__file__).parent / "models"
FOLDER = MODELS / "drawings-age"
NAMES = ("drawings-age", "drawings-clip", "drawings-vlm")

# training/faces.py keeps all seeds from here on out of training.
HELD_OUT_SEED = 1_000_000


@pytest.fixture(scope="module")
def manifest():
    return manifest_of("drawings-age")


def manifest_of(name):
    return json.loads((MODELS / name / "manifest.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", NAMES)
def test_the_manifest_names_its_files_as_they_are(name):
    listed = {entry["path"]: entry for entry in manifest_of(name)["files"]}
    assert set(listed) == {path.name for path in (MODELS / name).iterdir()} - {"manifest.json"}
    for file, entry in listed.items():
        content = (MODELS / name / file).read_bytes()
        assert entry["sha256"] == hashlib.sha256(content).hexdigest()
        assert entry["bytes"] == len(content)


def test_all_of_them_together_are_small():
    assert {path.name for path in MODELS.iterdir()} == set(NAMES)
    assert sum(path.stat().st_size for path in MODELS.rglob("*")) < 8_000_000


@pytest.mark.parametrize("name", NAMES)
def test_it_says_that_it_knows_drawings_only(name):
    manifest = manifest_of(name)
    assert manifest["name"] == name
    assert manifest["knows"] == "drawings only"
    assert "Knows drawings only" in (MODELS / name / "README.md").read_text(encoding="utf-8")
    # The value that the tests of the domain check measure its errors at.
    assert manifest["domain"] == {"flat_share_min": 0.48}


def test_its_labels(manifest):
    assert manifest["labels"] == [*AGE_GROUPS, "no one"]


def test_held_out_drawings(manifest):
    onnxruntime = pytest.importorskip("onnxruntime", reason="no onnxruntime: install the extra cpu")
    session = onnxruntime.InferenceSession(FOLDER / manifest["graph"], providers=["CPUExecutionProvider"])
    rng = random.Random(HELD_OUT_SEED + 500_000)
    truth = np.arange(300) % len(AGE_GROUPS)
    faces = [draw_face(rng, AGE_GROUPS[group], rng.choice((72, 128, 180, 240))) for group in truth]
    (logits,) = session.run(["logits"], {"pixel_values": np.stack([tensor(face) for face in faces])})
    guesses = logits.argmax(axis=1)
    assert np.mean(guesses == truth) >= 0.9
    for group in range(len(AGE_GROUPS)):
        assert np.mean(guesses[truth == group] == group) >= 0.8


def test_drawings_without_a_face(manifest):
    onnxruntime = pytest.importorskip("onnxruntime", reason="no onnxruntime: install the extra cpu")
    session = onnxruntime.InferenceSession(FOLDER / manifest["graph"], providers=["CPUExecutionProvider"])
    rng = random.Random(HELD_OUT_SEED + 600_000)
    drawn = [draw(rng, rng.choice((96, 240, 400)))[0] for draw in [draw_scene, draw_poster] * 50]
    (logits,) = session.run(["logits"], {"pixel_values": np.stack([tensor(image) for image in drawn])})
    assert np.mean(logits.argmax(axis=1) == manifest["labels"].index("no one")) >= 0.95


def tensor(image):
    """The preprocessing of preprocessor_config.json."""
    config = json.loads((FOLDER / "preprocessor_config.json").read_text(encoding="utf-8"))
    resized = image.resize(
        (config["size"]["width"], config["size"]["height"]), PIL.Image.Resampling(config["resample"])
    )
    scaled = np.asarray(resized, np.float32) * np.float32(config["rescale_factor"])
    normalised = (scaled - np.float32(config["image_mean"])) / np.float32(config["image_std"])
    return normalised.transpose(2, 0, 1).astype(np.float32)
