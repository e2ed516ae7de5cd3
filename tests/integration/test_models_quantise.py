"""``enrich models quantise``: the drawings models in smaller forms, measured on drawings."""

import contextlib
import hashlib
import json
import random
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import PIL.Image
import pytest
import tiny_graphs
from onnx import TensorProto, helper
from PIL import ImageOps

from enrich.app import open_store
from enrich.drawings.faces import AGE_GROUPS, draw_face
from enrich.drawings.scenes import draw_scene
from enrich.errors import ConversionRefused, UsageError
from enrich.hub.listed import LISTED
from enrich.hub.quantise import Request, full_form, quantise
from enrich.inference import ModelStore
from enrich.inference.devices import Device
from enrich.inference.families import open_model
from enrich.settings import Settings
from enrich.types import Rendition

AGE, VLM, CLIP = "drawings-age", "drawings-vlm", "drawings-clip"


def rendition(picture: np.ndarray) -> Rendition:
    height, width = picture.shape[:2]
    return Rendition(None, None, 0, picture, width, height, width, height)


@pytest.fixture(scope="session")
def faces() -> list[Rendition]:
    return [
        rendition(np.asarray(draw_face(random.Random(seed), AGE_GROUPS[seed % len(AGE_GROUPS)], 128)))
        for seed in range(20)
    ]


@pytest.fixture(scope="session")
def scenes() -> list[Rendition]:
    return [rendition(np.asarray(draw_scene(random.Random(seed), 192)[0])) for seed in range(8)]


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return open_store(Settings(models_dir=tmp_path / "store"))


def hashes(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


@pytest.mark.parametrize(
    ("form", "learns", "operator"),
    [
        ("fp16", False, None),
        ("int8", False, "MatMulNBits"),
        ("int8", True, "QuantizeLinear"),
        ("q4", False, "MatMulNBits"),
    ],
)
def test_a_classifier_in_a_smaller_form_agrees_and_is_used(
    store: ModelStore,
    tmp_path: Path,
    faces: list[Rendition],
    form: str,
    learns: bool,
    operator: str | None,
) -> None:
    before = store.get(AGE)
    package = hashes(before.folder)
    done = quantise(
        before,
        tmp_path / "store",
        Request(form),  # type: ignore[arg-type]
        pictures=faces[::2],
        calibration=faces[1::2] if learns else (),
    )
    assert done.agreement.figures["top_1"] == 1
    assert 0 < done.agreement.figures["probability_apart"] < 0.1
    assert done.bytes_after < 0.7 * done.bytes_before

    after = store.get(AGE)
    assert after.folder == tmp_path / "store" / AGE
    assert after.graph.name == f"model_{form}.onnx"
    # The same weights: what was said with them is not stale.
    assert after.revision == before.revision
    assert after.manifest.variants[form].agreement == {**done.agreement.figures, "pictures": 10}
    assert after.manifest.variants["original"].graphs == {"model": "model.onnx"}
    assert store.verify(AGE) == ()
    if operator is not None:
        assert operator in {node.op_type for node in onnx.load(after.graph).graph.node}
    # What came with enrich is as it was.
    assert hashes(before.folder) == package


@pytest.mark.parametrize("form", ["int8", "q4"])
def test_a_writer_says_the_same_with_rounded_weights(
    store: ModelStore, tmp_path: Path, scenes: list[Rendition], form: str
) -> None:
    done = quantise(store.get(VLM), tmp_path / "store", Request(form), pictures=scenes)  # type: ignore[arg-type]
    assert done.agreement.figures["words"] >= 0.9
    assert set(store.get(VLM).graphs) == {"encoder", "decoder"}
    assert store.verify(VLM) == ()


def test_a_dual_encoder_keeps_its_space(store: ModelStore, tmp_path: Path, scenes: list[Rendition]) -> None:
    done = quantise(store.get(CLIP), tmp_path / "store", Request("int8"), pictures=scenes)
    assert done.agreement.score > 0.99
    assert store.verify(CLIP) == ()


def test_a_form_that_disagrees_changes_nothing(
    store: ModelStore, tmp_path: Path, faces: list[Rendition]
) -> None:
    folder = tiny(tmp_path / "store" / "steps")
    before = hashes(folder)
    model = store.get("steps")
    with pytest.raises(ConversionRefused, match=r"steps as q4: top_1 is 0\.\d+ on 20 pictures, below 0.95"):
        quantise(model, tmp_path / "store", Request("q4"), pictures=faces)
    assert hashes(folder) == before
    assert not (tmp_path / "store" / ".incoming" / "steps").exists()

    done = quantise(model, tmp_path / "store", Request("q4", is_forced=True), pictures=faces)
    assert done.agreement.score < 0.95
    assert store.get("steps").manifest.variant == "q4"


def test_a_threshold_of_ones_own_decides(store: ModelStore, tmp_path: Path, faces: list[Rendition]) -> None:
    tiny(tmp_path / "store" / "steps")
    quantise(store.get("steps"), tmp_path / "store", Request("q4", 0.0), pictures=faces)
    assert store.get("steps").manifest.variant == "q4"


def test_what_few_pictures_say_is_said_to_be_little(
    store: ModelStore, tmp_path: Path, faces: list[Rendition]
) -> None:
    told: list[str] = []
    tiny(tmp_path / "store" / "steps")
    request = Request("q4", is_forced=True)
    quantise(store.get("steps"), tmp_path / "store", request, pictures=faces[:1], say=told.append)
    assert "asking both forms about 1 picture" in told
    assert any(line.startswith("1 picture says little: 20 or more") for line in told)
    assert store.get("steps").manifest.variants["q4"].agreement["pictures"] == 1
    told.clear()
    quantise(store.get("steps"), tmp_path / "store", request, pictures=faces, say=told.append)
    assert not any("little" in line for line in told)


def test_pictures_that_the_model_refuses_are_not_counted(
    store: ModelStore, tmp_path: Path, faces: list[Rendition]
) -> None:
    noise = np.random.default_rng(8).integers(0, 255, (128, 128, 3), np.uint8)
    photographs, told = [rendition(noise)] * 2, []
    with pytest.raises(UsageError, match=r"nothing but 2 pictures to compare .*outside_domain.*: drawings"):
        quantise(store.get(AGE), tmp_path / "store", Request("q4"), pictures=photographs)
    assert not (tmp_path / "store" / AGE).exists()

    mixed = [*photographs, *faces[:3]]
    done = quantise(
        store.get(AGE),
        tmp_path / "store",
        Request("int8"),
        pictures=mixed,
        calibration=mixed,
        say=told.append,
    )
    assert done.agreement.pictures == 3
    assert done.note == "model: static int8, ranges of 3 pictures"
    assert [line.partition(",")[0] for line in told if line.startswith("left out")] == [
        "left out: 2 pictures to compare the forms with",
        "left out: 2 pictures to learn ranges from",
    ]


def test_each_form_is_made_from_full_precision(
    store: ModelStore, tmp_path: Path, faces: list[Rendition]
) -> None:
    for form in ("q4", "int8", "q4"):
        quantise(store.get(AGE), tmp_path / "store", Request(form), pictures=faces[:4])  # type: ignore[arg-type]
    model = store.get(AGE)
    name, full = full_form(model)
    assert (name, full.graph.name, model.graph.name) == ("original", "model.onnx", "model_q4.onnx")
    assert set(model.manifest.variants) == {"original", "int8", "q4"}

    manifest = json.loads((model.folder / "manifest.json").read_text())
    del manifest["variants"]["original"]
    (model.folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UsageError, match=r"has only q4, int8.* --variant fp32"):
        quantise(store.get(AGE), tmp_path / "store", Request("fp16"), pictures=faces)


def test_a_convolution_needs_pictures_to_learn_from(
    store: ModelStore, tmp_path: Path, faces: list[Rendition]
) -> None:
    convolving(tmp_path / "store" / "net")
    with pytest.raises(UsageError, match="no graph becomes smaller as int8; --calibrate"):
        quantise(store.get("net"), tmp_path / "store", Request("int8"), pictures=faces)
    done = quantise(
        store.get("net"),
        tmp_path / "store",
        Request("int8", 0.0),
        pictures=faces[::2],
        calibration=faces[1::2],
    )
    assert done.note == "model: static int8, ranges of 10 pictures"
    with contextlib.closing(open_model(store.get("net"), Device("cpu"))) as model:
        assert len(model.predict(faces[:1])[0].labels) == 3


@pytest.mark.parametrize(("form", "score"), [("int8", 0.95), ("fp16", 0.99)])
def test_a_trained_detector_finds_the_same_faces(
    store: ModelStore, tmp_path: Path, eval_data: Path, form: str, score: float
) -> None:
    folder = tmp_path / "store" / "faces"
    shutil.copytree(eval_data / "models" / "ultraface", folder, copy_function=shutil.copyfile)
    manifest = {**LISTED["ultraface-rfb-320"].manifest, "revision": "1"}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    photographs = [
        rendition(np.asarray(ImageOps.exif_transpose(PIL.Image.open(path)).convert("RGB")))
        for path in sorted((eval_data / "photos" / "people").glob("*.jpg"))[:16]
    ]
    done = quantise(
        store.get("faces"),
        tmp_path / "store",
        Request(form, score),  # type: ignore[arg-type]
        pictures=photographs[::2],
        calibration=photographs[1::2],
    )
    assert done.bytes_after < 0.6 * done.bytes_before
    assert done.agreement.score >= score
    assert store.verify("faces") == ()


def test_the_command_measures_and_tells(
    enrich: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for seed in range(6):
        draw_face(random.Random(seed), AGE_GROUPS[seed % 5], 128).save(pictures / f"{seed}.png")
    (pictures / "notes.txt").write_text("no picture")
    setting = ("--set", f"models_dir={tmp_path / 'store'}")

    done = enrich("models", "quantise", AGE, "--to", "int4", *setting)
    assert (done.returncode, done.stdout) == (2, "")
    assert "--pictures FOLDER" in done.stderr
    done = enrich("models", "quantise", AGE, "--to", "int4", "--pictures", pictures, *setting)
    assert done.returncode == 0, done.stderr
    assert "drawings-age is q4 now" in done.stdout
    assert "top_1" in done.stdout
    assert "notes.txt" in done.stderr
    done = enrich("models", "quantise", AGE, "--to", "int8", "--calibrate", pictures, "--json", *setting)
    told = json.loads(done.stdout)
    assert (told["form"], told["agreement"]["pictures"]) == ("int8", 3)
    rows = json.loads(enrich("models", "list", "--json", *setting).stdout)
    assert [row["variant"] for row in rows if row["name"] == AGE] == ["int8"]


def tiny(folder: Path) -> Path:
    """A classifier of three labels that lie so close together that rounded weights mix them up."""
    tiny_graphs.write_model(folder, revision="1", output={"activation": "softmax"})
    numbers = np.random.default_rng(4)
    column = numbers.normal(size=(192, 1))
    weights = (column + numbers.normal(size=(192, 3)) * 1e-3).astype(np.float32)
    tiny_graphs.save(
        folder / "model.onnx",
        [
            helper.make_node("Flatten", ["pixels"], ["flat"]),
            helper.make_node("MatMul", ["flat", "weights"], ["scores"]),
        ],
        [("pixels", TensorProto.FLOAT, ["batch", 3, 8, 8])],
        [("scores", TensorProto.FLOAT, ["batch", 3])],
        {"weights": weights},
    )
    return folder


def convolving(folder: Path) -> Path:
    """A classifier of three labels with a convolution and no product."""
    tiny_graphs.write_model(folder, revision="1", output={"activation": "softmax"})
    kernels = np.random.default_rng(5).normal(size=(64, 3, 3, 3)).astype(np.float32)
    mix = np.random.default_rng(6).normal(size=(3, 64, 3, 3)).astype(np.float32)
    tiny_graphs.save(
        folder / "model.onnx",
        [
            helper.make_node("Conv", ["pixels", "kernels"], ["seen"]),
            helper.make_node("Relu", ["seen"], ["kept"]),
            helper.make_node("Conv", ["kept", "mix"], ["maps"]),
            helper.make_node("ReduceMean", ["maps"], ["scores"], axes=[2, 3], keepdims=0),
        ],
        [("pixels", TensorProto.FLOAT, ["batch", 3, 8, 8])],
        [("scores", TensorProto.FLOAT, ["batch", 3])],
        {"kernels": kernels, "mix": mix},
    )
    return folder
