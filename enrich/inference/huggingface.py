"""What Hugging Face's config.json and image processor say, in the words of our manifest.

Source: ``image_processing_*.py`` of transformers 4.57. A processor that is not listed here may
do other arithmetic (EfficientNet's normalises twice): it is refused instead of guessed at.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from enrich.errors import ManifestError
from enrich.inference.manifest import Activation, Input, parse_manifest, read_json

__all__ = ["CONFIG_NAME", "PROCESSOR_NAMES", "activation_of", "find_processor", "input_of", "labels_of"]

CONFIG_NAME = "config.json"
#: Where an image processor is described: alone, or as transformers 5 writes it, inside.
PROCESSOR_NAMES = ("preprocessor_config.json", "processor_config.json")

#: Image processors, without their ending, that take a plain ``size: 224`` as both edges.
_SQUARE = {"Beit", "Blip", "Deit", "DeiT", "Siglip", "ViT"}
#: Those that take it as the shorter edge.
_SHORTEST_EDGE = {"Bit", "CLIP", "ChineseCLIP", "MobileNetV1", "MobileNetV2", "MobileViT", "PoolFormer"}
#: ConvNeXT's own rule, also ResNet's: below 384 px a resize by ``crop_pct`` and a crop, else both edges.
_CROP_PCT = {"ConvNext", "ConvNeXT"}
_CROP_PCT_BELOW_PX = 384
_CROP_PCT_DEFAULT = 224 / 256

#: Those whose own default is bicubic, where the file names no filter; the others' is bilinear.
_BICUBIC = {"Beit", "Bit", "Blip", "CLIP", "ChineseCLIP", "Deit", "DeiT", "PoolFormer", "Siglip"}

_ENDING = re.compile(r"(ImageProcessor(Fast|Pil)?|FeatureExtractor)$")


def find_processor(folder: Path) -> tuple[dict[str, Any], Path] | None:
    """Return the description of the image processor and the file it stands in, or None.

    Raises
    ------
    ManifestError
        The file cannot be read. Not retryable.
    """
    for name in PROCESSOR_NAMES:
        path = folder / name
        if path.is_file():
            values = read_json(path)
            nested = values.get("image_processor")
            if isinstance(nested, dict):
                return nested, path
            # A processor_config.json of transformers 4 holds other things.
            if name == PROCESSOR_NAMES[0] or "image_processor_type" in values:
                return values, path
    return None


def labels_of(config: Mapping[str, Any], path: Path) -> tuple[str, ...]:
    """Return ``id2label`` in the order of the graph's output.

    Raises
    ------
    ManifestError
        It is absent, or its keys are not 0, 1, 2 and so on. Not retryable.
    """
    names = config.get("id2label")
    if not isinstance(names, dict) or not names:
        raise ManifestError(f"{path}: id2label: missing; give labels in manifest.json (docs/models.md)")
    try:
        return tuple(str(names[str(index)]) for index in range(len(names)))
    except KeyError as error:
        raise ManifestError(f"{path}: id2label: the key {error} is missing") from error


def activation_of(config: Mapping[str, Any]) -> Activation:
    """Return what makes probabilities of the logits."""
    return "sigmoid" if config.get("problem_type") == "multi_label_classification" else "softmax"


def input_of(processor: Mapping[str, Any], path: Path) -> Input:
    """Return the preprocessing that an image processor's file describes.

    Raises
    ------
    ManifestError
        The processor is of another kind, or a key is missing or wrong. Not retryable.
    """
    values: dict[str, Any] = {}
    if processor.get("do_resize", True):
        values |= _sizes(processor, path)
    elif processor.get("do_center_crop"):
        values["crop"] = _size(processor, "crop_size", path)
    if processor.get("resample") is not None:
        values["resample"] = processor["resample"]
    elif _kind(processor, path) in _BICUBIC:
        values["resample"] = "bicubic"
    if processor.get("do_flip_channel_order"):
        values["colour"] = "BGR"
    values["scale"] = processor.get("rescale_factor", 1 / 255) if processor.get("do_rescale", True) else 1.0
    if processor.get("do_normalize", True):
        values["mean"] = _statistic(processor, "image_mean", path)
        values["std"] = _statistic(processor, "image_std", path)
    return parse_manifest(Input, values, path)


def _sizes(processor: Mapping[str, Any], path: Path) -> dict[str, Any]:
    kind = _kind(processor, path)
    size = _size(processor, "size", path)
    if kind in _CROP_PCT:
        edge = size if isinstance(size, int) else size.get("shortest_edge")
        if not isinstance(edge, int):
            raise ManifestError(f"{path}: size: a {kind} processor needs shortest_edge")
        if edge >= _CROP_PCT_BELOW_PX:
            return {"resize": {"height": edge, "width": edge}}
        crop_pct = processor.get("crop_pct") or _CROP_PCT_DEFAULT
        return {"resize": {"shortest_edge": int(edge / crop_pct)}, "crop": edge}
    crops = bool(processor.get("do_center_crop"))
    if isinstance(size, int):
        # Without a kind: only those that crop take the shorter edge.
        is_square = kind in _SQUARE or (kind is None and not crops)
        size = {"height": size, "width": size} if is_square else {"shortest_edge": size}
    return {"resize": size} | ({"crop": _size(processor, "crop_size", path)} if crops else {})


def _kind(processor: Mapping[str, Any], path: Path) -> str | None:
    for key in ("image_processor_type", "feature_extractor_type"):
        name = processor.get(key)
        if name is None:
            continue
        kind = _ENDING.sub("", str(name))
        if kind not in _SQUARE | _SHORTEST_EDGE | _CROP_PCT:
            raise ManifestError(
                f"{path}: {key}: {name} is not known; describe the input in manifest.json (docs/models.md)"
            )
        return kind
    return None


def _size(processor: Mapping[str, Any], key: str, path: Path) -> int | dict[str, Any]:
    size = processor.get(key)
    if isinstance(size, int | dict):
        return size
    raise ManifestError(f"{path}: {key}: must be a number of pixels or an object, not {size!r}")


def _statistic(processor: Mapping[str, Any], key: str, path: Path) -> Any:
    if processor.get(key) is None:
        raise ManifestError(f"{path}: {key}: missing")
    value = processor[key]
    return [value] * 3 if isinstance(value, int | float) else value
