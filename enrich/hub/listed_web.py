"""The listed models that come by https: small ones, from the repositories of their makers."""

from __future__ import annotations

from enrich.hub.entry import Listed, WebFile

__all__ = ["WEB_MODELS"]

_GITHUB = "https://raw.githubusercontent.com"

_ULTRAFACE = "Linzaer/Ultra-Light-Fast-Generic-Face-Detector-1MB"
_ULTRAFACE_REVISION = "0f9ca4a9fc80170fd505168fd1132b837141f7df"

_WINDOWS_ML = "microsoft/Windows-Machine-Learning"
_SQUEEZENET_REVISION = "044757481c274e4749f5c192962168520807b4cc"
_LABELS_REVISION = "02b586811c8beb1ae2208c8605393267051257ae"

_FASTESTDET = "dog-qiuqiu/FastestDet"

#: The classes of COCO, in the order of its detectors' outputs and in the words of Darknet's list.
_COCO = (
    "person, bicycle, car, motorbike, aeroplane, bus, train, truck, boat, traffic light, fire hydrant, "
    "stop sign, parking meter, bench, bird, cat, dog, horse, sheep, cow, elephant, bear, zebra, giraffe, "
    "backpack, umbrella, handbag, tie, suitcase, frisbee, skis, snowboard, sports ball, kite, baseball "
    "bat, baseball glove, skateboard, surfboard, tennis racket, bottle, wine glass, cup, fork, knife, "
    "spoon, bowl, banana, apple, sandwich, orange, broccoli, carrot, hot dog, pizza, donut, cake, chair, "
    "sofa, pottedplant, bed, diningtable, toilet, tvmonitor, laptop, mouse, remote, keyboard, cell phone, "
    "microwave, oven, toaster, sink, refrigerator, book, clock, vase, scissors, teddy bear, hair drier, "
    "toothbrush"
)

WEB_MODELS = (
    Listed(
        "ultraface-rfb-320",
        _ULTRAFACE,
        None,
        "detector",
        ("enrich_tag",),
        "MIT",
        300_000,
        revision=_ULTRAFACE_REVISION,
        note="finds faces, for plugins that judge them",
        files=(
            WebFile(
                "version-RFB-320.onnx",
                f"{_GITHUB}/{_ULTRAFACE}/{_ULTRAFACE_REVISION}/models/onnx/version-RFB-320.onnx",
                "34cd7e60aeff28744c657de7a3dc64e872d506741de66987f3426f2b79f88017",
                1_270_727,
            ),
        ),
        manifest={
            "family": "detector",
            "description": "Ultra-light face detector (RFB-320)",
            "graph": "version-RFB-320.onnx",
            "labels": ["background", "face"],
            "input": {
                "resize": {"height": 240, "width": 320},
                "scale": 1 / 128,
                "mean": [127 / 128] * 3,
            },
            "detection": {
                "boxes": "boxes",
                "scores": "scores",
                "background": "background",
                "threshold": 0.7,
                "overlap": 0.3,
            },
        },
    ),
    Listed(
        "squeezenet",
        _WINDOWS_ML,
        None,
        "classifier",
        ("enrich_tag",),
        "MIT",
        1_240_000,
        ("fp16",),
        on_cpu="fp16",
        revision=_SQUEEZENET_REVISION,
        note="the 1,000 classes of ImageNet",
        files=(
            WebFile(
                "SqueezeNet_fp16.onnx",
                f"{_GITHUB}/{_WINDOWS_ML}/{_SQUEEZENET_REVISION}/SharedContent/models/SqueezeNet_fp16.onnx",
                "21f25e3d9254af93e6218a359469fac714a017b3f9035c0f5c4acbf9a3ff7233",
                2_484_091,
            ),
            WebFile(
                "Labels.txt",
                f"{_GITHUB}/{_WINDOWS_ML}/{_LABELS_REVISION}"
                "/Samples/SqueezeNetObjectDetection/Desktop/cpp/Labels.txt",
                "dc1fd0d4747096d3aa690bd65ec2f51fdb3e5117535bfbce46fa91088a8f93a9",
                25_566,
            ),
        ),
        manifest={
            "family": "classifier",
            "description": "SqueezeNet: the 1,000 classes of ImageNet",
            "graph": "SqueezeNet_fp16.onnx",
            "labels": "Labels.txt",
            "hooks": ["enrich_tag"],
            "input": {
                "colour": "BGR",
                "resize": {"shortest_edge": 256},
                "crop": 224,
                "scale": 1,
                "mean": [104, 117, 123],
            },
            "output": {"activation": "none"},
        },
    ),
    Listed(
        "fastestdet",
        _FASTESTDET,
        None,
        "detector",
        ("enrich_tag",),
        "BSD-3-Clause",
        240_000,
        # The address is not pinned, and its file is.
        revision="sha256-31cb14c017fc",
        note="the 80 classes of COCO",
        files=(
            WebFile(
                "FastestDet.onnx",
                f"{_GITHUB}/{_FASTESTDET}/main/example/onnx-runtime/FastestDet.onnx",
                "31cb14c017fce347cb4c846ec62fdf00d76bb3beecdf4be21e7116ac67feb880",
                998_169,
            ),
        ),
        manifest={
            "family": "detector",
            "description": "FastestDet: the 80 classes of COCO",
            "graph": "FastestDet.onnx",
            "labels": _COCO.split(", "),
            "input": {"colour": "BGR", "resize": {"height": 352, "width": 352}},
            "detection": {"form": "fastestdet", "threshold": 0.6},
        },
    ),
)
