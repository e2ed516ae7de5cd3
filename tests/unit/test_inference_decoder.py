import numpy as np
import onnx
import pytest
import tiny_decoder
import tiny_graphs
from onnx import TensorProto
from tiny_decoder import logits_after, state

from enrich.errors import InferenceError, ManifestError
from enrich.inference import decoder, session
from enrich.inference.decoder import Decoder
from enrich.inference.devices import Device

CPU = Device("cpu")


def merged(folder, **options):
    return Decoder.open({"decoder": tiny_decoder.save_merged(folder / "decoder.onnx", **options)}, CPU)


def pair(folder):
    tiny_decoder.save_pair(folder / "decoder_model.onnx", folder / "decoder_with_past_model.onnx")
    graphs = {"decoder": "decoder_model.onnx", "decoder_with_past": "decoder_with_past_model.onnx"}
    return Decoder.open({part: folder / name for part, name in graphs.items()}, CPU)


def states(*values):
    return np.stack([state(value) for value in values])


@pytest.mark.parametrize("make", [merged, pair])
def test_every_form_reads_on_where_it_stopped(tmp_path, make):
    decoder = make(tmp_path)

    logits, cache = decoder.prefill(np.array([[1, 2, 3], [4, 5, 6]]), states(10, 20))
    assert (logits == [logits_after([1, 2, 3], 10), logits_after([4, 5, 6], 20)]).all()
    assert (cache.length, cache.rows) == (3, 2)

    logits, after = decoder.step([7, 8], cache)
    assert (logits == [logits_after([1, 2, 3, 7], 10), logits_after([4, 5, 6, 8], 20)]).all()
    logits, _ = decoder.step([9, 9], after)
    assert (logits == [logits_after([1, 2, 3, 7, 9], 10), logits_after([4, 5, 6, 8, 9], 20)]).all()
    # The old cache is as it was: a step that failed can be tried again.
    logits, _ = decoder.step([0, 0], cache)
    assert (logits == [logits_after([1, 2, 3, 0], 10), logits_after([4, 5, 6, 0], 20)]).all()


def test_a_merged_graph_is_told_whether_there_is_a_past(tmp_path):
    decoder = merged(tmp_path, has_branch=True)

    logits, cache = decoder.prefill(np.array([[1]]), states(10))
    assert (logits == logits_after([1], 10)).all()
    logits, _ = decoder.step([2], cache)
    assert (logits == logits_after([1, 2], 10 + 13)).all()


@pytest.mark.parametrize("make", [merged, pair])
def test_rows_are_taken_and_joined(tmp_path, make):
    decoder = make(tmp_path)
    _, cache = decoder.prefill(np.array([[1], [2], [3]]), states(10, 20, 30))
    _, other = decoder.prefill(np.array([[4]]), states(40))

    logits, _ = decoder.step([5, 5, 5], decoder.take(cache, [2, 0, 0]))
    assert (logits == [logits_after([3, 5], 30), *[logits_after([1, 5], 10)] * 2]).all()
    logits, _ = decoder.step([6, 6, 6, 6], decoder.join([other, cache]))
    asked = [(4, 40), (1, 10), (2, 20), (3, 30)]
    assert (logits == [logits_after([token, 6], value) for token, value in asked]).all()


def test_nothing_is_copied_where_all_rows_stay(tmp_path):
    decoder = merged(tmp_path)
    _, cache = decoder.prefill(np.array([[1], [2]]), states(10, 20))

    assert decoder.take(cache, [0, 1]) is cache
    assert decoder.take(cache, [1, 0]) is not cache


def test_the_cache_stays_with_the_runtime(tmp_path):
    decoder = merged(tmp_path)
    _, cache = decoder.prefill(np.array([[1]]), states(10))

    assert set(cache.values) == {
        "encoder_hidden_states",
        "past_key_values.0.key",
        "past_key_values.0.value",
    }
    assert {type(value).__name__ for value in cache.values.values()} == {"OrtValue"}


def test_a_refused_run_is_an_inference_error(tmp_path):
    with pytest.raises(
        InferenceError, match=r"^decoder\.onnx: ONNX Runtime refused a run: [^\n]*Gather[^\n]*$"
    ):
        merged(tmp_path).prefill(np.array([[1]]), states(-500))


def test_another_graph_is_no_decoder(tmp_path):
    graph = tiny_graphs.save_colour_means(tmp_path / "decoder.onnx")

    with pytest.raises(ManifestError, match=r"decoder\.onnx: is no decoder with a cache .* it takes pixels$"):
        Decoder.open({"decoder": graph}, CPU)


def test_a_decoder_without_a_past_is_refused(tmp_path):
    tiny_decoder.save_pair(tmp_path / "decoder_model.onnx", tmp_path / "unused.onnx")

    with pytest.raises(ManifestError, match="image-to-text-with-past"):
        Decoder.open({"decoder": tmp_path / "decoder_model.onnx"}, CPU)


def test_a_decoder_of_one_batch_is_refused(tmp_path):
    graph = onnx.load(tiny_decoder.save_merged(tmp_path / "decoder.onnx"))
    for port in graph.graph.input:
        port.type.tensor_type.shape.dim[0].dim_value = 1
    onnx.save(graph, tmp_path / "decoder.onnx")

    with pytest.raises(ManifestError, match=r"decoder\.onnx: its batch is fixed; export it with a symbolic"):
        Decoder.open({"decoder": tmp_path / "decoder.onnx"}, CPU)


@pytest.mark.parametrize(
    ("wanted", "weights_bytes", "used"), [(None, 10, 1), (None, 17_000_000, None), (3, 10, 3)]
)
def test_a_small_decoder_leaves_the_other_cores_alone(tmp_path, monkeypatch, wanted, weights_bytes, used):
    graph = onnx.load(tiny_decoder.save_merged(tmp_path / "decoder.onnx"))
    weights = TensorProto(
        name="unused", data_type=TensorProto.FLOAT, dims=[1], data_location=TensorProto.EXTERNAL
    )
    for key, value in {"location": "decoder.onnx_data", "offset": "0", "length": "4"}.items():
        weights.external_data.add(key=key, value=value)
    graph.graph.initializer.append(weights)
    onnx.save(graph, tmp_path / "decoder.onnx")
    (tmp_path / "decoder.onnx_data").write_bytes(bytes(weights_bytes))
    opened = []

    def open_session(path, device, *, threads, keeps_memory):
        opened.append(threads)
        return session.open_session(path, device, threads=threads, keeps_memory=keeps_memory)

    monkeypatch.setattr(decoder, "open_session", open_session)
    Decoder.open({"decoder": tmp_path / "decoder.onnx"}, CPU, threads=wanted)

    assert opened == [used]
