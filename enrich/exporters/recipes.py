"""Which exporter takes which architecture, and in which environment; it needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

__all__ = ["CLASSIFIERS", "RECIPES", "EnvironmentName", "Recipe", "recipe_of"]

#: ``optimum``: transformers 4.57, the newest that optimum takes; ``torch``: transformers 5.
EnvironmentName = Literal["optimum", "torch"]


@dataclass(frozen=True, slots=True)
class Recipe:
    """How an architecture is exported.

    Parameters
    ----------
    environment : {"optimum", "torch"}
        Whose Python runs it.
    module : str
        The module of ``enrich.exporters`` whose ``export(model, folder)`` writes the graphs.
    """

    environment: EnvironmentName
    module: str


#: What config.json calls the architectures of image classifiers ends so.
CLASSIFIERS = "ForImageClassification"

#: By the class of transformers, as config.json calls the architecture.
RECIPES: Mapping[str, Recipe] = {
    "BlipForConditionalGeneration": Recipe("optimum", "blip"),
    "BlipForQuestionAnswering": Recipe("optimum", "blip"),
    "CLIPModel": Recipe("optimum", "dual"),
    "Florence2ForConditionalGeneration": Recipe("torch", "florence"),
    "Idefics3ForConditionalGeneration": Recipe("torch", "idefics3"),
    "LlavaForConditionalGeneration": Recipe("torch", "llava"),
    "LlavaNextForConditionalGeneration": Recipe("torch", "llava"),
    "Qwen2VLForConditionalGeneration": Recipe("torch", "qwen_vl"),
    "Qwen2_5_VLForConditionalGeneration": Recipe("torch", "qwen_vl"),
    "SiglipModel": Recipe("optimum", "dual"),
    "SmolVLMForConditionalGeneration": Recipe("torch", "idefics3"),
    "VisionEncoderDecoderModel": Recipe("optimum", "vision_writer"),
}


def recipe_of(architectures: list[str]) -> tuple[str, Recipe] | None:
    """Return the first architecture that can be exported, with its recipe; None where there is none."""
    for name in architectures:
        if name in RECIPES:
            return name, RECIPES[name]
        if name.endswith(CLASSIFIERS):
            return name, Recipe("optimum", "classifier")
    return None
