"""Models of every family come from repositories laid out as the hub's ONNX repositories are, and run."""

import tarfile
from collections.abc import Iterator
from pathlib import Path

import hub_server
import pytest
from hub_server import Hub, Repository

from enrich.hub.pull import pull
from enrich.hub.target import parse_target
from enrich.inference import ModelStore

REFERENCES = Path(__file__).parents[1] / "references"
MODELS = REFERENCES / "models.tar.xz"
VLM = {path.name.removesuffix(".tar.xz"): path for path in sorted((REFERENCES / "vlm").glob("*.tar.xz"))}
NAMES = ("blip-caption", "blip-vqa", "clip", "clip-split", "siglip", "ved", "ved-cached", "vit", *VLM)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with hub_server.serving() as hub:
        hub.point(monkeypatch)
        yield hub


def laid_out(name: str) -> dict[str, bytes]:
    """The files of a recorded model, its graphs where the hub has them."""
    files = {}
    with tarfile.open(VLM.get(name, MODELS)) as archive:
        for member in archive:
            path = member.name.removeprefix("./").removeprefix(f"{name}/")
            if "/" not in path and (file := archive.extractfile(member)) is not None:
                files[f"onnx/{path}" if ".onnx" in path else path] = file.read()
    return files


@pytest.mark.parametrize("name", NAMES)
def test_a_model_of_each_family_is_pulled_and_runs(tmp_path: Path, hub: Hub, name: str) -> None:
    files = laid_out(name)
    # A second form of one part: the others stand in.
    graphs = [path for path in files if path.endswith(".onnx")]
    graph = max(graphs, key=lambda path: "decoder_model_merged" in path)
    other = graph.replace(".onnx", "_fp16.onnx")
    hub.repositories[f"a/{name}"] = Repository(
        {**files, other: files[graph], "pytorch_model.bin": b"x" * 9000}
    )
    target = parse_target(f"hf:a/{name}")

    assert pull(target, tmp_path).variant == "fp32"
    assert ModelStore(tmp_path).verify(name) == ()
    assert not (tmp_path / name / other).exists()
    pulled = pull(target, tmp_path, variant="fp16")
    assert pulled.variant == "fp16"
    assert ModelStore(tmp_path).verify(name) == ()
    assert (tmp_path / name / other).resolve() in ModelStore(tmp_path).get(name).graphs.values()
    assert not hub.sent(".bin")


def test_siglip_in_halves_brings_the_whole_that_tells_its_scale(tmp_path: Path, hub: Hub) -> None:
    halves = laid_out("siglip-split")
    hub.repositories["a/siglip"] = Repository(
        {**halves, "onnx/model_quantized.onnx": laid_out("siglip")["onnx/model.onnx"]}
    )

    pull(parse_target("hf:a/siglip"), tmp_path)
    assert {path.name for path in ModelStore(tmp_path).get("siglip").graphs.values()} == {
        "vision_model.onnx",
        "text_model.onnx",
        "model_quantized.onnx",
    }
    assert ModelStore(tmp_path).verify("siglip") == ()
