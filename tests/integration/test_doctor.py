"""``enrich doctor`` proves what is there: models, devices, and what stands in their way."""

import json
import re
import tomllib
from pathlib import Path

import pytest
import tiny_graphs

import enrich.inference
from enrich import app, settings
from enrich.cli import doctor
from enrich.cli.setup import Setup
from enrich.inference import RuntimeReport, describe_runtime


def checks(done):
    return {check["check"]: check for check in json.loads(done.stdout)}


def test_every_model_is_run_once_and_closed(enrich, tmp_path):
    tiny_graphs.write_model(tmp_path / "models" / "colours")
    tiny_graphs.write_model(tmp_path / "models" / "wrong", labels=["one"])
    done = enrich("doctor", "--json", "--set", "models_dir=models", "--set", "device=cpu")
    found = checks(done)

    assert done.returncode == 3, "one is broken"
    assert found["model colours"]["state"] == "good"
    said = r"classifier, CPUExecutionProvider, loaded in \S+ m?s, one inference \S+ m?s, -?\d+ MB, of which"
    assert re.match(said, found["model colours"]["found"])
    assert found["model wrong"]["state"] == "bad"
    assert "there are 1" in found["model wrong"]["found"]
    assert "CPUExecutionProvider" in found["providers built in"]["found"]


def test_a_configured_device_that_is_not_there_is_bad_with_its_reason(enrich, tmp_path):
    if "CUDAExecutionProvider" in describe_runtime().providers:
        # What it says there depends on what is installed beside it; see test_inference_devices.
        pytest.skip("the installed ONNX Runtime was built with CUDA")
    tiny_graphs.write_model(tmp_path / "models" / "colours")
    done = enrich("doctor", "--json", "--set", "models_dir=models", "--set", "device=cuda")

    assert done.returncode == 3
    assert "has no CUDAExecutionProvider: pip uninstall" in checks(done)["model colours"]["found"]


@pytest.mark.parametrize(("nvidia", "state"), [(True, "bad"), (False, "note")])
def test_a_device_that_the_wheel_has_and_that_fails_is_said(tmp_path, monkeypatch, nvidia, state):
    """The wheel here stands for one that has CUDA and cannot load it."""
    report = RuntimeReport("1", {}, ("CUDAExecutionProvider", "CPUExecutionProvider"), nvidia, ())
    monkeypatch.setattr(enrich.inference, "describe_runtime", lambda: report)
    if "CUDAExecutionProvider" in describe_runtime().providers:
        # Then it may work, and is good.
        pytest.skip("the installed ONNX Runtime was built with CUDA")
    config = Path(tmp_path / "config.yaml")
    config.write_text("device: cpu\n")
    (found,) = doctor._devices(settings.load(config), Setup())

    assert found[:2] == ("device cuda", state)
    assert "cannot be used: device cuda" in found[2]


STEPS = """
device: cpu
models_dir: models
steps:
  look:  {plugin: colors}
  named: {plugin: tags, model: colours}
  gone:  {plugin: caption, model: smolvlm-256m}
  mute:  {plugin: caption, model: colours}
  none:  {plugin: nobody}
filters:
  decent: {plugin: moderate, model: not-there, labels: [nude]}
"""


def test_every_step_is_tried_as_a_run_would(tmp_path):
    tiny_graphs.write_model(tmp_path / "models" / "colours")
    config = tmp_path / "config.yaml"
    config.write_text(STEPS)
    configured = settings.load(config)
    steps = doctor._steps(configured, app.load_plugins(configured))
    found = {check: (state, said) for check, state, said in steps}

    assert found["step look"] == ("good", "colors")
    assert found["step named"] == ("good", "tags, model colours")
    bad = {check: said for check, (state, said) in found.items() if state == "bad"}
    assert list(bad) == ["filters", "step gone", "step mute", "step none"]
    assert "enrich models pull smolvlm-256m" in bad["step gone"]
    assert "nobody" in bad["step none"]
    assert "not-there" in bad["filters"]


def test_what_stops_one_check_stops_no_other(enrich, tmp_path):
    (tmp_path / "models").write_text("no folder")
    done = enrich("doctor", "--json", "--set", "models_dir=models", "--set", "plugin_dirs=[nowhere]")
    found = checks(done)
    assert done.returncode == 3, done.stderr
    assert "is not a folder; create it" in found["plugins"]["found"]
    assert "is not a folder; move it away" in found["models_dir"]["found"]
    assert found["model drawings-age"]["state"] == "good"
    assert found["catalog"]["state"] == "note"


def test_every_extra_that_brings_a_package_is_looked_for():
    project = tomllib.loads((Path(__file__).resolve().parents[2] / "pyproject.toml").read_text())["project"]
    runtimes = {"cpu", "gpu", "openvino"}  # looked at as ONNX Runtime
    assert set(doctor._EXTRAS) == set(project["optional-dependencies"]) - runtimes - {"dev"}
    for extra, distribution in doctor._EXTRAS.items():
        brought = [re.split(r"[\[<>=]", one)[0] for one in project["optional-dependencies"][extra]]
        assert distribution in brought
