import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import pytest
import tiny_duals
import tiny_graphs
from onnx import TensorProto, helper

from enrich.errors import ExtraMissing, InferenceError, ManifestError, UsageError
from enrich.inference.dual_encoder import DualEncoder
from enrich.inference.stored import read_model
from enrich.types import Rendition

RED, GREEN, MIXED = (255, 0, 0), (0, 255, 0), (200, 100, 0)


def rendition(colour, height=12, width=20):
    pixels = np.full((height, width, 3), colour, np.uint8)
    return Rendition(None, None, 0, pixels, width, height, width, height)


def unit(*vector):
    return np.asarray(vector) / np.linalg.norm(vector)


def softmax(logits):
    powers = np.exp(logits - np.max(logits))
    return powers / powers.sum()


@pytest.fixture
def opened():
    """Open dual encoders that are closed in the end."""
    made = []

    def open_dual(folder):
        made.append(DualEncoder.open(read_model(folder)))
        return made[-1]

    yield open_dual
    for model in made:
        model.close()


@pytest.fixture(params=["whole", "split"])
def clip(request, tmp_path, opened):
    return opened(tiny_duals.write_dual(tmp_path / "clip", split=request.param == "split"))


def test_pictures_are_placed_in_their_order(clip):
    green, mixed = clip.embed([rendition(GREEN), rendition(MIXED)])

    assert green.dtype == np.float32
    np.testing.assert_allclose(green, unit(0, 1, 0), atol=1e-6)
    np.testing.assert_allclose(mixed, unit(2, 1, 0), atol=1e-6)
    assert clip.embed([]) == []
    assert clip.hooks == ("enrich_tag", "enrich_embed")
    assert (clip.family, clip.provider) == ("dual-encoder", "CPUExecutionProvider")


def test_texts_are_placed_in_their_order(clip):
    green, grey, again = clip.embed(["a green", "grey", "a green"])

    np.testing.assert_allclose(green, unit(0.1, 1.1, 0.1), atol=1e-6)
    np.testing.assert_allclose(grey, unit(1, 1, 1), atol=1e-6)
    np.testing.assert_array_equal(green, again)


def test_a_text_says_the_same_beside_a_longer_one(clip):
    (alone,) = clip.embed(["red"])
    together, _ = clip.embed(["red", "a of a"])

    np.testing.assert_allclose(together, alone, atol=1e-6)


def test_a_text_that_is_too_long_loses_words_and_keeps_its_end(clip):
    # Six tokens: start, four words, end.
    (cut,) = clip.embed(["red a a green blue blue"])

    np.testing.assert_allclose(cut, unit(1.1, 1.1, 0.1), atol=1e-6)


def test_a_label_cannot_end_itself(clip):
    plain, smuggled = clip.embed(["red", "red <end>"])

    # As a word it is an unknown one, which means nothing here.
    np.testing.assert_allclose(smuggled, plain, atol=1e-6)


def test_half_a_character_is_read(clip):
    (vector,) = clip.embed(["red \udc80"])

    np.testing.assert_allclose(np.linalg.norm(vector), 1, atol=1e-6)


@pytest.mark.parametrize("items", ["red", [rendition(RED), "red"], ["red", 3]])
def test_only_one_kind_of_items_at_once(clip, items):
    with pytest.raises(UsageError, match="a list of renditions, or a list of texts"):
        clip.embed(items)


def test_labels_share_a_whole_with_clip(tmp_path, opened):
    model = opened(tiny_duals.write_dual(tmp_path / "clip"))
    labels = ["red", "green", "a blue"]

    (scores,) = model.predict([rendition(MIXED)], labels)

    cosines = np.stack(model.embed(labels)) @ unit(2, 1, 0)
    assert scores.labels == ("red", "green", "a blue")
    np.testing.assert_allclose(scores.probabilities, softmax(50 * cosines), rtol=1e-4)
    assert scores.top(1)[0][0] == "red"


def test_labels_stand_alone_with_siglip(tmp_path, opened):
    model = opened(tiny_duals.write_dual(tmp_path / "siglip", siglip=True))

    (scores,) = model.predict([rendition(RED)], ["red", "blue"])

    # "<start> red <end>" and three pads, which count.
    red, blue = unit(1.1, 0.1, 0.13), unit(0.1, 0.1, 1.13)
    expected = 1 / (1 + np.exp(7 - 50 * np.asarray([red[0], blue[0]])))
    np.testing.assert_allclose(scores.probabilities, expected, rtol=1e-4)


def test_two_graphs_of_siglip_are_placed_like_one(tmp_path, opened):
    folders = [tiny_duals.write_dual(tmp_path / str(n), siglip=True, split=bool(n)) for n in range(2)]
    whole, split = (opened(folder) for folder in folders)

    for items in (["red", "a blue"], [rendition(MIXED), rendition(RED)]):
        np.testing.assert_allclose(split.embed(items), whole.embed(items), atol=1e-6)


def test_two_graphs_of_clip_have_its_usual_scale(tmp_path, opened):
    model = opened(tiny_duals.write_dual(tmp_path / "clip", split=True))

    (scores,) = model.predict([rendition(MIXED)], ["red", "green"])

    cosines = np.stack(model.embed(["red", "green"])) @ unit(2, 1, 0)
    np.testing.assert_allclose(scores.probabilities, softmax(100 * cosines), rtol=1e-4)


def test_two_graphs_of_siglip_do_not_tell_their_scale(tmp_path, opened):
    model = opened(tiny_duals.write_dual(tmp_path / "siglip", siglip=True, split=True))

    assert len(model.embed(["red"])) == 1
    with pytest.raises(ManifestError, match=r"zero_shot: nothing tells the scale and bias .* manifest\.json"):
        model.predict([rendition(RED)], ["red"])


def test_a_whole_graph_beside_two_tells_their_scale(tmp_path, opened):
    folder = tiny_duals.write_dual(tmp_path / "siglip", siglip=True, split=True)
    tiny_duals.save_whole(folder / "model.onnx", scale=50, bias=-7, masked=False)
    whole = opened(tiny_duals.write_dual(tmp_path / "whole", siglip=True))

    ours, theirs = (
        model.predict([rendition(MIXED)], ["red", "a blue"])[0] for model in (opened(folder), whole)
    )

    np.testing.assert_allclose(ours.probabilities, theirs.probabilities, rtol=1e-4)


def test_the_manifest_goes_before_the_graphs_scale(tmp_path, opened):
    zero_shot = {"scale": 2.5, "bias": -1, "activation": "sigmoid", "template": "a {}"}
    model = opened(tiny_duals.write_dual(tmp_path / "clip", zero_shot=zero_shot))

    (scores,) = model.predict([rendition(GREEN)], ["green"])

    cosine = unit(0.1, 1.1, 0.1)[1]
    np.testing.assert_allclose(scores.probabilities, [1 / (1 + np.exp(1 - 2.5 * cosine))], rtol=1e-5)
    assert model.template == "a {}"
    assert opened(tiny_duals.write_dual(tmp_path / "plain")).template == "{}"


def test_logits_that_are_no_scaled_cosines_are_refused(tmp_path, opened):
    folder = tiny_duals.write_dual(tmp_path / "clip")
    graph = onnx.load(folder / "model.onnx")
    # Squared: near enough to a line for nobody.
    graph.graph.node[-1].input[1] = "scaled"
    graph.graph.node[-1].op_type = "Mul"
    onnx.save(graph, folder / "model.onnx")

    with pytest.raises(ManifestError, match=r"do not tell its scale .* give zero_shot\.scale"):
        opened(folder).predict([rendition(RED)], ["red"])


@pytest.mark.parametrize("labels", [(), [], "red"])
def test_labels_must_be_given(clip, labels):
    with pytest.raises(UsageError, match="give a list, a vocabulary"):
        clip.predict([rendition(RED)], labels)


def test_a_large_vocabulary_keeps_its_order(clip):
    labels = [f"{'a ' * (n % 3)}{('red', 'green', 'blue')[n % 7 % 3]} {n}" for n in range(700)]

    (scores,) = clip.predict([rendition(GREEN)], labels)

    greens = {n for n in range(700) if n % 7 % 3 == 1}
    assert {labels.index(label) for label, _ in scores.top(len(greens))} == greens
    assert len(scores.labels) == 700


def test_a_rendition_says_the_same_alone_and_in_a_batch(clip):
    colours = np.random.default_rng(0).integers(1, 256, (13, 3))

    together = clip.predict([rendition(colour) for colour in colours], ["red", "green"])
    alone = [clip.predict([rendition(colour)], ["red", "green"])[0] for colour in colours]

    for first, second in zip(together, alone, strict=True):
        np.testing.assert_allclose(first.probabilities, second.probabilities, rtol=1e-5)


def test_tags_and_embedding_see_a_rendition_once(clip):
    one = rendition(RED)

    clip.embed([one, one])
    clip.predict([one], ["red"])

    assert clip.stats.items == 1


def test_eight_threads_get_their_own(clip):
    def ask(turn):
        colour = (1 + turn, 50, 1)
        (vector,) = clip.embed([rendition(colour)])
        np.testing.assert_allclose(vector, unit(*colour), atol=1e-5)
        word = ("red", "green", "blue", "grey")[turn % 4]
        expected = np.asarray(tiny_duals.VECTORS[word]) + 0.1
        np.testing.assert_allclose(clip.embed([word])[0], unit(*expected), atol=1e-6)
        return True

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(120)))


def test_a_black_picture_has_no_place(clip):
    with pytest.raises(InferenceError, match="not finite, or of length 0"):
        clip.embed([rendition((0, 0, 0))])


def test_a_graph_of_one_length_and_one_batch(tmp_path, opened):
    folder = tiny_duals.write_dual(tmp_path / "clip")
    graph = onnx.load(folder / "model.onnx")
    for port in graph.graph.input:
        port.type.tensor_type.shape.dim[0].dim_value = 1
        if port.name != "pixel_values":
            port.type.tensor_type.shape.dim[1].dim_value = 5
    onnx.save(graph, folder / "model.onnx")
    model = opened(folder)

    first, _, third = model.embed(["red", "green", "red red red green"])

    np.testing.assert_allclose(first, unit(1.1, 0.1, 0.1), atol=1e-6)
    np.testing.assert_allclose(third, unit(3.1, 0.1, 0.1), atol=1e-6)
    assert model.predict([rendition(RED)] * 3, ["red"])[2].probabilities == pytest.approx([1])


def test_closed_it_refuses(tmp_path):
    model = DualEncoder.open(read_model(tiny_duals.write_dual(tmp_path / "clip")))
    model.close()

    with pytest.raises(InferenceError, match="closed"):
        model.embed([rendition(RED)])


def without_tokenizer(folder):
    (folder / "tokenizer.json").unlink()


def broken_tokenizer(folder):
    (folder / "tokenizer.json").write_text("{")


def endless_tokenizer(folder):
    tiny_duals.save_tokenizer(folder, ended=False)


def without_projection(folder):
    (folder / "model.onnx").unlink()
    tiny_duals.save_split(folder, outputs=("pooler_output", "pooler_output"))


def without_embeddings(folder):
    graph = onnx.load(folder / "model.onnx")
    del graph.graph.output[1:]
    onnx.save(graph, folder / "model.onnx")


def with_token_types(folder):
    graph = onnx.load(folder / "model.onnx")
    graph.graph.input.append(helper.make_tensor_value_info("token_type_ids", TensorProto.INT64, ["n", "s"]))
    onnx.save(graph, folder / "model.onnx")


def of_two_models(folder):
    (folder / "model.onnx").unlink()
    tiny_duals.save_split(folder)
    nodes = [helper.make_node("ReduceMean", ["pixel_values"], ["image_embeds"], axes=[1, 2, 3])]
    nodes[0].attribute.append(helper.make_attribute("keepdims", 0))
    nodes.append(helper.make_node("Unsqueeze", ["image_embeds", "last"], ["column"]))
    nodes[0].output[0] = nodes[1].input[0] = "means"
    nodes[1].output[0] = "image_embeds"
    outputs = [("image_embeds", TensorProto.FLOAT, ["n", 1])]
    tiny_graphs.save(
        folder / "vision_model.onnx", nodes, [tiny_duals.PIXELS], outputs, {"last": np.asarray([-1])}
    )


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (without_tokenizer, r"there is no tokenizer\.json"),
        (broken_tokenizer, r"tokenizer\.json: cannot be read"),
        (endless_tokenizer, r"tokenizer\.json adds no end"),
        (without_projection, r"vision_model\.onnx gives pooler_output .* projection"),
        (without_embeddings, "the graph gives logits_per_image, .*zero-shot-image-classification"),
        (with_token_types, "wants token_type_ids, which CLIP and SigLIP do not have"),
        (of_two_models, "pictures have 1 dimensions and texts 3"),
    ],
)
def test_what_is_broken_is_said_in_one_line(tmp_path, spoil, message):
    folder = tiny_duals.write_dual(tmp_path / "clip")
    spoil(folder)

    with pytest.raises(ManifestError, match=message) as caught:
        DualEncoder.open(read_model(folder))
    assert "\n" not in str(caught.value)


def test_a_size_that_the_graph_does_not_take(tmp_path):
    folder = tiny_duals.write_dual(tmp_path / "clip")
    graph = onnx.load(folder / "model.onnx")
    graph.graph.input[1].type.tensor_type.shape.dim[2].dim_value = 9
    onnx.save(graph, folder / "model.onnx")

    with pytest.raises(ManifestError, match=r"gives 3 x 8 x 8 per picture, .*pixel_values takes 3 x 9 x any"):
        DualEncoder.open(read_model(folder))


def test_without_tokenizers_the_extra_is_named(tmp_path, monkeypatch):
    folder = tiny_duals.write_dual(tmp_path / "clip")
    # As if it were not installed.
    monkeypatch.setitem(__import__("sys").modules, "tokenizers", None)

    with pytest.raises(ExtraMissing, match="pip install"):
        DualEncoder.open(read_model(folder))


def test_the_pad_is_where_transformers_keeps_it(tmp_path, opened):
    folder = tiny_duals.write_dual(tmp_path / "siglip", siglip=True)
    (folder / "tokenizer_config.json").unlink()
    (folder / "special_tokens_map.json").write_text(json.dumps({"pad_token": "blue"}))

    (padded,) = opened(folder).embed(["red"])

    # Three times blue.
    np.testing.assert_allclose(padded, unit(1.1, 0.1, 3.1), atol=1e-6)
