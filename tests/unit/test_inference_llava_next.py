"""LLaVA-NeXT: our tiles, features, prompts and words are the recorded ones of transformers."""

import json
import shutil
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import tiny_graphs
from onnx import TensorProto, helper
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

from enrich.errors import ManifestError, UsageError
from enrich.inference.devices import Device
from enrich.inference.llava_next import AnyResolution, LlavaNextSight, margins
from enrich.inference.stored import read_model
from enrich.inference.text import Tokenizer
from enrich.types import Turn

CPU = Device("cpu")
FEATURES_APART_MAX = 1e-4


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    opened = Reference("llava_next", LlavaNextSight, tmp_path_factory.mktemp("next"), CONVERSATIONS)
    yield opened
    opened.close()


@pytest.fixture
def folder(reference, tmp_path):
    """A copy to change."""
    return Path(shutil.copytree(reference.stored.folder, tmp_path / "next"))


def open_sight(folder):
    return LlavaNextSight.open(read_model(folder), Tokenizer(folder / "tokenizer.json"), CPU, threads=1)


def test_pictures_are_cut_alike(reference):
    tiles = [reference.sight.look(PIL.Image.fromarray(one)).inputs["pixel_values"] for one in odd_pictures()]
    assert [len(one) for one in tiles] == reference.numbers["tiles"].tolist()
    mean, std = (np.array(one, np.float32)[:, None, None] for one in ((0.4, 0.5, 0.6), (0.5, 0.4, 0.3)))
    expected = (reference.numbers["pixels"].astype(np.float32) / 255 - mean) / std
    assert np.abs(np.concatenate(tiles) - expected).max() <= 1e-6 * np.ptp(expected)


def test_pictures_are_seen_alike(reference):
    assert np.abs(reference.features() - reference.numbers["features"]).max() < FEATURES_APART_MAX


def test_there_are_as_many_tokens_as_features(reference):
    looks = [reference.sight.look(PIL.Image.fromarray(one)) for one in odd_pictures()]
    rows = reference.sight.see(looks)
    assert [look.text.count("<image>") for look in looks] == [len(one) for one in rows]


def test_the_size_that_shows_most_is_taken():
    layout = AnyResolution(((24, 48), (48, 24), (48, 48), (72, 24)), 24, PIL.Image.Resampling.BICUBIC)
    assert layout.best(480, 240) == (24, 48)
    assert layout.best(100, 300) == (72, 24)
    assert layout.best(500, 500) == (48, 48)
    # None is enlarged further than it must be.
    assert layout.best(10, 10) == (24, 48)


def test_margins_are_those_of_the_longer_side():
    assert margins((1, 2, 480, 120), 4) == (1, 0)
    assert margins((2, 1, 60, 480), 4) == (0, 1)
    assert margins((2, 2, 100, 100), 4) == (0, 0)


def test_what_the_template_refuses_is_said(reference):
    with pytest.raises(UsageError, match="refuses the conversation: Only user and assistant roles"):
        reference.model.converse([[Turn("tool", ("?",)), Turn("user", ("?",))]])


@pytest.mark.parametrize("said", [[[24, 50]], [[0, 24]], "large", [[24]], [[24, 24 * 1000]]])
def test_odd_pinpoints_are_refused(folder, said):
    path = folder / "processor_config.json"
    values = json.loads(path.read_text())
    values["image_processor"]["image_grid_pinpoints"] = said
    path.write_text(json.dumps(values))
    with pytest.raises(ManifestError, match="image_grid_pinpoints: must be heights and widths"):
        open_sight(folder)


def test_a_graph_without_the_end_of_a_row_is_refused(folder):
    tiny_graphs.save(
        folder / "vision_encoder.onnx",
        [helper.make_node("Flatten", ["pixel_values"], ["image_features"])],
        [("pixel_values", TensorProto.FLOAT, ["b", 3, 24, 24])],
        [("image_features", TensorProto.FLOAT, ["b", 1728])],
    )
    with pytest.raises(ManifestError, match="there is no image_newline"):
        open_sight(folder)
