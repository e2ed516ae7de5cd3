"""``enrich doctor`` proves what is there: models, devices, and what stands in their way."""

import json
import re
from pathlib import Path

import pytest
import tiny_graphs

import enrich.inference
from enrich import settings
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
