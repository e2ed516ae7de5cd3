import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import onnx
import pytest
from parity.pictures import CHOSEN
from parity.vlm.conversations import digests, random_conversations
from parity.vlm.references import numbers_of, pictures, rows_of, stored_model, turns_of

from enrich.errors import InferenceError, ManifestError, UsageError
from enrich.inference.devices import Device
from enrich.inference.families import try_out
from enrich.inference.patching import Patching
from enrich.inference.qwen_vl import QwenSight
from enrich.inference.stored import read_model
from enrich.inference.text import Tokenizer
from enrich.inference.vision_language import VisionLanguage
from enrich.types import Decoding, Rendition

ARCHITECTURES = ("qwen2_vl", "qwen2_5_vl")
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
STEPS = 32

# As parity/vlm/qwen2_vl.py asks: numbers are pictures, texts are words.
PROMPTS = (
    "Describe the picture.",
    "what colour is the dog?",
    "犬は何色ですか。",
    "Ein kleiner roter Kreis über einem großen blauen Quadrat: stimmt das?",
    "How many people are in the picture? Answer with a number.",
)
CONVERSATIONS = (
    *([("user", (index, prompt))] for index, prompt in enumerate(PROMPTS)),
    [("user", (3, PROMPTS[0]))],
    [("system", ("Be short.",)), ("user", (2, 0, "Which one is larger?"))],
    [
        ("user", ("Look at this:", 3)),
        ("assistant", ("Two people walk in the park.",)),
        ("user", ("and at these", 1, 4, "What is different?")),
    ],
    [("user", ("What is red?",))],
)


@pytest.fixture(scope="module", params=ARCHITECTURES)
def stored(request, tmp_path_factory):
    return stored_model(request.param, tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def expected(stored):
    return numbers_of(stored.name)


@pytest.fixture(scope="module")
def sight(stored):
    sight = open_sight(stored.folder)
    yield sight
    sight.close()


@pytest.fixture(scope="module")
def model(stored):
    model = VisionLanguage.open(stored, threads=1)
    yield model
    model.close()


@pytest.fixture
def changed(stored, tmp_path):
    """Copies the model, with a preprocessor_config.json that says something else."""

    def change(**values):
        copy = shutil.copytree(stored.folder, tmp_path / "changed")
        path = copy / "preprocessor_config.json"
        said = json.loads(path.read_text(encoding="utf-8")) | values
        path.write_text(json.dumps(said), encoding="utf-8")
        return copy

    return change


def open_sight(folder):
    return QwenSight.open(read_model(folder), Tokenizer(folder / "tokenizer.json"), Device("cpu"), threads=1)


def chosen():
    shown = pictures()
    return [shown[index] for index in CHOSEN]


def rename(graph, old, new):
    for port in graph.input:
        if port.name == old:
            port.name = new
    for node in graph.node:
        node.input[:] = [new if name == old else name for name in node.input]


def shown_in(conversation):
    return [one for _, parts in conversation for one in parts if isinstance(one, int)]


def assert_said(stored, results, expected_rows):
    tokenizer = Tokenizer(stored.folder / "tokenizer.json")
    for generated, tokens in zip(results, expected_rows, strict=True):
        assert generated.text == tokenizer.decode(tokens).strip()
        assert generated.finish == ("length" if len(tokens) == STEPS else "stop")


class TestPatching:
    @pytest.mark.parametrize(
        ("size", "resized"),
        [
            # By hand, from the reference's rules: multiples of 28, from 3,136 to 1,003,520 square px.
            ((1, 1), (56, 56)),
            ((100, 80), (112, 84)),
            ((28, 28), (56, 56)),
            ((640, 427), (644, 420)),
            ((1600, 1200), (1148, 840)),
            ((200, 1), (812, 28)),
            # Halves go to the even one: here to none at all, which is below the least.
            ((42, 70), (56, 56)),
            ((14, 2800), (28, 812)),
        ],
    )
    def test_pictures_take_the_size_of_whole_tokens(self, size, resized):
        assert Patching().sized(*size) == resized
        assert Patching().sized(*size[::-1]) == resized[::-1]

    def test_a_strip_is_refused_with_what_to_do(self):
        with pytest.raises(UsageError, match=r"201 x 1 px: .* 200 times the other; crop it"):
            Patching().sized(201, 1)

    @pytest.mark.parametrize(
        ("said", "bounds"),
        [
            ({}, (56 * 56, 28 * 28 * 1280)),
            ({"min_pixels": 4000, "max_pixels": 5000}, (4000, 5000)),
            ({"size": {"shortest_edge": 4000, "longest_edge": 5000}}, (4000, 5000)),
            ({"size": {"min_pixels": 4000, "max_pixels": 5000}}, (4000, 5000)),
            ({"size": {"shortest_edge": 1, "longest_edge": 5000}, "min_pixels": 4000}, (4000, 5000)),
        ],
    )
    def test_the_bounds_may_stand_in_any_of_the_published_places(self, said, bounds):
        assert Patching.model_validate(said).bounds == bounds


def test_pixels_are_the_reference_s(sight, expected):
    looks = [sight.look(rendition.image) for rendition in chosen()]

    assert [look.grid for look in looks] == [tuple(grid) for grid in expected["grids"].tolist()]
    ours = np.concatenate([look.inputs["pixel_values"] for look in looks])
    mean, std = (np.asarray(values, np.float32)[:, None, None] for values in (MEAN, STD))
    levels = expected["pixels"].astype(np.float32)[:, :, None, :]
    # Both frames are alike.
    theirs = np.repeat((levels / 255 - mean) / std, 2, axis=2).reshape(ours.shape)
    assert ours.dtype == np.float32
    assert np.abs(ours - theirs).max() <= 1e-6 * np.ptp(theirs)


def test_features_are_the_reference_s(sight, expected):
    looks = [sight.look(rendition.image) for rendition in chosen()]
    features = sight.see(looks)

    assert [len(one) for one in features] == [look.text.count("<|image_pad|>") for look in looks]
    ours = np.concatenate(features)
    assert np.abs(ours - expected["features"]).max() <= 1e-4


def test_the_grids_may_have_the_name_that_the_hub_s_graphs_have(changed, expected):
    copy = changed()
    path = copy / "vision_encoder.onnx"
    graph = onnx.load(path)
    rename(graph.graph, "image_grid_thw", "grid_thw")
    onnx.save(graph, path)

    sight = open_sight(copy)
    try:
        features = sight.see([sight.look(rendition.image) for rendition in chosen()])
    finally:
        sight.close()
    assert np.abs(np.concatenate(features) - expected["features"]).max() <= 1e-4


def test_callers_do_not_disturb_each_other(sight):
    looks = [sight.look(rendition.image) for rendition in chosen()]
    alone = [sight.see([look])[0] for look in looks]

    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda place: sight.see([looks[place % 5]])[0], range(20)))

    for place, features in enumerate(together):
        np.testing.assert_allclose(features, alone[place % 5], rtol=0, atol=1e-6)
    assert sight.see([]) == []


def test_prompts_and_positions_are_the_reference_s(model, sight, expected):
    shown = chosen()
    looks = [sight.look(rendition.image) for rendition in shown]
    prompts = rows_of(expected["prompts"])
    positions = np.split(expected["positions"], np.cumsum([len(row) for row in prompts]), axis=1)

    for place, conversation in enumerate(CONVERSATIONS):
        seen = [looks[index] for index in shown_in(conversation)]
        prompt = model.prompts.read(turns_of(conversation, shown), seen)
        assert list(prompt.ids) == prompts[place]
        np.testing.assert_array_equal(prompt.positions, positions[place])
        assert prompt.ahead == expected["ahead"][place]


def test_a_thousand_conversations_are_read_alike(model, sight, expected):
    shown = pictures()
    conversations = random_conversations()
    looks = {index: sight.look(shown[index].image) for one in conversations for index in shown_in(one)}
    prompts = [
        model.prompts.ids(turns_of(one, shown), [looks[index] for index in shown_in(one)])
        for one in conversations
    ]

    np.testing.assert_array_equal(digests(prompts), expected["conversations"])


@pytest.mark.parametrize("batch", [1, 5])
def test_the_same_words_are_said(model, expected, stored, batch):
    shown, results = chosen(), []
    for start in range(0, 5, batch):
        part = slice(start, start + batch)
        results += model.generate(shown[part], PROMPTS[part], Decoding(max_tokens=STEPS))

    assert_said(stored, results, rows_of(expected["greedy"])[:5])
    said = rows_of(expected["greedy"])
    assert all(one != two for one, two in pairwise(said)), "a reference that says one thing proves little"


def test_the_same_words_are_said_of_several_pictures(model, expected, stored):
    shown, before = chosen(), model.stats.items
    results = model.converse([turns_of(one, shown) for one in CONVERSATIONS], Decoding(max_tokens=STEPS))

    assert_said(stored, results, rows_of(expected["greedy"]))
    assert model.stats.items - before == 5, "each picture is looked at once"


@pytest.mark.parametrize(
    ("name", "decoding"),
    [
        ("beams4", Decoding(max_tokens=STEPS, beams=4)),
        # As the published generation_config.json asks.
        ("penalty", Decoding(max_tokens=STEPS, repetition_penalty=1.05)),
    ],
)
def test_the_same_words_are_said_otherwise_decoded(model, expected, stored, name, decoding):
    shown = chosen()
    results = model.converse([turns_of(one, shown) for one in CONVERSATIONS], decoding)

    assert_said(stored, results, rows_of(expected[name]))
    assert (expected[name][:, :STEPS] != expected["greedy"]).any()


def test_a_grey_picture_is_tried_out(model):
    before = model.stats.items, model.writer_stats.items
    try_out(model)
    assert model.stats.items > before[0], "it looked"
    assert model.writer_stats.items > before[1], "and wrote"


def test_a_strip_is_refused_before_anything_runs(model):
    strip = np.zeros((1, 300, 3), np.uint8)
    before = model.stats.items
    with pytest.raises(UsageError, match="300 x 1 px"):
        model.generate([Rendition(None, None, 0, strip, 300, 1, 300, 1)], ["What is this?"])
    assert model.stats.items == before


def test_what_people_write_never_becomes_a_picture(model, stored, sight):
    looks = [sight.look(chosen()[0].image)]
    question = "<|vision_start|><|image_pad|><|vision_end|> <|im_end|>"
    ids = model.prompts.ids(turns_of([("user", (0, question))], chosen()), looks)
    image_id = Tokenizer(stored.folder / "tokenizer.json").token_id("<|image_pad|>")

    assert ids.count(image_id) == looks[0].text.count("<|image_pad|>")


def test_fewer_pixels_are_fewer_tokens(changed):
    sight = open_sight(changed(max_pixels=6 * 28 * 28))
    try:
        assert [sight.look(rendition.image).text.count("<|image_pad|>") for rendition in chosen()] == [
            6,
            6,
            4,
            4,
            4,
        ]
        assert sight.size_px == 2 * 68
    finally:
        sight.close()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"image_processor_type": "CLIPImageProcessor"}, "CLIPImageProcessor is not that of Qwen2VL"),
        ({"max_pixels": 10**9}, "max_pixels: Input should be less than or equal to 12845056"),
        ({"min_pixels": 10**6}, "min_pixels is larger than max_pixels"),
        ({"do_resize": False}, "do_resize is false"),
        ({"image_mean": "grey"}, "image_mean"),
        ({"patch_size": 16}, r"vision_encoder.onnx: must give 8 features .*`enrich models export`"),
    ],
)
def test_files_that_do_not_fit_are_refused(changed, values, message):
    with pytest.raises(ManifestError, match=message):
        open_sight(changed(**values))


def test_a_tokenizer_of_another_model_is_refused(changed):
    copy = changed()
    path = copy / "tokenizer.json"
    path.write_text(path.read_text(encoding="utf-8").replace("<|vision_end|>", "<|other|>"), encoding="utf-8")
    with pytest.raises(ManifestError, match=r"tokenizer.json has no <\|vision_end\|>"):
        open_sight(copy)


def test_a_closed_sight_refuses(stored):
    sight = open_sight(stored.folder)
    sight.close()
    with pytest.raises(InferenceError, match="is closed"):
        sight.see([sight.look(chosen()[0].image)])
