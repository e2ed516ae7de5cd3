"""The models that enrich knows by name: where each comes from, what it serves, under which licence.

No revision of a repository of the hub is pinned here, since none could be looked up when the list was
written: ``main`` is asked for, and the commit that it was goes into the model's manifest. Licences and
sizes are those of the models' cards as remembered then; what the hub says is recorded with each pull.
What comes by https instead is pinned by its SHA-256.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from enrich.hub.entry import Listed
from enrich.hub.listed_web import WEB_MODELS

__all__ = ["ALIASES", "LISTED", "advice", "described", "find", "resolve"]

_HUB = "hf:"


_CAPTION, _ANSWER, _TAG, _AGE, _EMBED, _TEXT = (
    f"enrich_{hook}" for hook in ("caption", "answer", "tag", "age", "embed", "text")
)
#: As the cards of Qwen2-VL and Qwen2.5-VL name what is read in pictures; what is written was not judged.
_QWEN = {"languages": ["en", "zh", "fr", "de", "es", "ja", "ko"]}
_TALKS = (_CAPTION, _ANSWER, _TAG, _AGE)
#: As transformers.js's repositories have them.
_PUBLISHED = ("fp32", "fp16", "int8", "q4", "q4f16")

_MODELS = (
    Listed(
        "blip-image-captioning-base",
        "Salesforce/blip-image-captioning-base",
        None,
        "encoder-decoder",
        (_CAPTION,),
        "BSD-3-Clause",
        247_000_000,
    ),
    Listed(
        "blip-vqa-base",
        "Salesforce/blip-vqa-base",
        None,
        "encoder-decoder",
        (_ANSWER,),
        "BSD-3-Clause",
        385_000_000,
    ),
    Listed(
        "vit-gpt2-image-captioning",
        "nlpconnect/vit-gpt2-image-captioning",
        "Xenova/vit-gpt2-image-captioning",
        "encoder-decoder",
        (_CAPTION,),
        "Apache-2.0",
        239_000_000,
        ("fp32", "fp16", "int8"),
    ),
    Listed(
        "florence-2-base-ft",
        "microsoft/Florence-2-base-ft",
        "onnx-community/Florence-2-base-ft",
        "florence",
        (_CAPTION, _TEXT, _TAG),
        "MIT",
        230_000_000,
        _PUBLISHED,
        note="captions in English only",
    ),
    Listed(
        "smolvlm-256m",
        "HuggingFaceTB/SmolVLM-256M-Instruct",
        "HuggingFaceTB/SmolVLM-256M-Instruct",
        "vision-language",
        _TALKS,
        "Apache-2.0",
        256_000_000,
        _PUBLISHED,
    ),
    Listed(
        "smolvlm-500m",
        "HuggingFaceTB/SmolVLM-500M-Instruct",
        "HuggingFaceTB/SmolVLM-500M-Instruct",
        "vision-language",
        _TALKS,
        "Apache-2.0",
        507_000_000,
        _PUBLISHED,
    ),
    Listed(
        "qwen2.5-vl-3b",
        "Qwen/Qwen2.5-VL-3B-Instruct",
        None,
        "vision-language",
        _TALKS,
        "Qwen Research License",
        3_750_000_000,
        aliases=("runware:152@1",),
        note="the licence is for research, not for commercial use",
        manifest=_QWEN,
    ),
    Listed(
        "qwen2.5-vl-7b",
        "Qwen/Qwen2.5-VL-7B-Instruct",
        None,
        "vision-language",
        _TALKS,
        "Apache-2.0",
        8_290_000_000,
        aliases=("runware:152@2", "runware:152@50"),
        manifest=_QWEN,
    ),
    Listed(
        "llava-1.6-mistral-7b",
        "llava-hf/llava-v1.6-mistral-7b-hf",
        None,
        "vision-language",
        _TALKS,
        "Apache-2.0",
        7_570_000_000,
        aliases=("runware:150@2",),
    ),
    Listed(
        "clip-vit-large-patch14",
        "openai/clip-vit-large-patch14",
        "Xenova/clip-vit-large-patch14",
        "dual-encoder",
        (_TAG, _EMBED),
        "MIT",
        428_000_000,
        ("fp32", "fp16", "int8"),
        aliases=("runware:151@1",),
    ),
    Listed(
        "clip-vit-base-patch32",
        "openai/clip-vit-base-patch32",
        "Xenova/clip-vit-base-patch32",
        "dual-encoder",
        (_TAG, _EMBED),
        "MIT",
        151_000_000,
        ("fp32", "fp16", "int8"),
    ),
    Listed(
        "siglip2-base",
        "google/siglip2-base-patch16-224",
        "onnx-community/siglip2-base-patch16-224-ONNX",
        "dual-encoder",
        (_TAG, _EMBED),
        "Apache-2.0",
        375_000_000,
        _PUBLISHED,
    ),
    Listed(
        "vit-age-classifier",
        "nateraw/vit-age-classifier",
        None,
        "classifier",
        (_AGE,),
        "none stated",
        86_000_000,
        aliases=("runware:153@1",),
        note="judges faces: name a detector as `faces`; read docs/privacy.md first",
        manifest={"hooks": [_AGE]},
    ),
    Listed(
        "open-age-detection",
        "prithivMLmods/open-age-detection",
        None,
        "classifier",
        (_AGE,),
        "Apache-2.0",
        93_000_000,
        aliases=("runware:154@1",),
        note="judges faces: name a detector as `faces`; read docs/privacy.md first",
        manifest={"hooks": [_AGE]},
    ),
    *WEB_MODELS,
)

#: The list, by name.
LISTED: Mapping[str, Listed] = {one.name: one for one in _MODELS}

#: What else models are called by: other services' names for them.
ALIASES: Mapping[str, str] = {alias: one.name for one in _MODELS for alias in one.aliases}

_BY_REPOSITORY: Mapping[str, str] = {
    place.lower(): one.name for one in _MODELS for place in (one.repository, one.onnx) if place
}


def resolve(name: str) -> str:
    """Return the name in the store of whatever a model is called by.

    Aliases, and ``hf:owner/name`` or ``owner/name`` of the hub, are understood; what is none of them is
    returned as it is.
    """
    if name in ALIASES:
        return ALIASES[name]
    repository = name.removeprefix(_HUB)
    if repository.count("/") != 1 or "@" in repository:
        return name
    return _BY_REPOSITORY.get(repository.lower(), repository.partition("/")[2])


def find(name: str) -> Listed | None:
    """Return a model of the list by its name or an alias; None where it is none."""
    return LISTED.get(resolve(name))


def advice(name: str) -> str | None:
    """Return the command that brings a model, or None if it is not on the list."""
    listed = LISTED.get(name)
    return None if listed is None else listed.command


def described(listed: Listed) -> dict[str, Any]:
    """Return a model of the list as one flat row."""
    row = dataclasses.asdict(listed)
    row.pop("files"), row.pop("manifest")
    return {**row, "bytes": listed.bytes, "command": listed.command}
