import numpy as np
import pytest
import tiny_graphs
from onnx import TensorProto, helper

from enrich.errors import InferenceError, ManifestError
from enrich.inference.devices import Device
from enrich.inference.session import Session

CPU = Device("cpu")


def test_ports_and_buckets_of_a_symbolic_batch(tmp_path):
    session = Session(tiny_graphs.save_colour_means(tmp_path / "model.onnx"), CPU)

    (port,) = session.inputs
    assert (port.name, port.shape, port.dtype) == ("pixels", (None, 3, 8, 8), np.float32)
    assert session.outputs[0].shape == (None, 3)
    assert session.buckets == (1, 2, 4, 8, 16)
    assert session.provider == "CPUExecutionProvider"


def test_a_fixed_batch_of_one_has_one_bucket(tmp_path):
    assert Session(tiny_graphs.save_colour_means(tmp_path / "model.onnx", batch=1), CPU).buckets == (1,)


def test_another_fixed_batch_is_refused(tmp_path):
    with pytest.raises(ManifestError, match="batch is fixed"):
        Session(tiny_graphs.save_colour_means(tmp_path / "model.onnx", batch=4), CPU)


def test_inputs_are_cast_to_what_the_graph_declares(tmp_path):
    graph = tiny_graphs.save_colour_means(tmp_path / "model.onnx", dtype=TensorProto.FLOAT16)

    (rows,) = Session(graph, CPU).run({"pixels": np.full((2, 3, 8, 8), 0.5, np.float32)}, ["scores"])

    assert rows.dtype == np.float16
    assert (rows == 0.5).all()


def test_only_declared_inputs_are_fed(tmp_path):
    session = Session(tiny_graphs.save_refusing(tmp_path / "model.onnx"), CPU)

    (rows,) = session.run({"x": np.array([[3.0]]), "attention_mask": np.ones((1, 1))}, ["y"])

    assert rows.tolist() == [[3.0]]


def test_a_missing_input_is_named(tmp_path):
    session = Session(tiny_graphs.save_refusing(tmp_path / "model.onnx"), CPU)

    with pytest.raises(InferenceError, match="no value for the input x"):
        session.run({"z": np.zeros((1, 1))}, ["y"])


def test_a_refused_run_is_one_line_and_prints_nothing(tmp_path, capfd):
    session = Session(tiny_graphs.save_refusing(tmp_path / "model.onnx"), CPU)

    with pytest.raises(
        InferenceError, match=r"^model\.onnx: ONNX Runtime refused a run: [^\n]*Gather[^\n]*$"
    ):
        session.run({"x": np.array([[99.0]])}, ["y"])
    assert capfd.readouterr() == ("", "")
    assert session.run({"x": np.array([[7.0]])}, ["y"])[0].tolist() == [[7.0]]


@pytest.mark.parametrize("content", [b"", b"not a graph", b"\x08\x09" * 40])
def test_a_broken_graph_names_its_file(tmp_path, content, capfd):
    path = tmp_path / "broken.onnx"
    path.write_bytes(content)

    with pytest.raises(ManifestError, match=r"broken\.onnx"):
        Session(path, CPU)
    assert capfd.readouterr() == ("", "")


def test_an_input_of_an_unknown_type_is_refused(tmp_path):
    nodes = [helper.make_node("Identity", ["words"], ["same"])]
    port = ("words", TensorProto.STRING, ["n"]), ("same", TensorProto.STRING, ["n"])
    graph = tiny_graphs.save(tmp_path / "model.onnx", nodes, [port[0]], [port[1]])

    with pytest.raises(ManifestError, match=r"words is a tensor\(string\)"):
        Session(graph, CPU)


def test_outputs_may_stay_where_they_are_and_be_fed_again(tmp_path):
    session = Session(tiny_graphs.save_refusing(tmp_path / "model.onnx"), CPU)

    first = session.run_bound({"x": np.array([[3.0], [1.0]])}, [], ["y"])
    assert first.kept["y"].numpy().tolist() == [[3.0], [1.0]]
    second = session.run_bound({"x": first.kept["y"]}, ["y"], [])
    assert second.arrays[0].tolist() == [[3.0], [1.0]]
    assert second.kept == {}


def test_a_bound_run_is_refused_as_any_other(tmp_path):
    session = Session(tiny_graphs.save_refusing(tmp_path / "model.onnx"), CPU)

    with pytest.raises(
        InferenceError, match=r"^model\.onnx: ONNX Runtime refused a run: [^\n]*Gather[^\n]*$"
    ):
        session.run_bound({"x": np.array([[-9.0]])}, ["y"], [])
    with pytest.raises(InferenceError, match="no value for the input x"):
        session.run_bound({}, ["y"], [])


def test_memory_is_kept_for_the_next_run_or_not(tmp_path):
    graph = tiny_graphs.save_refusing(tmp_path / "model.onnx")

    for keeps_memory in (True, False):
        (rows,) = Session(graph, CPU, keeps_memory=keeps_memory).run({"x": np.array([[3.0]])}, ["y"])
        assert rows.tolist() == [[3.0]]
