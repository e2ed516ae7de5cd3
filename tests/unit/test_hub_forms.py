import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from enrich.errors import ConversionRefused
from enrich.hub.forms import write_float16, write_rounded, write_static
from enrich.hub.weights import BLOCK, pack, round_weights

IR_VERSION, OPSET = 9, 17


def model_of(nodes, constants, columns, *, rows=64):
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", rows])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", columns])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)


def said(model, x):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


def unpacked(matrix, bits):
    """What a matrix is after it was rounded, by the operator's definition."""
    levels, scales = pack(matrix, bits)
    if bits == 4:
        levels = np.stack([levels & 15, levels >> 4], -1).reshape(*levels.shape[:2], -1)
    columns = (levels.astype(np.float32) - 2 ** (bits - 1)) * scales[..., None]
    return columns.reshape(matrix.shape[1], -1)[:, : matrix.shape[0]].T


@pytest.fixture
def numbers():
    return np.random.default_rng(6)


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("rows", [BLOCK, 64, 70])
def test_a_rounded_matrix_is_nowhere_farther_off_than_a_step(numbers, rows, bits):
    matrix = numbers.normal(size=(rows, 9)).astype(np.float32)
    matrix[:, 3] = 0
    found = unpacked(matrix, bits)
    step = np.abs(matrix).max(0) / 2 ** (bits - 1)
    # At the end that has one step less, it is up to a whole one.
    assert (np.abs(found - matrix) <= step * 1.001).all()
    assert np.abs(found - matrix).mean() <= step.mean() / 3
    assert not found[:, 3].any()


@pytest.mark.parametrize("bits", [4, 8])
def test_the_weight_farthest_from_zero_is_met_exactly(bits):
    matrix = np.linspace(-0.3, 0.9, BLOCK, dtype=np.float32)[:, None]
    assert unpacked(matrix, bits)[-1] == matrix[-1]


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("form", ["matmul", "gemm", "gemm turned", "turned before"])
def test_the_runtime_multiplies_with_the_rounded_weights(numbers, form, bits):
    matrix = numbers.normal(size=(64, 33)).astype(np.float32)
    bias = numbers.normal(size=33).astype(np.float32) if form.startswith("gemm") else np.float32(0)
    x = numbers.normal(size=(5, 64)).astype(np.float32)
    is_turned = "turned" in form
    constants = {"w": np.ascontiguousarray(matrix.T) if is_turned else matrix}
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    if form.startswith("gemm"):
        constants["b"] = bias
        nodes = [helper.make_node("Gemm", ["x", "w", "b"], ["y"], transB=int(is_turned))]
    elif is_turned:
        nodes = [
            helper.make_node("Transpose", ["w"], ["t"], perm=[1, 0]),
            helper.make_node("MatMul", ["x", "t"], ["y"]),
        ]
    model = model_of(nodes, constants, 33)

    assert round_weights(model, bits) == 1
    np.testing.assert_allclose(said(model, x), x @ unpacked(matrix, bits) + bias, rtol=1e-4, atol=1e-4)
    assert "w" not in {one.name for one in model.graph.initializer}
    assert not any(node.op_type == "Transpose" for node in model.graph.node)


def test_what_is_no_product_with_a_long_constant_matrix_is_left_alone(numbers):
    short = numbers.normal(size=(BLOCK - 1, 8)).astype(np.float32)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    model = model_of(nodes, {"w": short}, 8, rows=BLOCK - 1)
    before = model.SerializeToString()
    assert round_weights(model, 4) == 0
    assert model.SerializeToString() == before


def branched(numbers, *, shared):
    """y = x @ a where the sum of x is positive, else x @ b; both branches call the product alike."""
    matrices = [numbers.normal(size=(64, 64)).astype(np.float32) for _ in range(2)]
    branches = []
    for index, matrix in enumerate(matrices):
        name = f"w{index}" if shared else "w"
        branches.append(
            helper.make_graph(
                [
                    helper.make_node("MatMul", ["x", name], ["product"]),
                    helper.make_node("Identity", ["product"], ["y"]),
                ],
                f"branch{index}",
                [],
                [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
                [] if shared else [numpy_helper.from_array(matrix, name)],
            )
        )
    nodes = [
        helper.make_node("ReduceSum", ["x"], ["sum"], keepdims=0),
        helper.make_node("Greater", ["sum", "zero"], ["is_positive"]),
        helper.make_node("If", ["is_positive"], ["y"], then_branch=branches[0], else_branch=branches[1]),
    ]
    constants = {"zero": np.zeros((), np.float32)}
    if shared:
        constants |= {"w0": matrices[0], "w1": matrices[1]}
    return model_of(nodes, constants, 64), matrices


@pytest.mark.parametrize("shared", [True, False])
def test_each_branch_of_a_condition_keeps_its_own_weights(numbers, shared):
    model, matrices = branched(numbers, shared=shared)
    x = np.abs(numbers.normal(size=(2, 64))).astype(np.float32)

    assert round_weights(model, 8) == 2
    for sign, matrix in zip((1, -1), matrices, strict=True):
        expected = sign * x @ unpacked(matrix, 8)
        np.testing.assert_allclose(said(model, sign * x), expected, rtol=1e-4, atol=1e-3)


def test_float16_keeps_branches_apart_and_ports_as_they_were(numbers, tmp_path):
    model, matrices = branched(numbers, shared=False)
    onnx.save(model, tmp_path / "model.onnx")
    # Weights of the branch itself are none of the outermost graph's.
    model.graph.initializer.append(numpy_helper.from_array(np.ones((4, 4), np.float32), "other"))
    assert write_float16(tmp_path / "model.onnx", tmp_path / "half.onnx")

    half = onnx.load(tmp_path / "half.onnx")
    types = {port.type.tensor_type.elem_type for port in (*half.graph.input, *half.graph.output)}
    assert types == {TensorProto.FLOAT}
    x = np.abs(numbers.normal(size=(2, 64))).astype(np.float32)
    for sign, matrix in zip((1, -1), matrices, strict=True):
        np.testing.assert_allclose(said(half, sign * x), sign * x @ matrix, rtol=2e-2, atol=5e-2)


def test_a_decoders_cache_becomes_float16(numbers, tmp_path):
    matrix = numbers.normal(size=(64, 64)).astype(np.float32)
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["y"]),
        helper.make_node("Add", ["y", "past_key_values.0.key"], ["present.0.key"]),
    ]
    model = model_of(nodes, {"w": matrix}, 64)
    for ports, name in (
        (model.graph.input, "past_key_values.0.key"),
        (model.graph.output, "present.0.key"),
    ):
        ports.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 64]))
    onnx.save(model, tmp_path / "model.onnx")
    assert write_float16(tmp_path / "model.onnx", tmp_path / "half.onnx")

    session = onnxruntime.InferenceSession(tmp_path / "half.onnx", providers=["CPUExecutionProvider"])
    types = {port.name: port.type for port in (*session.get_inputs(), *session.get_outputs())}
    assert types == {
        "x": "tensor(float)",
        "y": "tensor(float)",
        "past_key_values.0.key": "tensor(float16)",
        "present.0.key": "tensor(float16)",
    }


def test_a_constant_that_is_put_out_stays_what_it_is(numbers, tmp_path):
    matrix = numbers.normal(size=(64, 64)).astype(np.float32)
    model = model_of([helper.make_node("MatMul", ["x", "w"], ["y"])], {"w": matrix}, 64)
    model.graph.output.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [64, 64]))
    onnx.save(model, tmp_path / "model.onnx")
    assert write_float16(tmp_path / "model.onnx", tmp_path / "half.onnx")

    session = onnxruntime.InferenceSession(tmp_path / "half.onnx", providers=["CPUExecutionProvider"])
    y, w = session.run(["y", "w"], {"x": np.eye(2, 64, dtype=np.float32)})
    np.testing.assert_allclose(w, matrix, rtol=1e-3)
    np.testing.assert_allclose(y, matrix[:2], rtol=1e-2, atol=1e-3)


def test_weights_stored_in_float16_and_cast_are_rounded_too(numbers, tmp_path):
    matrix = numbers.normal(size=(64, 16)).astype(np.float16)
    nodes = [
        helper.make_node("Cast", ["w"], ["wide"], to=TensorProto.FLOAT),
        helper.make_node("MatMul", ["x", "wide"], ["y"]),
    ]
    onnx.save(model_of(nodes, {"w": matrix}, 16), tmp_path / "model.onnx")
    assert write_rounded(tmp_path / "model.onnx", tmp_path / "q8.onnx", 8)
    rounded = onnx.load(tmp_path / "q8.onnx")
    assert [node.op_type for node in rounded.graph.node] == ["MatMulNBits"]
    x = numbers.normal(size=(3, 64)).astype(np.float32)
    expected = x @ unpacked(matrix.astype(np.float32), 8)
    np.testing.assert_allclose(said(rounded, x), expected, rtol=1e-4, atol=1e-4)


def test_static_int8_learns_its_ranges_from_the_pictures(numbers, tmp_path):
    matrix = numbers.normal(size=(64, 16)).astype(np.float32)
    onnx.save(
        model_of([helper.make_node("MatMul", ["x", "w"], ["y"])], {"w": matrix}, 16), tmp_path / "model.onnx"
    )
    seen = list(numbers.uniform(-1, 1, size=(20, 64)).astype(np.float32))
    assert write_static(tmp_path / "model.onnx", tmp_path / "int8.onnx", "x", seen)
    rounded = onnx.load(tmp_path / "int8.onnx")

    x = np.stack(seen)
    apart = np.abs(said(rounded, x) - x @ matrix).max() / np.abs(x @ matrix).max()
    assert 0 < apart < 0.02
    # What is ten times beyond what was seen is cut off there.
    beyond = said(rounded, 10 * x)
    assert np.abs(beyond).max() < 2 * np.abs(x @ matrix).max()


def test_an_old_graph_with_its_weights_among_its_inputs_is_quantised_too(numbers, tmp_path):
    matrix = numbers.normal(size=(64, 16)).astype(np.float32)
    model = model_of([helper.make_node("MatMul", ["x", "w"], ["y"])], {"w": matrix}, 16)
    model.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [64, 16]))
    model.opset_import[0].version, model.ir_version = 9, 4
    onnx.save(model, tmp_path / "model.onnx")

    seen = list(numbers.uniform(-1, 1, size=(20, 64)).astype(np.float32))
    x = np.stack(seen)
    assert write_static(tmp_path / "model.onnx", tmp_path / "int8.onnx", "x", seen)
    assert write_float16(tmp_path / "model.onnx", tmp_path / "half.onnx")
    for name in ("int8.onnx", "half.onnx"):
        written = onnx.load(tmp_path / name)
        assert [port.name for port in written.graph.input] == ["x"]
        assert np.abs(said(written, x) - x @ matrix).max() < 0.03 * np.abs(x @ matrix).max()


def test_a_graph_that_is_none_is_refused_in_one_line(tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"no graph")
    with pytest.raises(ConversionRefused, match=r"model.onnx: cannot be rewritten: .") as caught:
        write_rounded(tmp_path / "model.onnx", tmp_path / "q8.onnx", 8)
    assert "\n" not in str(caught.value)
