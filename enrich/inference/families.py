"""The families of models: how one is recognised, what it can serve, and how it is opened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from enrich.errors import ManifestError
from enrich.types import Decoding, Rendition

if TYPE_CHECKING:
    from enrich.inference.devices import Device
    from enrich.inference.handle import Model
    from enrich.inference.stored import StoredModel

__all__ = ["FAMILIES", "WRITERS", "Family", "family_of", "open_model", "try_out"]

_TRIAL_PX = 224
_TRIAL_LEVEL = 128
_TRIAL_TOKENS = 4
_TRIAL_TEXT, _TRIAL_QUESTION = "a grey picture", "What is this?"


@dataclass(frozen=True, slots=True)
class Family:
    """Models that are asked alike.

    Parameters
    ----------
    architectures : mapping of str to tuple of str
        Endings of what config.json calls its ``architectures``, each with the work hooks such a model
        can serve.
    hooks : tuple of str
        The work hooks of a model whose config.json names none of them.
    """

    architectures: Mapping[str, tuple[str, ...]]
    hooks: tuple[str, ...]


#: The families that write texts.
WRITERS = frozenset({"encoder-decoder", "florence", "vision-language"})

#: By the name that manifest.json calls them.
FAMILIES: Mapping[str, Family] = {
    "classifier": Family(
        {"ForImageClassification": ("enrich_tag", "enrich_age")}, ("enrich_tag", "enrich_age")
    ),
    "dual-encoder": Family(
        {"CLIPModel": ("enrich_tag", "enrich_embed"), "SiglipModel": ("enrich_tag", "enrich_embed")},
        ("enrich_tag", "enrich_embed"),
    ),
    "encoder-decoder": Family(
        {
            "VisionEncoderDecoderModel": ("enrich_caption",),
            "BlipForConditionalGeneration": ("enrich_caption",),
            "BlipForQuestionAnswering": ("enrich_answer",),
        },
        ("enrich_caption",),
    ),
    "florence": Family(
        {
            "Florence2ForConditionalGeneration": ("enrich_caption", "enrich_text", "enrich_tag"),
        },
        ("enrich_caption", "enrich_text", "enrich_tag"),
    ),
    "vision-language": Family(
        dict.fromkeys(
            (
                "Idefics3ForConditionalGeneration",
                "LlavaForConditionalGeneration",
                "LlavaNextForConditionalGeneration",
                "Qwen2VLForConditionalGeneration",
                "Qwen2_5_VLForConditionalGeneration",
                "SmolVLMForConditionalGeneration",
            ),
            ("enrich_caption", "enrich_answer", "enrich_tag", "enrich_age"),
        ),
        ("enrich_caption", "enrich_answer", "enrich_tag", "enrich_age"),
    ),
    # By manifest alone: such networks come from everywhere, and no config.json tells of them.
    "detector": Family({}, ("enrich_tag",)),
    # One number for a picture: so far, an age in years.
    "regressor": Family({}, ("enrich_age",)),
}


def family_of(config: Mapping[str, Any], path: Path) -> tuple[str, tuple[str, ...]]:
    """Return the family of a Hugging Face config.json, and the work hooks such a model can serve.

    Raises
    ------
    ManifestError
        Its ``architectures`` names none that is known. Not retryable.
    """
    said = config.get("architectures")
    names = [str(name) for name in said] if isinstance(said, list) else []
    for family_name, family in FAMILIES.items():
        for ending, hooks in family.architectures.items():
            if any(_is_one(name, ending) for name in names):
                return family_name, hooks
    known = ", ".join(
        f"...{ending}" if ending.startswith("For") else ending
        for family in FAMILIES.values()
        for ending in family.architectures
    )
    raise ManifestError(
        f"{path}: architectures: {', '.join(names) or 'none'} is none of {known}; "
        "other classifiers need a manifest.json (docs/models.md)"
    )


def open_model(stored: StoredModel, device: Device, *, threads: int | None = None) -> Model:
    """Load a model's graphs and start its schedulers.

    Raises
    ------
    ExtraMissing, ManifestError, ProviderError, InferenceError
        It cannot be loaded. Not retryable.
    """
    # Each imported when it is needed: a classifier needs no tokenizer.
    if stored.family == "dual-encoder":
        from enrich.inference.dual_encoder import DualEncoder

        return DualEncoder.open(stored, device, threads=threads)
    if stored.family == "encoder-decoder":
        from enrich.inference.encoder_decoder import EncoderDecoder

        return EncoderDecoder.open(stored, device, threads=threads)
    if stored.family == "florence":
        from enrich.inference.florence import Florence

        return Florence.open(stored, device, threads=threads)
    if stored.family == "vision-language":
        from enrich.inference.vision_language import VisionLanguage

        return VisionLanguage.open(stored, device, threads=threads)
    if stored.family == "detector":
        from enrich.inference.detector import Detector

        return Detector.open(stored, device, threads=threads)
    if stored.family == "regressor":
        from enrich.inference.regressor import Regressor

        return Regressor.open(stored, device, threads=threads)
    from enrich.inference.classifier import Classifier

    return Classifier.open(stored, device, threads=threads)


def try_out(model: Model) -> None:
    """Run a grey picture, and a few words where it reads or writes, through a model of any family.

    Raises
    ------
    UsageError, InferenceError
        It cannot do what its family does. Not retryable.
    """
    grey = np.full((_TRIAL_PX, _TRIAL_PX, 3), _TRIAL_LEVEL, np.uint8)
    rendition = Rendition(None, None, 0, grey, _TRIAL_PX, _TRIAL_PX, _TRIAL_PX, _TRIAL_PX)
    if model.family == "dual-encoder":
        model.embed([rendition])
        model.embed([_TRIAL_TEXT])
        if "enrich_tag" in model.hooks:
            model.predict([rendition], [_TRIAL_TEXT])
    elif model.family == "detector":
        model.detect([rendition])
    elif model.family == "regressor":
        model.measure([rendition])
    elif model.family in WRITERS:
        prompts = []
        if "enrich_caption" in model.hooks:
            prompts.append(model.caption_prompt(None, None))
        if "enrich_answer" in model.hooks:
            prompts.append(model.answer_prompt(_TRIAL_QUESTION, None))
        model.generate([rendition] * len(prompts), prompts, Decoding(max_tokens=_TRIAL_TOKENS))
    else:
        model.predict([rendition])


def _is_one(architecture: str, ending: str) -> bool:
    # "AltCLIPModel" ends with "CLIPModel" and is another network.
    return architecture.endswith(ending) if ending.startswith("For") else architecture == ending
