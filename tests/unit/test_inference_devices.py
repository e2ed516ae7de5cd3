import logging

import pytest
import tiny_graphs

from enrich.errors import ConfigError, ProviderError
from enrich.inference.devices import Device, candidates, parse_device
from enrich.inference.runtime import describe_runtime, wheel_advice
from enrich.inference.session import open_session

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
