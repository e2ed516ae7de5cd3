"""LLaVA: our pictures, features, prompts and words are the recorded ones of transformers."""

import json

import numpy as np
import PIL.Image
import pytest
from parity.pictures import odd_pictures
from parity.vlm.agreement import Reference
from parity.vlm.llava_agreement import (  # noqa: F401  # pytest collects them here
    test_a_thousand_conversations_become_the_same_prompts,
    test_conversations_become_the_same_prompts,
    test_the_same_tokens_are_written,
    test_the_same_tokens_are_written_alone,
    test_the_same_tokens_are_written_in_beams,
)
from parity.vlm.llava_cases import CONVERSATIONS
from parity.vlm.references import stored_model

from enrich.errors import ManifestError
from enrich.inference.devices import Device
from enrich.inference.llava import LlavaSight
from enrich.inference.stored import read_model
from enrich.inference.text import Tokenizer
from enrich.inference.vision_language import VisionLanguage

CPU = Device("cpu")
FEATURES_APART_MAX = 1e-4


@pytest.fixture(scope="module", params=["llava", "llava_siglip"])
def reference(request, tmp_path_factory):
    opened = Reference(request.param, LlavaSight, tmp_path_factory.mktemp("llava"), CONVERSATIONS)
    yield opened
    opened.close()


@pytest.fixture
def folder(tmp_path):
    """A model to change."""
    return stored_model("llava", tmp_path).folder


def open_sight(folder):
    return LlavaSight.open(read_model(folder), Tokenizer(folder / "tokenizer.json"), CPU, threads=1)


def test_pictures_are_prepared_alike(reference):
    ours = np.stack(
        [reference.sight.look(PIL.Image.fromarray(one)).inputs["pixel_values"] for one in odd_pictures()]
    )
    mean, std = (np.array(one, np.float32)[:, None, None] for one in ((0.4, 0.5, 0.6), (0.5, 0.4, 0.3)))
    expected = (reference.numbers["pixels"].astype(np.float32) / 255 - mean) / std
    assert np.abs(ours - expected).max() <= 1e-6 * np.ptp(expected)


def test_pictures_are_seen_alike(reference):
    expected = reference.numbers["features"].reshape(-1, reference.numbers["features"].shape[-1])
    assert np.abs(reference.features() - expected).max() < FEATURES_APART_MAX


def test_a_margin_makes_pictures_square(folder):
    path = folder / "processor_config.json"
    values = json.loads(path.read_text())
    values["image_processor"] |= {"image_processor_type": "LlavaImageProcessor", "do_pad": True}
    path.write_text(json.dumps(values))
    sight = open_sight(folder)
    try:
        pixels = sight.look(PIL.Image.new("RGB", (64, 16), "white")).inputs["pixel_values"]
    finally:
        sight.close()
    # White in the middle half; above and below what is nearly 0 after normalisation.
    assert pixels.shape == (3, 32, 32)
    assert np.abs(pixels[:, :10]).max() < 0.02
    assert pixels[:, 14:18].min() > 1


def test_a_processor_of_another_kind_is_refused(folder):
    path = folder / "processor_config.json"
    values = json.loads(path.read_text())
    values["image_processor"]["image_processor_type"] = "PixtralImageProcessor"
    path.write_text(json.dumps(values))
    with pytest.raises(ManifestError, match="PixtralImageProcessor is not known"):
        open_sight(folder)


def test_a_processor_of_another_size_is_refused(folder):
    path = folder / "processor_config.json"
    values = json.loads(path.read_text())
    values["image_processor"] |= {"size": {"height": 48, "width": 48}, "do_center_crop": False}
    path.write_text(json.dumps(values))
    with pytest.raises(ManifestError, match="gives 3 x 48 x 48 per picture, and the graph's input pixel_val"):
        open_sight(folder)


def test_an_image_token_of_another_model_is_refused(folder):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"image_token_index": 7}))
    with pytest.raises(ManifestError, match="image_token_index: is 7, and <image> of tokenizer"):
        VisionLanguage.open(read_model(folder), threads=1)


def test_a_missing_processor_is_named(folder):
    (folder / "processor_config.json").unlink()
    with pytest.raises(ManifestError, match=r"there is no preprocessor_config\.json; copy it"):
        open_sight(folder)
