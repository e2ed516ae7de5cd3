import json
import logging
import platform
import re
from types import SimpleNamespace

import numpy as np
import pytest
import tiny_graphs

from enrich.errors import ConfigError, ProviderError
from enrich.inference.devices import Device, candidates, parse_device
from enrich.inference.memory import device_bytes, give_back, resident_bytes
from enrich.inference.proof import prove
from enrich.inference.reasons import misfit, missing_library, unsupported_precision
from enrich.inference.runtime import describe_runtime, load_runtime, wheel_advice
from enrich.inference.session import open_session
from enrich.inference.stored import read_model
from enrich.sections import Providers

TENSORRT = "TensorrtExecutionProvider"
CUDA, OPENVINO, CPU = "CUDAExecutionProvider", "OpenVINOExecutionProvider", "CPUExecutionProvider"


@pytest.mark.parametrize(
    ("text", "device"),
    [
        ("auto", Device("auto")),
        ("cpu", Device("cpu")),
        ("openvino", Device("openvino")),
        ("cuda", Device("cuda", 0)),
        ("cuda:3", Device("cuda", 3)),
    ],
)
def test_devices_are_read(text, device):
    assert parse_device(text) == device


@pytest.mark.parametrize("text", ["", "gpu", "CPU", "cuda:", "cuda:-1", "cuda:0:0", "cpu:1", "auto "])
def test_other_words_are_refused_by_name(text):
    with pytest.raises(ConfigError, match=rf'^device: "{text}"'):
        parse_device(text)


def test_auto_tries_the_best_first_and_only_what_the_wheel_has():
    assert candidates(Device("auto"), [CPU, OPENVINO, CUDA]) == [
        Device("cuda"),
        Device("openvino"),
        Device("cpu"),
    ]
    assert candidates(Device("auto"), ["AzureExecutionProvider", CPU]) == [Device("cpu")]


def test_others_are_tried_alone():
    assert candidates(Device("cuda", 1), [CPU]) == [Device("cuda", 1)]


def test_tensorrt_goes_before_cuda_and_auto_goes_on_without_it():
    options = Providers.model_validate({"tensorrt": {"enabled": True, "fp16": True, "cache_dir": "/engines"}})
    device = parse_device("cuda:1", options)

    assert device.provider == TENSORRT
    assert device.providers() == [
        (
            TENSORRT,
            {
                "device_id": "1",
                "trt_fp16_enable": "True",
                "trt_engine_cache_enable": "True",
                "trt_engine_cache_path": "/engines",
            },
        ),
        (CUDA, {"device_id": "1", "arena_extend_strategy": "kSameAsRequested", "use_tf32": "0"}),
    ]
    assert [one.provider for one in candidates(Device("auto", options=options), [TENSORRT, CUDA, CPU])] == [
        TENSORRT,
        CUDA,
        CPU,
    ]


def test_the_options_reach_the_providers():
    options = Providers.model_validate(
        {
            "cuda": {"memory_limit_bytes": 2**30, "tf32": True},
            "openvino": {"device_type": "GPU.1", "precision": "f16"},
        }
    )
    ((_, cuda),) = parse_device("cuda", options).providers()
    ((_, openvino),) = parse_device("openvino", options).providers(threads=3)

    assert (cuda["gpu_mem_limit"], cuda["use_tf32"]) == (str(2**30), "1")
    assert openvino["device_type"] == "GPU.1"
    assert json.loads(openvino["load_config"]) == {"GPU": {"INFERENCE_PRECISION_HINT": "f16"}}
    assert parse_device("cpu", options).providers(threads=3) == [(CPU, {})]


def test_openvino_is_told_the_precision_and_the_threads_whatever_the_cpu_would_choose():
    ((_, openvino),) = parse_device("openvino").providers(threads=3)

    assert json.loads(openvino["load_config"]) == {
        "CPU": {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": "3"}
    }


@pytest.mark.parametrize(
    ("precision", "cpuinfo", "complaint"),
    [
        (
            "bf16",
            "processor : 0\nflags : fpu avx2\n",
            "does not compute in bf16 .*avx512_bf16.* precision: f32",
        ),
        ("f16", "flags\t\t: fpu amx_bf16\n", "does not compute in f16"),
        ("bf16", "flags\t\t: fpu amx_bf16\n", None),
        ("f32", "flags : fpu\n", None),
        ("bf16", "processor : 0\nFeatures : asimd\n", None),  # an ARM: it is not known there
    ],
)
def test_a_precision_that_the_cpu_lacks_is_found(precision, cpuinfo, complaint):
    found = unsupported_precision(precision, cpuinfo)

    assert found is None if complaint is None else re.search(complaint, found)


@pytest.mark.parametrize(
    ("devices", "wanted", "is_there"),
    [
        (["CPU"], "CPU", True),
        (["CPU"], "NPU", False),
        (["CPU", "GPU"], "GPU", True),
        (["CPU", "GPU"], "GPU.0", True),
        (["CPU", "GPU"], "GPU.1", False),
        (["CPU", "GPU.0", "GPU.1"], "GPU.1", True),
        (["CPU", "GPU.0", "GPU.1"], "GPU", True),
    ],
)
def test_a_device_that_openvino_lacks_is_found(devices, wanted, is_there):
    state = SimpleNamespace(get_available_openvino_device_ids=lambda: devices)
    runtime = SimpleNamespace(capi=SimpleNamespace(_pybind_state=state))
    options = Providers.model_validate({"openvino": {"device_type": wanted}})
    complaint = misfit(runtime, Device("openvino", options=options))

    if is_there:
        assert complaint is None
    else:
        assert f"no device {wanted} here; it has: {', '.join(devices)}" in complaint
    assert misfit(runtime, Device("cpu", options=options)) is None


def test_the_loader_says_what_a_provider_lacks(tmp_path):
    """Files that are no libraries stand for libraries that lack others: the loader refuses both by name."""
    (tmp_path / "capi").mkdir()
    (tmp_path / "capi" / "libonnxruntime_providers_cuda.so").write_bytes(b"no library")
    runtime = SimpleNamespace(__file__=str(tmp_path / "__init__.py"))

    assert "libonnxruntime_providers_cuda.so: " in missing_library(runtime, CUDA)
    assert missing_library(runtime, TENSORRT) is None
    assert missing_library(runtime, CPU) is None


def test_a_configured_provider_that_cannot_be_loaded_is_refused_with_its_reason(tmp_path, capfd):
    graph = tiny_graphs.save_colour_means(tmp_path / "model.onnx")
    if CUDA not in describe_runtime().providers:
        pytest.skip("the installed ONNX Runtime was built without CUDA")
    # Here all is there: that it works is what tests/gpu show.
    if missing_library(load_runtime(), CUDA) is None:
        pytest.skip("CUDA can be loaded here")
    with pytest.raises(ProviderError, match=rf"{CUDA}: lib\S+: cannot open .*onnxruntime-gpu\[cuda,cudnn\]"):
        open_session(graph, Device("cuda"))
    assert open_session(graph, Device("auto")).provider == CPU
    assert capfd.readouterr() == ("", ""), "the runtime's own coloured lines are not printed"


def test_a_proof_tells_time_and_memory(tmp_path):
    model = read_model(tiny_graphs.write_model(tmp_path / "colours"))
    proof = prove(model, Device("cpu"))

    assert proof.provider == CPU
    assert min(proof.load_seconds, proof.run_seconds) > 0
    assert proof.device_bytes is None


def test_what_was_let_go_of_is_given_back():
    # Other systems are not asked.
    if platform.libc_ver()[0] != "glibc":
        pytest.skip("only glibc is asked to give back")
    before = resident_bytes()
    # Small enough to come from the heap, which the last one keeps from shrinking by itself.
    kept = [np.ones(100_000, np.uint8) for _ in range(640)]
    assert resident_bytes() - before > 48_000_000
    last = kept.pop()
    del kept
    give_back()

    assert resident_bytes() - before < 24_000_000
    assert last.all()


def test_a_devices_memory_is_what_nvidia_smi_says(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert device_bytes() is None
    program = tmp_path / "nvidia-smi"
    program.write_text('#!/bin/sh\n[ "$1" = --id=1 ] && echo 1234 || exit 6\n')
    program.chmod(0o755)

    assert device_bytes(1) == 1234 * 2**20
    assert device_bytes(0) is None
    program.write_text("#!/bin/sh\necho '[N/A]'\n")
    assert device_bytes(1) is None


def test_a_device_that_cannot_be_used_is_an_error_and_no_fallback(tmp_path):
    graph = tiny_graphs.save_colour_means(tmp_path / "model.onnx")
    absent = "openvino" if OPENVINO not in describe_runtime().providers else "cuda:9"

    with pytest.raises(ProviderError, match=absent):
        open_session(graph, parse_device(absent))


def test_auto_ends_up_on_a_device_that_is_in_use(tmp_path):
    graph = tiny_graphs.save_colour_means(tmp_path / "model.onnx")

    assert open_session(graph, Device("auto")).provider in {CUDA, OPENVINO, CPU}


def test_one_wheel_is_no_reason_for_advice():
    assert wheel_advice({"onnxruntime": "1.31.1"}, nvidia=False) == ()
    assert wheel_advice({"onnxruntime-gpu": "1.31.1"}, nvidia=True) == ()
    assert wheel_advice({}, nvidia=True) == ()


def test_two_wheels_are_said_with_the_line_that_mends_it():
    (sentence,) = wheel_advice({"onnxruntime-gpu": "1.31.1", "onnxruntime": "1.30.0"}, nvidia=False)

    assert "onnxruntime-gpu 1.31.1 and onnxruntime 1.30.0" in sentence
    assert sentence.endswith(
        "pip uninstall -y onnxruntime-gpu onnxruntime-openvino onnxruntime && pip install 'enrich-dam[gpu]'"
    )


def test_an_nvidia_device_with_the_cpu_wheel_is_said():
    (sentence,) = wheel_advice({"onnxruntime": "1.31.1"}, nvidia=True)

    assert "NVIDIA" in sentence
    assert sentence.endswith("pip install 'enrich-dam[gpu]'")


def test_the_runtime_describes_itself():
    report = describe_runtime()

    assert report.version
    assert CPU in report.providers
    assert report.wheels


def test_opening_a_session_prints_nothing(tmp_path, capfd, caplog):
    graph = tiny_graphs.save_colour_means(tmp_path / "model.onnx")
    with caplog.at_level(logging.WARNING, "enrich"):
        open_session(graph, Device("cpu"))

    assert capfd.readouterr() == ("", "")
    assert not caplog.records
