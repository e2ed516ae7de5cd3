import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import pytest
import tiny_graphs
from onnx import TensorProto, helper

from enrich.errors import ConfigError, EnrichError, InferenceError, ManifestError, ModelMissing
from enrich.inference import Classifier, Models, ModelStore
from enrich.inference.stored import read_model
from enrich.types import Rendition

RED, GREEN = (200, 10, 20), (5, 250, 30)


def rendition(colour, height=12, width=20):
    pixels = np.full((height, width, 3), colour, np.uint8)
    return Rendition(None, None, 0, pixels, width, height, width, height)


@pytest.fixture
def opened():
    """Open classifiers that are closed in the end."""
    made = []

    def open_classifier(folder):
        made.append(Classifier.open(read_model(folder)))
        return made[-1]

    yield open_classifier
    for classifier in made:
        classifier.close()


def test_scores_are_aligned_with_labels_and_renditions(tmp_path, opened):
    classifier = opened(tiny_graphs.write_model(tmp_path / "colours", revision="7"))

    red, green = classifier.predict([rendition(RED), rendition(GREEN)])

    assert red.labels == ("red", "green", "blue")
    assert red.probabilities.dtype == np.float32
    assert red.probabilities.tolist() == [200, 10, 20]
    assert green.top(2) == [("green", 250.0), ("blue", 30.0)]
    assert len(green.top(9)) == 3
    assert (classifier.name, classifier.revision) == ("colours", "7")
    assert classifier.provider == "CPUExecutionProvider"
    assert classifier.hooks == ("enrich_tag", "enrich_age")


def test_equal_scores_keep_the_models_order(tmp_path, opened):
    (scores,) = opened(tiny_graphs.write_model(tmp_path / "m")).predict([rendition((7, 7, 7))])

    assert [label for label, _ in scores.top(3)] == ["red", "green", "blue"]


def test_no_renditions_no_scores(tmp_path, opened):
    assert opened(tiny_graphs.write_model(tmp_path / "m")).predict([]) == []


def test_softmax_is_the_default(tmp_path, opened):
    folder = tiny_graphs.write_model(tmp_path / "m", output={}, input={"resize": {"height": 8, "width": 8}})
    (scores,) = opened(folder).predict([rendition((255, 51, 0))])

    powers = np.exp([1.0, 0.2, 0.0])
    np.testing.assert_allclose(scores.probabilities, powers / powers.sum(), rtol=1e-5)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_large_scores_do_not_overflow(tmp_path, opened, activation):
    # The scores are -10,000, 0 and 15,500.
    model_input = {"resize": {"height": 8, "width": 8}, "scale": 100, "mean": [10_000] * 3}
    folder = tiny_graphs.write_model(tmp_path / "m", output={"activation": activation}, input=model_input)
    (scores,) = opened(folder).predict([rendition((0, 100, 255))])

    expected = [0, 0, 1] if activation == "softmax" else [0, 0.5, 1]
    np.testing.assert_allclose(scores.probabilities, expected, atol=1e-6)


def test_nhwc_and_half_precision(tmp_path, opened):
    plain = tiny_graphs.write_model(tmp_path / "plain")
    other = tiny_graphs.write_model(
        tmp_path / "other", input={"resize": {"height": 8, "width": 8}, "scale": 1, "layout": "NHWC"}
    )
    tiny_graphs.save_colour_means(other / "model.onnx", nhwc=True, dtype=TensorProto.FLOAT16)

    (expected,), (scores,) = (opened(folder).predict([rendition(RED)]) for folder in (plain, other))
    np.testing.assert_allclose(scores.probabilities, expected.probabilities, rtol=1e-3)


def test_a_fixed_batch_of_one_takes_any_number(tmp_path, opened):
    folder = tiny_graphs.write_model(tmp_path / "m")
    tiny_graphs.save_colour_means(folder / "model.onnx", batch=1)
    classifier = opened(folder)

    rows = classifier.predict([rendition((n, 0, 0)) for n in range(5)])

    assert [row.probabilities[0] for row in rows] == [0, 1, 2, 3, 4]
    assert classifier.stats.runs == {1: 5}


def test_a_rendition_says_the_same_alone_and_in_a_batch(tmp_path, opened):
    classifier = opened(tiny_graphs.write_model(tmp_path / "m"))
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 256, (13, 3))

    together = classifier.predict([rendition(colour) for colour in colours])
    alone = [classifier.predict([rendition(colour)])[0] for colour in colours]

    for first, second in zip(together, alone, strict=True):
        np.testing.assert_allclose(first.probabilities, second.probabilities, rtol=1e-6)


def test_eight_threads_get_exactly_their_rows(tmp_path, opened):
    classifier = opened(tiny_graphs.write_model(tmp_path / "m"))
    start = threading.Barrier(8)

    def ask(thread):
        start.wait()
        for turn in range(30):
            colours = [(thread, turn, index) for index in range(1 + turn % 7)]
            rows = classifier.predict([rendition(colour) for colour in colours])
            assert [tuple(row.probabilities.round().astype(int)) for row in rows] == colours
        return True

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(8)))
    assert classifier.stats.items == 8 * sum(1 + turn % 7 for turn in range(30))


def test_scores_that_are_not_finite_are_an_error(tmp_path, opened):
    folder = tiny_graphs.write_model(tmp_path / "m")
    nodes = [
        helper.make_node("ReduceMean", ["pixels"], ["means"], axes=[2, 3], keepdims=0),
        helper.make_node("Log", ["means"], ["scores"]),  # of zero
    ]
    ports = [("pixels", TensorProto.FLOAT, ["n", 3, 8, 8])], [("scores", TensorProto.FLOAT, ["n", 3])]
    tiny_graphs.save(folder / "model.onnx", nodes, *ports)

    with pytest.raises(InferenceError, match="not finite"):
        opened(folder).predict([rendition((0, 1, 1))])


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        ({"input": {"resize": {"height": 8, "width": 9}}}, "gives 3 x 8 x 9 .* pixels takes 3 x 8 x 8"),
        ({"input": {"resize": {"height": 8, "width": 8}, "layout": "NHWC"}}, "layout"),
        ({"input": {"resize": {"height": 8, "width": 8}, "name": "image"}}, "input.name: there is no image"),
        ({"output": {"name": "logits"}}, "output.name: there is no logits; the graph has scores"),
        ({"labels": ["red"]}, "labels: there are 1, .* scores has 3 scores"),
    ],
)
def test_a_manifest_that_does_not_fit_the_graph(tmp_path, manifest, message):
    folder = tiny_graphs.write_model(tmp_path / "m", **manifest)

    with pytest.raises(ManifestError, match=message):
        Classifier.open(read_model(folder))


def test_of_several_outputs_the_logits_are_taken(tmp_path, opened):
    folder = tiny_graphs.write_model(tmp_path / "m")
    graph = onnx.load(folder / "model.onnx")
    graph.graph.node.append(helper.make_node("Identity", ["scores"], ["logits"]))
    graph.graph.output.append(helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 3]))
    onnx.save(graph, folder / "model.onnx")

    assert opened(folder).predict([rendition(RED)])[0].top(1) == [("red", 200.0)]
    graph.graph.output[1].name = graph.graph.node[1].output[0] = "other"
    onnx.save(graph, folder / "model.onnx")
    with pytest.raises(ManifestError, match=r"output\.name: missing; the graph has scores, other"):
        opened(folder)


def test_pictures_outside_the_domain_are_refused(tmp_path, opened):
    folder = tiny_graphs.write_model(tmp_path / "m", domain={"flat_share_min": 0.5})
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    photograph = Rendition(None, None, 0, noise, 64, 64, 64, 64)

    assert opened(folder).refusals([rendition(RED, 64, 64), photograph]) == [None, "outside_domain"]


def test_without_a_domain_nothing_is_refused(tmp_path, opened):
    assert opened(tiny_graphs.write_model(tmp_path / "m")).refusals([rendition(RED)] * 2) == [None, None]


def test_memory_does_not_grow_with_batch_sizes(tmp_path, opened):
    psutil = pytest.importorskip("psutil", reason="reads this process's memory")
    folder = tiny_graphs.write_model(tmp_path / "m", input={"resize": {"height": 256, "width": 256}})
    tiny_graphs.save_colour_means(folder / "model.onnx", side=256)
    classifier = opened(folder)
    counts = np.random.default_rng(0).integers(1, 40, 60)

    def megabytes_after(some):
        for count in some:
            classifier.predict([rendition(RED)] * count)
        return psutil.Process().memory_info().rss / 2**20

    before = megabytes_after([31, *counts[:20]])

    # One batch of 31 fills every bucket; the same again needs nothing new.
    assert megabytes_after(counts[20:]) - before < 40
    assert set(classifier.stats.runs) == {1, 2, 4, 8, 16}


@pytest.fixture
def models(tmp_path):
    tiny_graphs.write_model(tmp_path / "colours")
    tiny_graphs.write_model(tmp_path / "wrong", labels=["one"])
    models = Models(ModelStore(tmp_path), threads=1)
    yield models
    models.close()


def test_a_model_is_loaded_once_for_all_threads(models):
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(models.open, ["colours"] * 8))) == 1


def test_a_model_that_cannot_be_loaded_says_the_same_each_time(models):
    errors = []
    for _ in range(2):
        with pytest.raises(ManifestError) as caught:
            models.open("wrong")
        errors.append(caught.value)
    assert errors[0] is errors[1]
    with pytest.raises(ModelMissing):
        models.open("absent")
    assert models.open("colours").name == "colours"


def test_closed_models_refuse_work(models):
    classifier = models.open("colours")
    models.close()

    with pytest.raises(EnrichError, match="closed"):
        classifier.predict([rendition(RED)])
    with pytest.raises(EnrichError, match="closed"):
        models.open("colours")


def test_an_unknown_device_is_refused_at_once(tmp_path):
    with pytest.raises(ConfigError, match="device"):
        Models(ModelStore(tmp_path), "tpu")
