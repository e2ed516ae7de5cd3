import onnx
import pytest
import tiny_graphs
from onnx import TensorProto, helper

from enrich.errors import ManifestError
from enrich.inference import ModelStore
from enrich.inference.external_data import external_files


def beside(name, location):
    """A tensor whose three numbers lie in a file."""
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[3])
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, "offset": "0", "length": "12"}.items():
        tensor.external_data.add(key=key, value=value)
    return tensor


def shifting(path, location):
    """The colour means, and three numbers of a file added to them."""
    tiny_graphs.save_colour_means(path)
    model = onnx.load(path)
    model.graph.node[0].output[0] = "means"
    model.graph.node.append(helper.make_node("Add", ["means", "shift"], ["scores"]))
    model.graph.initializer.append(beside("shift", location))
    onnx.save(model, path)
    return path


def test_the_files_of_a_graph_are_found(tmp_path):
    (tmp_path / "model.onnx_data").write_bytes(bytes(12))

    assert external_files(shifting(tmp_path / "model.onnx", "model.onnx_data")) == (
        tmp_path / "model.onnx_data",
    )
    assert external_files(tiny_graphs.save_colour_means(tmp_path / "alone.onnx")) == ()


@pytest.mark.parametrize(
    "location", ["../secret.bin", "sub/../../secret.bin", "{tmp}/secret.bin", "link.bin"]
)
def test_weights_outside_the_folder_are_refused_before_a_session_is_made(tmp_path, location):
    (tmp_path / "secret.bin").write_bytes(bytes(12))
    folder = tiny_graphs.write_model(tmp_path / "models" / "spy")
    (folder.parent.parent / "models" / "secret.bin").write_bytes(bytes(12))
    (folder / "sub").mkdir()
    (folder / "link.bin").symlink_to(tmp_path / "secret.bin")
    shifting(folder / "model.onnx", location.format(tmp=tmp_path))

    with pytest.raises(ManifestError, match="which leads out of its folder; that is refused"):
        ModelStore(tmp_path / "models").get("spy")


def test_a_missing_file_of_weights_is_named(tmp_path):
    folder = tiny_graphs.write_model(tmp_path / "spy")
    shifting(folder / "model.onnx", "model.onnx_data")

    with pytest.raises(ManifestError, match=r"weights lie in model\.onnx_data, and that file is not there"):
        ModelStore(tmp_path).get("spy")


def everywhere():
    """Graphs that hide a tensor in each place that may have one."""
    tensor = beside("hidden", "../out.bin")
    inner = helper.make_graph([], "inner", [], [], [tensor])
    constant = helper.make_node("Constant", [], ["c"], value=tensor)
    sparse = onnx.SparseTensorProto(values=tensor, indices=TensorProto(), dims=[3])
    function = helper.make_function("d", "f", [], ["c"], [constant], [helper.make_opsetid("", 17)])
    branch = helper.make_node("If", ["x"], ["y"], then_branch=inner, else_branch=inner)
    lists = helper.make_node("Odd", [], ["y"], domain="d", tensors=[tensor], graphs=[inner], sparse=sparse)
    yield "initializer", inner, []
    yield "constant", helper.make_graph([constant], "g", [], []), []
    yield "branch", helper.make_graph([branch], "g", [], []), []
    yield "lists", helper.make_graph([lists], "g", [], []), []
    yield "sparse", helper.make_graph([], "g", [], [], sparse_initializer=[sparse]), []
    yield "function", helper.make_graph([], "g", [], []), [function]


@pytest.mark.parametrize(
    ("graph", "functions"), [case[1:] for case in everywhere()], ids=[c[0] for c in everywhere()]
)
def test_no_place_of_a_file_hides_a_tensor(tmp_path, graph, functions):
    (tmp_path / "model.onnx").write_bytes(helper.make_model(graph, functions=functions).SerializeToString())

    with pytest.raises(ManifestError, match="leads out"):
        external_files(tmp_path / "model.onnx")


def test_a_tensor_of_training_is_seen_too(tmp_path):
    model = helper.make_model(helper.make_graph([], "g", [], []))
    model.training_info.add().algorithm.CopyFrom(
        helper.make_graph([], "t", [], [], [beside("t", "../out.bin")])
    )
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())

    with pytest.raises(ManifestError, match="leads out"):
        external_files(tmp_path / "model.onnx")


@pytest.mark.parametrize("cut", [1, 7, 40])
def test_what_cannot_be_read_to_its_end_is_refused(tmp_path, cut):
    whole = tiny_graphs.save_colour_means(tmp_path / "model.onnx").read_bytes()
    (tmp_path / "model.onnx").write_bytes(whole[:-cut])

    with pytest.raises(ManifestError, match="it is damaged, or no ONNX file at all"):
        external_files(tmp_path / "model.onnx")


def test_a_group_that_could_hide_the_rest_is_refused(tmp_path):
    path = shifting(tmp_path / "model.onnx", "../out.bin")
    path.write_bytes(bytes([99 << 3 & 0xFF | 3]) + path.read_bytes())

    with pytest.raises(ManifestError, match="damaged"):
        external_files(path)
