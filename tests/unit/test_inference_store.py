import hashlib
import json
import subprocess
import sys

import pytest
import tiny_graphs

from enrich.errors import ManifestError, ModelMissing, UsageError
from enrich.inference import ModelStore


def listed_file(path):
    return {
        "path": path.name,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "bytes": path.stat().st_size,
    }


def test_models_are_found_by_name(tmp_path):
    tiny_graphs.write_model(tmp_path / "colours", revision="3")

    assert ModelStore(tmp_path).get("colours").revision == "3"


def test_the_users_own_goes_before_the_bundled_one(tmp_path):
    for place, name in (("mine", "both"), ("bundled", "both"), ("bundled", "drawn")):
        tiny_graphs.write_model(tmp_path / place / name, revision=place)
    store = ModelStore(tmp_path / "mine", tmp_path / "bundled")

    assert [(one.name, one.bundled, one.model.revision) for one in store.list()] == [
        ("both", False, "mine"),
        ("drawn", True, "bundled"),
    ]
    assert store.get("both").revision == "mine"


def test_a_missing_model_is_said_with_the_folder_and_what_there_is(tmp_path):
    tiny_graphs.write_model(tmp_path / "colours")

    with pytest.raises(
        ModelMissing, match=f'no model "birds" in {tmp_path}; have: colours; .*models list'
    ) as caught:
        ModelStore(tmp_path).get("birds")
    assert caught.value.exit_code == 3


def test_a_store_that_is_not_there_is_empty(tmp_path):
    store = ModelStore(tmp_path / "nowhere", tmp_path / "neither")

    assert store.list() == ()
    with pytest.raises(ModelMissing, match="have: none"):
        store.get("birds")


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "a\\b", "/etc", ".hidden", "a b", "a\n"])
def test_names_that_could_be_paths_are_refused(tmp_path, name):
    with pytest.raises(UsageError, match="cannot be a model"):
        ModelStore(tmp_path).get(name)


def test_a_broken_model_is_listed_with_its_problem_and_hides_no_other(tmp_path):
    tiny_graphs.write_model(tmp_path / "colours")
    tiny_graphs.write_model(tmp_path / "broken", family="oracle")
    (tmp_path / "notes").mkdir()
    (tmp_path / "README.md").write_text("not a folder")
    store = ModelStore(tmp_path)

    assert [(one.name, one.model is None) for one in store.list()] == [("broken", True), ("colours", False)]
    assert "family" in store.list()[0].problem
    with pytest.raises(ManifestError):
        store.get("broken")


def test_an_intact_model_has_no_problems(tmp_path):
    folder = tiny_graphs.write_model(tmp_path / "colours")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"] = [listed_file(folder / "model.onnx")]
    (folder / "manifest.json").write_text(json.dumps(manifest))

    assert ModelStore(tmp_path).verify("colours") == ()


def test_altered_and_missing_files_are_problems(tmp_path):
    gone = {"path": "weights.bin", "sha256": "0" * 64}
    altered = {"path": "model.onnx", "sha256": "1" * 64, "bytes": 3}
    tiny_graphs.write_model(tmp_path / "colours", files=[gone, altered])

    missing, size, digest = ModelStore(tmp_path).verify("colours")
    assert "weights.bin: cannot be read: No such file" in missing
    assert "the manifest says 3" in size
    assert f"the manifest says {'1' * 64}" in digest


def test_a_wrong_number_of_labels_is_a_problem(tmp_path):
    tiny_graphs.write_model(tmp_path / "colours", labels=["red", "green"])

    (problem,) = ModelStore(tmp_path).verify("colours")
    assert "labels: there are 2" in problem
    assert "has 3 scores" in problem


def test_a_wrong_manifest_and_a_broken_graph_are_problems(tmp_path):
    tiny_graphs.write_model(tmp_path / "wrong", hooks=3)
    (tiny_graphs.write_model(tmp_path / "cut") / "model.onnx").write_bytes(b"cut")
    store = ModelStore(tmp_path)

    assert "hooks: " in store.verify("wrong")[0]
    assert "ONNX Runtime cannot load it" in store.verify("cut")[0]


def test_without_onnx_runtime_the_store_works_and_a_session_names_the_pip_line(tmp_path):
    tiny_graphs.write_model(tmp_path / "colours")
    program = f"""
import sys, importlib.metadata
sys.modules["onnxruntime"] = None  # as if it were not installed
importlib.metadata.version = lambda name: (_ for _ in ()).throw(importlib.metadata.PackageNotFoundError(name))
from pathlib import Path
from enrich.inference import ModelStore, Models, describe_runtime
from enrich.errors import ExtraMissing
store = ModelStore(Path({str(tmp_path)!r}))
assert [one.problem for one in store.list()] == [None]
for ask in (store.verify, Models(store).open):
    try:
        ask("colours")
    except ExtraMissing as error:
        print(error)
print(describe_runtime().advice[0])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout.count("pip install 'enrich-dam[cpu]'") == 3


def test_importing_the_package_does_not_load_onnx_runtime():
    program = "import sys, enrich.inference; print('onnxruntime' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout == "False\n"
