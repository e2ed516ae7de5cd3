"""``enrich models export``: with exporters that only pretend, and with real ones where there is torch."""

import json
import os
import shutil
import subprocess
import sys
import textwrap
import zipfile
from collections.abc import Callable
from importlib import resources
from pathlib import Path

import hub_server
import numpy as np
import pytest
import tiny_graphs
from hub_server import Repository

from enrich.errors import (
    ConfigError,
    ConversionRefused,
    ExtraMissing,
    ManifestError,
    ModelMissing,
    UsageError,
)
from enrich.exporters.recipes import RECIPES
from enrich.hub.environments import PACKAGES, environments_folder, python_of
from enrich.hub.export import Export, export, origin_of
from enrich.hub.pull import pull
from enrich.hub.target import parse_target
from enrich.inference import ModelStore
from enrich.inference.devices import Device
from enrich.inference.families import FAMILIES, open_model
from enrich.types import Rendition

# Before the fixture that takes all such variables away.
PYTHONS = {name: os.environ.get(f"ENRICH_EXPORT_PYTHON_{name.upper()}") for name in PACKAGES}

CONFIG = {
    "architectures": ["ViTForImageClassification"],
    "id2label": {"0": "red", "1": "green", "2": "blue"},
}
PROCESSOR = {
    "image_processor_type": "ViTImageProcessor",
    "image_mean": [0, 0, 0],
    "image_std": [1, 1, 1],
    "size": {"height": 8, "width": 8},
}
DONE = {"figures": {"model": 2e-7}, "manifest": {}, "versions": {"torch": "2.99"}}


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A folder as transformers saves a model; the weights are none."""
    folder = tmp_path / "saved" / "colours"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(CONFIG))
    (folder / "preprocessor_config.json").write_text(json.dumps(PROCESSOR))
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "modeling_colours.py").write_text("raise SystemExit('this must not be run')")
    return folder


@pytest.fixture
def pretending(tmp_path: Path) -> Callable[..., Callable[..., Path]]:
    """Make an interpreter that runs nothing but a few lines of ours, as the exporter."""
    graph = tiny_graphs.save_colour_means(tmp_path / "means.onnx")

    def make(*parts: str) -> Callable[..., Path]:
        program = tmp_path / "python"
        program.write_text(
            f"#!{sys.executable}\n"
            "import json, os, pathlib, shutil, sys, time\n"
            "source, folder = map(pathlib.Path, sys.argv[-2:])\n"
            f"means, done = pathlib.Path({str(graph)!r}), {DONE!r}\n"
            "def say(**line):\n    print(json.dumps(line), flush=True)\n"
            + "\n".join(map(textwrap.dedent, parts))
        )
        program.chmod(0o755)
        return lambda name, say: program

    return make


GOOD = """
    shutil.copyfile(means, folder / "model.onnx")
    say(said="exporting")
    say(done=done)
"""


def exported(weights: Path, store: Path, find_python: Callable[..., Path], **options: object) -> Export:
    return export(origin_of(str(weights)), store, find_python=find_python, **options)  # type: ignore[arg-type]


def test_an_export_is_a_model_with_what_was_measured_in_its_manifest(
    weights: Path, tmp_path: Path, pretending: Callable[..., Callable[..., Path]]
) -> None:
    told: list[str] = []
    done = exported(weights, tmp_path / "store", pretending(GOOD), say=told.append)

    assert (done.name, done.figures) == ("colours", {"model": 2e-7})
    assert told[0] == "exporting"
    store = ModelStore(tmp_path / "store")
    model = store.get("colours")
    assert model.manifest.variant == "fp32"
    variant = model.manifest.variants["fp32"]
    assert (variant.graphs, variant.agreement) == ({"model": "model.onnx"}, {"model_apart": 2e-7})
    assert variant.note is not None and "torch 2.99" in variant.note
    assert model.revision.startswith("sha256-")
    assert store.verify("colours") == ()
    assert {file.path for file in model.manifest.files} == {
        "config.json",
        "model.onnx",
        "preprocessor_config.json",
    }
    assert [path.name for path in (tmp_path / "store").iterdir() if path.name[0] != "."] == ["colours"]


def test_the_revision_is_that_of_the_weights(
    weights: Path, tmp_path: Path, pretending: Callable[..., Callable[..., Path]]
) -> None:
    find, store = pretending(GOOD), ModelStore(tmp_path / "store")
    exported(weights, tmp_path / "store", find)
    first = store.get("colours").revision
    exported(weights, tmp_path / "store", find)
    assert store.get("colours").revision == first
    (weights / "model.safetensors").write_bytes(b"others")
    exported(weights, tmp_path / "store", find)
    assert store.get("colours").revision != first


def test_an_exporter_sees_this_package_alone_and_no_token(
    weights: Path,
    tmp_path: Path,
    pretending: Callable[..., Callable[..., Path]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    told: list[str] = []
    body = """
        say(said=json.dumps({"environment": dict(os.environ), "arguments": sys.argv[1:-2]}))
        (place,) = os.environ["PYTHONPATH"].split(os.pathsep)
        import enrich.exporters.recipes
        say(said=str([path.name for path in pathlib.Path(place).iterdir()]))
    """
    exported(weights, tmp_path / "store", pretending(body, GOOD), say=told.append)

    seen = json.loads(told[0])
    assert seen["arguments"] == ["-W", "ignore", "-m", "enrich.exporters"]
    assert not any("secret" in value for value in seen["environment"].values())
    assert seen["environment"]["HF_HUB_OFFLINE"] == "1"
    assert told[1] == "['enrich']"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ('say(refused="model.onnx: logits differs by 1e-1")', "logits differs by 1e-1"),
        ('sys.exit("no such class")', "ended with 1 and no result: no such class"),
        ("os.kill(os.getpid(), 9)", "ended with -9 and no result .*memory"),
        ("sys.exit(0)", "ended with 0 and no result"),
        ('print("Welcome!")', "no line of its own: 'Welcome!"),
        ('say(done={"figures": "good"})', "no line of its own"),
        (GOOD + "    sys.exit(4)", "ended with 4"),
    ],
)
def test_an_export_that_fails_leaves_the_store_as_it_was(
    weights: Path,
    tmp_path: Path,
    pretending: Callable[..., Callable[..., Path]],
    body: str,
    message: str,
) -> None:
    store = tmp_path / "store"
    with pytest.raises(ConversionRefused, match=message) as caught:
        exported(weights, store, pretending(body))
    assert "\n" not in str(caught.value)
    assert ModelStore(store).list() == ()
    assert not (store / ".incoming" / "colours").exists()

    exported(weights, store, pretending(GOOD))
    before = (store / "colours" / "manifest.json").read_bytes()
    with pytest.raises(ConversionRefused):
        exported(weights, store, pretending(body))
    assert (store / "colours" / "manifest.json").read_bytes() == before


def test_graphs_that_do_not_fit_their_configuration_are_not_stored(
    weights: Path, tmp_path: Path, pretending: Callable[..., Callable[..., Path]]
) -> None:
    (weights / "config.json").write_text(json.dumps({**CONFIG, "id2label": {"0": "red", "1": "green"}}))
    with pytest.raises(ManifestError, match="3 scores"):
        exported(weights, tmp_path / "store", pretending(GOOD))
    assert ModelStore(tmp_path / "store").list() == ()


def test_an_interrupted_export_ends_its_exporter(
    weights: Path, tmp_path: Path, pretending: Callable[..., Callable[..., Path]]
) -> None:
    def interrupt(line: str) -> None:
        raise KeyboardInterrupt

    body = f"""
        pathlib.Path({str(tmp_path / "pid")!r}).write_text(str(os.getpid()))
        say(said="at it")
        time.sleep(60)
    """
    with pytest.raises(KeyboardInterrupt):
        exported(weights, tmp_path / "store", pretending(body), say=interrupt)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)
    assert ModelStore(tmp_path / "store").list() == ()


def test_weights_of_the_hub_are_fetched_exported_and_let_go(
    weights: Path,
    tmp_path: Path,
    pretending: Callable[..., Callable[..., Path]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    files = {path.name: path.read_bytes() for path in weights.iterdir()}
    store = tmp_path / "store"
    with hub_server.serving() as hub:
        hub.point(monkeypatch)
        hub.repositories["someone/colours"] = Repository(files)
        origin = origin_of("hf:someone/colours", "mine")
        with pytest.raises(ConversionRefused, match="differs"):
            export(origin, store, find_python=pretending('say(refused="differs")'))
        assert not (store / ".incoming" / "mine").exists()
        export(origin, store, find_python=pretending(GOOD))
        commit = hub.repositories["someone/colours"].commit

    model = ModelStore(store).get("mine")
    assert (model.revision, model.manifest.source) == (commit, "hf:someone/colours")
    assert model.manifest.licence == "apache-2.0"
    assert not any(path.suffix in (".py", ".safetensors") for path in model.folder.rglob("*"))
    # Something else of that name is not written over.
    with pytest.raises(UsageError, match="choose another name with --as"):
        export(origin_of(str(weights), "mine"), store, find_python=pretending(GOOD))
    assert ModelStore(store).get("mine").revision == commit


def unused(name: object, say: object) -> Path:
    raise AssertionError("no environment is needed to see that this cannot be exported")


def test_pickled_weights_are_never_read(weights: Path, tmp_path: Path) -> None:
    (weights / "model.safetensors").rename(weights / "pytorch_model.bin")
    with pytest.raises(UsageError, match=r"no \.safetensors file; pickled weights"):
        exported(weights, tmp_path / "store", unused)


def test_shards_stay_in_their_folder(weights: Path, tmp_path: Path) -> None:
    index = {"weight_map": {"a": "model.safetensors", "b": "../other.safetensors"}}
    (weights / "model.safetensors.index.json").write_text(json.dumps(index))
    (weights.parent / "other.safetensors").write_bytes(b"")
    with pytest.raises(ManifestError, match=r"weight_map: \.\./other.safetensors is no file of the folder"):
        exported(weights, tmp_path / "store", unused)


def test_what_cannot_be_exported_says_what_can(weights: Path, tmp_path: Path) -> None:
    (weights / "config.json").write_text(json.dumps({"architectures": ["MoondreamForCausalLM"]}))
    with pytest.raises(ManifestError, match="MoondreamForCausalLM: none is exported; known: Blip"):
        exported(weights, tmp_path / "store", unused)
    (weights / "config.json").unlink()
    with pytest.raises(UsageError, match=r"no config\.json"):
        exported(weights, tmp_path / "store", unused)


def test_a_folder_a_name_and_a_repository_are_told_apart(tmp_path: Path) -> None:
    assert origin_of(str(tmp_path)).folder == tmp_path.resolve()
    assert origin_of(str(tmp_path), "mine").name == "mine"
    assert (origin_of("hf:someone/colours").name, origin_of("hf:someone/colours").folder) == ("colours", None)
    with pytest.raises(UsageError, match="no such folder"):
        origin_of("./nowhere")
    with pytest.raises(ModelMissing, match="hf:owner/name"):
        origin_of("nothing-of-that-name")
    with pytest.raises(UsageError, match="fastestdet is published as ONNX; run: enrich models pull fastest"):
        origin_of("fastestdet")
    with pytest.raises(UsageError, match='"" cannot be a model'):
        origin_of(str(tmp_path), "")


def test_what_the_list_knows_of_a_model_goes_into_its_manifest(
    weights: Path,
    tmp_path: Path,
    pretending: Callable[..., Callable[..., Path]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with hub_server.serving() as hub:
        hub.point(monkeypatch)
        files = {path.name: path.read_bytes() for path in weights.iterdir()}
        hub.repositories["Qwen/Qwen2.5-VL-3B-Instruct"] = Repository(files)
        export(origin_of("runware:152@1"), tmp_path / "store", find_python=pretending(GOOD))
        hub.asked.clear()

        model = ModelStore(tmp_path / "store").get("qwen2.5-vl-3b")
        assert {"en", "fr", "ko"} < set(model.languages)
        # It is here, and there is nothing to pull: nobody is asked.
        assert not pull(parse_target("qwen2.5-vl-3b"), tmp_path / "store", device="cuda").is_new
        with pytest.raises(ModelMissing, match=r"it is here, .*: enrich models quantise qwen2\.5-vl-3b"):
            pull(parse_target("qwen2.5-vl-3b"), tmp_path / "store", variant="q4")
        assert hub.asked == []


def test_what_is_exported_is_what_the_families_run() -> None:
    known = {
        name for family in FAMILIES.values() for name in family.architectures if not name.startswith("For")
    }
    assert set(RECIPES) == known


class TestEnvironments:
    def test_an_interpreter_of_the_users_own_is_taken(self) -> None:
        environ = {"ENRICH_EXPORT_PYTHON_TORCH": sys.executable}
        assert python_of("torch", print, environ) == Path(sys.executable)
        with pytest.raises(ConfigError, match=r"ENRICH_EXPORT_PYTHON_TORCH: .* no Python interpreter"):
            python_of("torch", print, {"ENRICH_EXPORT_PYTHON_TORCH": "/nowhere/python"})

    def test_they_lie_in_the_users_cache(self, tmp_path: Path) -> None:
        assert environments_folder({"XDG_CACHE_HOME": str(tmp_path)}) == tmp_path / "enrich" / "exporters"
        assert environments_folder({"XDG_CACHE_HOME": "relative"}) == Path.home() / ".cache/enrich/exporters"

    def test_one_is_made_once_with_the_versions_that_are_pinned(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        index, told = tmp_path / "index", []
        environ = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
        monkeypatch.setenv("PIP_NO_INDEX", "1")
        monkeypatch.setenv("PIP_FIND_LINKS", str(index))
        index.mkdir()
        with pytest.raises(ExtraMissing, match=r"pip install torch failed: .*torch.* PIP_INDEX_URL"):
            python_of("torch", told.append, environ)

        for package in [package for step in PACKAGES["torch"] for package in step]:
            write_wheel(index, package, pinned(package))
            write_wheel(index, package, "99.0")
        python = python_of("torch", told.append, environ)
        assert any("left unfinished" in line for line in told)
        code = "from importlib.metadata import version; print(version('torch'), version('transformers'))"
        found = subprocess.run(
            [python, "-c", code], capture_output=True, text=True, check=True
        ).stdout.split()
        assert found == [pinned("torch"), pinned("transformers")]

        told.clear()
        assert python_of("torch", told.append, environ) == python
        assert not told

    @pytest.mark.parametrize("name", PACKAGES)
    def test_all_that_is_installed_is_pinned(self, name: str) -> None:
        for package in [package for step in PACKAGES[name] for package in step]:  # type: ignore[index]
            assert pinned(package.partition("[")[0], name)


def pinned(package: str, name: str = "torch") -> str:
    text = (resources.files("enrich.exporters") / f"constraints-{name}.txt").read_text()
    (version,) = [line.partition("==")[2] for line in text.splitlines() if line.startswith(f"{package}==")]
    return version


def write_wheel(folder: Path, name: str, version: str) -> None:
    """Write a package that holds nothing."""
    about = f"{name}-{version}.dist-info"
    files = {
        f"{about}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{about}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{about}/RECORD"] = "".join(f"{path},,\n" for path in (*files, f"{about}/RECORD"))
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        for path, text in files.items():
            wheel.writestr(path, text)


def real(name: str) -> Path:
    python = PYTHONS[name]
    if not python or not shutil.which(python):
        pytest.skip(f"no exporters' environment: set ENRICH_EXPORT_PYTHON_{name.upper()}")
    return Path(python)


def run_there(python: Path, code: str, tmp_path: Path) -> str:
    """Run a few lines in an exporters' environment."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
    }
    command = [str(python), "-W", "ignore", "-c", textwrap.dedent(code)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


BAKED = """
    import pathlib, torch
    from enrich.exporters.tracing import Refused, module_of, trace

    layer = torch.nn.Linear(8, 8)

    def honest(x):
        return layer(x) / x.shape[0]

    def baked(x):
        return layer(x) / float(x.shape[0])

    def stuck(x):
        return layer(x) + torch.ones(int(x.shape[0]), 1)

    for forward in (honest, baked, stuck):
        try:
            far = trace(
                module_of(layer, forward),
                pathlib.Path(forward.__name__ + ".onnx"),
                {"x": torch.randn(2, 8)},
                ["y"],
                {"x": {0: "batch"}, "y": {0: "batch"}},
                others=[{"x": torch.randn(3, 8)}],
                by_script=True,
            )
            print("good", far < 1e-6)
        except Refused as error:
            print("refused", error)
"""

TINY = """
    import torch
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

    torch.manual_seed(3)
    labels = {0: "red", 1: "green", 2: "blue"}
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
    model = ViTForImageClassification(ViTConfig(**shape, image_size=32, patch_size=8, id2label=labels)).eval()
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    model.save_pretrained("saved")
    processor = ViTImageProcessor(size={"height": 32, "width": 32}, image_mean=[0.5] * 3, image_std=[0.5] * 3)
    processor.save_pretrained("saved")
    with torch.no_grad():
        print(model(torch.full((1, 3, 32, 32), 128 / 255 * 2 - 1)).logits.softmax(-1)[0].tolist())
"""


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", PACKAGES)
def test_a_graph_with_its_batch_baked_in_is_refused(tmp_path: Path, name: str) -> None:
    honest, baked, stuck = run_there(real(name), BAKED, tmp_path).splitlines()
    assert honest == "good True"
    assert baked.startswith("refused baked.onnx: y differs from torch's by")
    assert stuck.startswith("refused stuck.onnx")


@pytest.mark.timeout(600)
def test_a_real_model_is_exported_and_says_what_torch_says(
    tmp_path: Path, enrich: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    python = real("optimum")
    expected = json.loads(run_there(python, TINY, tmp_path))
    environment = {**os.environ, "ENRICH_EXPORT_PYTHON_OPTIMUM": str(python), "OMP_NUM_THREADS": "1"}
    environment["ENRICH_MODELS_DIR"] = str(tmp_path / "store")
    done = enrich("models", "export", "./saved", "--as", "tiny", "--json", env=environment, timeout=500)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["apart"]["model"] < 1e-5

    model = open_model(ModelStore(tmp_path / "store").get("tiny"), Device("cpu"))
    grey = np.full((32, 32, 3), 128, np.uint8)
    found = model.predict([Rendition(None, None, 0, grey, 32, 32, 32, 32)])[0]
    model.close()
    assert list(found.labels) == ["red", "green", "blue"]
    np.testing.assert_allclose(found.probabilities, expected, atol=1e-5)
