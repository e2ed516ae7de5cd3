"""Idefics3 and SmolVLM: our tiles, features, prompts and words are the recorded ones of transformers."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import PIL.Image
import pytest
import tiny_graphs
from onnx import TensorProto, helper
from parity.pictures import odd_pictures
from parity.vlm.agreement import Reference
from parity.vlm.idefics3_cases import CONVERSATIONS, STEPS
from parity.vlm.references import numbers_of, rows_of, stored_model, turns_of
from parity.vlm.references import pictures as renditions

from enrich.errors import InferenceError, ManifestError
from enrich.inference.chat_template import read_chat_template
from enrich.inference.devices import Device
from enrich.inference.idefics3 import Idefics3Sight
from enrich.inference.joint_decoder import JointDecoder
from enrich.inference.session import Session
from enrich.inference.stored import read_model
from enrich.inference.text import Tokenizer
from enrich.inference.tiling import Tiling
from enrich.inference.vision_language import VisionLanguage
from enrich.types import Decoding, Rendition

CPU = Device("cpu")
FEATURES_APART_MAX = 1e-4
NAMES = ("idefics3", "smolvlm")


class SpelledTokenizer(Tokenizer):
    """Says each token's id, special or not, so that texts are equal only if all tokens are."""

    def decode(self, ids):
        return " ".join(map(str, ids))


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    work = tmp_path_factory.mktemp("vlm")
    return {name: stored_model(name, work).folder for name in NAMES}


@pytest.fixture(params=NAMES)
def name(request):
    return request.param


@pytest.fixture
def numbers(name):
    return numbers_of(name)


@pytest.fixture
def folder(folders, name, tmp_path):
    """A copy to change."""
    return Path(shutil.copytree(folders[name], tmp_path / name))


@pytest.fixture
def opened():
    """Open the eyes of a model's folder, or all of it; closed at the end."""
    things = []

    def open_sight(folder):
        model = read_model(folder)
        things.append(Idefics3Sight.open(model, Tokenizer(folder / "tokenizer.json"), CPU, threads=1))
        return things[-1]

    def open_model(folder):
        model, tokenizer = read_model(folder), SpelledTokenizer(folder / "tokenizer.json")
        sight = Idefics3Sight.open(model, tokenizer, CPU, threads=1)
        token = tokenizer.token_id(sight.image_token)
        decoder = JointDecoder.open(model, CPU, image_token_id=token, threads=1)
        things.append(VisionLanguage(model, sight, decoder, tokenizer, read_chat_template(model)))
        return things[-1]

    open_sight.whole = open_model
    yield open_sight
    for thing in things:
        thing.close()


def pictures():
    return [PIL.Image.fromarray(pixels) for pixels in odd_pictures()]


def change(path, *keys, **changes):
    """Change values of a JSON file, under these keys."""
    values = json.loads(path.read_text())
    part = values
    for key in keys:
        part = part[key]
    part.update(changes)
    path.write_text(json.dumps(values))


def without_splitting(folder):
    change(folder / "processor_config.json", "image_processor", do_image_splitting=False)
    return folder


def conversations():
    return [turns_of(one, renditions()) for one in CONVERSATIONS]


def shown(turns):
    return [one.image for turn in turns for one in turn.content if isinstance(one, Rendition)]


def spelled(rows):
    return [" ".join(map(str, row)) for row in rows_of(rows)]


def test_pictures_are_cut_alike(folder, opened, numbers):
    sight = opened(folder)
    looks = [sight.look(picture) for picture in pictures()]

    assert [look.grid for look in looks] == [tuple(grid) for grid in numbers["grids"]]
    # Strips, both ways round, and squares.
    assert len({look.grid for look in looks}) == 5
    tiles = np.concatenate([look.inputs["tiles"] for look in looks])
    np.testing.assert_array_equal(tiles.transpose(0, 3, 1, 2), numbers["pixels"])


def test_none_is_cut_where_splitting_is_off(folder, opened, numbers):
    sight = opened(without_splitting(folder))
    looks = [sight.look(picture) for picture in pictures()]

    assert {look.grid for look in looks} == {(0, 0)}
    tiles = np.concatenate([look.inputs["tiles"] for look in looks])
    np.testing.assert_array_equal(tiles.transpose(0, 3, 1, 2), numbers["whole"])
    assert sight.size_px == tiles.shape[1]


def test_tiles_are_normalised_alike(folder, numbers):
    processor = json.loads((folder / "processor_config.json").read_text())["image_processor"]
    mean, std = (np.asarray(processor[key])[:, None, None] for key in ("image_mean", "image_std"))
    expected = (numbers["whole"] / 255 - mean) / std

    prepare = Tiling.model_validate(processor).preprocessing()
    ours = np.stack([prepare(tile.transpose(1, 2, 0)) for tile in numbers["whole"]])

    assert ours.dtype == np.float32
    assert np.abs(ours - expected).max() <= 1e-6 * np.ptp(expected)


@pytest.mark.parametrize(("key", "is_split"), [("features", True), ("features_whole", False)])
def test_the_same_is_seen(folder, opened, numbers, key, is_split):
    sight = opened(folder if is_split else without_splitting(folder))
    looks = [sight.look(picture) for turns in conversations() for picture in shown(turns)]

    together = sight.see(looks)
    alone = [sight.see([look])[0] for look in looks]

    for features in (together, alone):
        assert [len(one) for one in features] == [look.text.count("<image>") for look in looks]
        assert np.abs(np.concatenate(features) - numbers[key]).max() < FEATURES_APART_MAX


def test_tiles_of_all_callers_are_merged(folder, opened, numbers):
    sight = opened(folder)
    looks = [sight.look(picture) for turns in conversations() for picture in shown(turns)] * 3
    # From here on, what was tried at the start is not counted.
    assert sight.stats.items == 0

    with ThreadPoolExecutor(len(looks)) as pool:
        features = list(pool.map(lambda look: sight.see([look])[0], looks))

    expected = np.concatenate([numbers["features"]] * 3)
    assert np.abs(np.concatenate(features) - expected).max() < FEATURES_APART_MAX
    assert sight.stats.items == sum(len(look.inputs["tiles"]) for look in looks)


def test_a_graph_heeds_the_mask_of_a_tile(folder, numbers):
    session = Session(folder / "vision_encoder.onnx", CPU, threads=1)
    feeds = {"pixel_values": numbers["masked_pixels"], "pixel_attention_mask": numbers["masked_mask"]}

    (features,) = session.run(feeds, ["image_features"])
    (unmasked,) = session.run(
        {**feeds, "pixel_attention_mask": feeds["pixel_attention_mask"] | True}, ["image_features"]
    )

    expected = numbers["masked_features"].reshape(features.shape)
    assert np.abs(features - expected).max() < FEATURES_APART_MAX
    assert np.abs(unmasked - expected).max() > 0.1


@pytest.fixture
def reference(name, tmp_path):
    opened = Reference(name, Idefics3Sight, tmp_path, CONVERSATIONS)
    yield opened
    opened.close()


def test_conversations_become_the_same_prompts(reference):
    assert reference.prompts() == reference.expected("prompts")


def test_a_thousand_conversations_become_the_same_prompts(reference):
    reference.check_conversations()
    reference.check_logits()


@pytest.mark.parametrize(
    ("key", "beams", "is_split"), [("greedy", 1, True), ("greedy_whole", 1, False), ("beams4", 4, True)]
)
def test_the_same_tokens_are_written(folder, opened, numbers, key, beams, is_split):
    model = opened.whole(folder if is_split else without_splitting(folder))
    decoding = Decoding(max_tokens=STEPS, beams=beams)

    together = model.converse(conversations(), decoding)
    alone = [model.converse([turns], decoding)[0] for turns in conversations()]

    expected = spelled(numbers[key])
    assert len(set(expected)) == len(expected)
    assert [one.text for one in together] == [one.text for one in alone] == expected
    assert {one.tokens for one in together} == {STEPS}


def test_a_batch_of_the_reference_writes_what_it_writes_alone(numbers):
    # Then "together" and "alone" above are held against both.
    np.testing.assert_array_equal(numbers["greedy"], numbers["greedy_alone"])


@pytest.mark.parametrize(
    ("width", "height", "grid"),
    [
        (1, 1, (4, 4)),
        (20_000, 1, (1, 4)),
        (1, 20_000, (4, 1)),
        (2048, 2048, (4, 4)),
        (2048, 1536, (3, 4)),
        (2048, 1540, (4, 4)),
        (640, 480, (3, 4)),
    ],
)
def test_every_tile_is_full(width, height, grid):
    # The sizes of SmolVLM-256M and 500M.
    tiling = Tiling.model_validate({"size": {"longest_edge": 2048}, "max_image_size": {"longest_edge": 512}})

    tiles, found = tiling.cut(PIL.Image.new("RGB", (width, height), (255, 128, 0)))

    assert found == grid
    assert tiles.shape == (grid[0] * grid[1] + 1, 512, 512, 3)
    assert (tiles == (255, 128, 0)).all()
    assert tiling.size_px == 2048


def test_a_picture_no_larger_than_a_tile_is_alone():
    tiling = Tiling.model_validate({"size": {"longest_edge": 16}, "max_image_size": {"longest_edge": 16}})
    tiles, grid = tiling.cut(PIL.Image.new("RGB", (30, 20)))
    assert (tiles.shape, grid) == ((1, 16, 16, 3), (0, 0))


def test_a_picture_is_cut_at_its_own_size_where_none_is_enlarged():
    tiling = Tiling.model_validate({"do_resize": False, "max_image_size": {"longest_edge": 16}})
    tiles, grid = tiling.cut(PIL.Image.new("RGB", (33, 16)))
    assert (len(tiles), grid) == (7, (2, 3))


def save_published(path, *, edge, tokens, tiles="num_images", dtype=TensorProto.FLOAT16):
    """A vision graph in the form of the hub's: half precision, no tile of zeros, features one under another.

    A feature is the mean of a stripe of rows in each of the three colours.
    """
    shapes = {
        "flat": [-1, 3, tokens, edge * edge // tokens],
        "rows": [-1, 3],
    }
    nodes = [
        helper.make_node("Reshape", ["pixel_values", "flat"], ["stripes"]),
        helper.make_node("Abs", ["stripes"], ["lit"]),
        helper.make_node("ReduceMax", ["lit"], ["most"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Cast", ["most"], ["is_real"], to=TensorProto.BOOL),
        helper.make_node("Compress", ["stripes", "is_real"], ["real"], axis=0),
        helper.make_node("ReduceMean", ["real"], ["means"], axes=[3], keepdims=0),
        helper.make_node("Transpose", ["means"], ["turned"], perm=[0, 2, 1]),
        helper.make_node("Reshape", ["turned", "rows"], ["image_features"]),
    ]
    inputs = [
        ("pixel_values", dtype, ["batch_size", tiles, 3, edge, edge]),
        ("pixel_attention_mask", TensorProto.BOOL, ["batch_size", tiles, edge, edge]),
    ]
    constants = {key: np.asarray(shape, np.int64) for key, shape in shapes.items()}
    return tiny_graphs.save(path, nodes, inputs, [("image_features", dtype, [None, 3])], constants)


@pytest.fixture
def published(folders, tmp_path):
    folder = Path(shutil.copytree(folders["smolvlm"], tmp_path / "published"))
    save_published(folder / "vision_encoder.onnx", edge=16, tokens=4)
    return folder


def test_a_published_graph_in_half_precision_takes_the_same_tiles(published, opened):
    sight = opened(published)
    look = sight.look(pictures()[15])

    (features,) = sight.see([look])

    prepare = sight._tiling.preprocessing()
    pixels = np.stack([prepare(tile) for tile in look.inputs["tiles"]])
    expected = pixels.reshape(len(pixels), 3, 4, -1).mean(3).transpose(0, 2, 1).reshape(-1, 3)
    assert features.dtype == np.float32
    assert np.abs(features - expected).max() < 5e-3


def test_a_tile_that_a_graph_leaves_out_is_refused_for_its_caller_alone(published, opened):
    change(published / "processor_config.json", "image_processor", do_normalize=False)
    sight = opened(published)
    black, white = (sight.look(PIL.Image.new("RGB", (40, 20), colour)) for colour in ("black", "white"))

    with pytest.raises(InferenceError, match="rows came for"):
        sight.see([black])
    np.testing.assert_allclose(sight.see([white])[0], 1)


def test_a_graph_of_one_tile_gets_one_at_a_time(published, opened):
    save_published(published / "vision_encoder.onnx", edge=16, tokens=4, tiles=1)
    sight = opened(published)
    look = sight.look(pictures()[15])

    (features,) = sight.see([look])

    assert len(features) == look.text.count("<image>")
    assert sight.stats.runs == {1: len(look.inputs["tiles"])}


def test_large_tiles_take_turns_on_the_cpu(published, opened):
    save_published(published / "vision_encoder.onnx", edge=512, tokens=4)
    edges = {"size": {"longest_edge": 1024}, "max_image_size": {"longest_edge": 512}}
    change(published / "processor_config.json", "image_processor", **edges)
    sight = opened(published)

    sight.see([sight.look(pictures()[15])])

    assert sight.stats.runs == {1: 5}


@pytest.mark.parametrize(
    ("edge", "tiles"), [(20, "num_images"), (16, 5)], ids=["another edge", "a number of tiles baked in"]
)
def test_a_graph_for_other_tiles_is_refused(published, opened, edge, tiles):
    save_published(published / "vision_encoder.onnx", edge=edge, tokens=4, tiles=tiles)
    with pytest.raises(ManifestError, match=r"must take \(batch, tiles, 3, 16, 16\)"):
        opened(published)


def test_a_processor_of_another_model_is_refused(published, opened):
    path = published / "processor_config.json"
    change(path, image_seq_len=9)
    with pytest.raises(ManifestError, match="image_seq_len: is 9, and the vision graph gives 4 rows"):
        opened(published)

    change(path, image_seq_len="many")
    with pytest.raises(ManifestError, match="image_seq_len: must be a number of tokens, not 'many'"):
        opened(published)

    change(path, image_seq_len=4)
    change(path, "image_processor", image_processor_type="ViTImageProcessor")
    with pytest.raises(ManifestError, match="ViTImageProcessor is not that of Idefics3"):
        opened(published)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": {"shortest_edge": 64}}, "size: .*give longest_edge, or height and width"),
        ({"max_image_size": {"longest_edge": 0}}, r"max_image_size\.longest_edge: "),
        ({"image_std": [0.5, 0, 0.5]}, r"image_std\.1: "),
        ({"resample": 77}, "resample: "),
    ],
)
def test_what_a_processor_cannot_mean_is_said(published, opened, changes, message):
    path = published / "processor_config.json"
    change(path, "image_processor", **changes)
    with pytest.raises(ManifestError, match=message) as caught:
        opened(published)
    assert str(path) in str(caught.value)


def test_a_missing_processor_is_said(published, opened):
    (published / "processor_config.json").unlink()
    with pytest.raises(ManifestError, match=r"there is no preprocessor_config\.json; copy it"):
        opened(published)


def test_the_files_of_transformers_4_are_read_too(published, opened):
    path = published / "processor_config.json"
    values = json.loads(path.read_text())
    images = values.pop("image_processor") | {"resample": None}
    (published / "preprocessor_config.json").write_text(json.dumps(images))
    path.write_text(json.dumps(values))

    look = opened(published).look(pictures()[15])

    assert look.grid == (4, 3)
    assert look.text.count("<image>") == 13 * 4


def test_a_tokenizer_of_another_model_is_refused(published, opened):
    change(published / "config.json", image_token_id=7)
    with pytest.raises(ManifestError, match="image_token_id: is 7, and <image> of tokenizer"):
        opened(published)

    text = (published / "tokenizer.json").read_text()
    (published / "tokenizer.json").write_text(text.replace("<fake_token_around_image>", "<other>"))
    with pytest.raises(ManifestError, match=r"tokenizer\.json has no <fake_token_around_image>"):
        opened(published)


def test_no_path_of_a_machine_is_in_a_graph(folder):
    for path in folder.glob("*.onnx"):
        model = onnx.load(path)
        assert not any(node.metadata_props or node.doc_string for node in model.graph.node)
