"""What is generated for the references: prompts, and how words are chosen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = [
    "CASES",
    "EXPORTED_GENERATORS",
    "GENERATORS",
    "STEPS",
    "STRINGS",
    "STRINGS_SEED",
    "TEXTS",
    "TOKENIZERS",
    "Case",
]

STEPS = 32

#: Architectures that speak.
GENERATORS = ("ved", "blip-caption", "blip-vqa")

#: Their exports: of ved there are two, optimum's and ours, whose cache holds what is made of the picture.
EXPORTED_GENERATORS = (*GENERATORS, "ved-cached")

#: An architecture for each kind of tokenizer.
TOKENIZERS = ("ved", "clip", "blip-caption", "siglip")

#: How many odd strings are recorded, and which.
STRINGS, STRINGS_SEED = 300, 1

_DIFFERENT = ("", "what colour is the dog?", "犬は何色ですか。", "Ein kleiner roter Kreis", "두 사람이 걷고")
_SAME = ("what colour is the dog?",) * 5

#: Labels for the dual encoders: of every length, one longer than either reads.
TEXTS = (
    "a photo of a cat",
    "Two people walk in the PARK!",
    "un cuadrado azul",
    "白色背景上有一个红色的小圆",
    "흰 바탕",
    "",
    "x",
    "a small red circle lies above a large blue square, " * 9,
)


@dataclass(frozen=True)
class Case:
    """One way of generating for five pictures.

    Parameters
    ----------
    prompts : tuple of str
        One per picture.
    beams : int
        1: greedy.
    repetition_penalty : float
        1: none.
    is_ended : bool
        Whether the model's end is a token it does write.
    is_together : bool
        Whether the reference reads all pictures in one batch; its prompts have one length then.
    settings : dict
        What the model's generation_config.json says besides.
    """

    prompts: tuple[str, ...] = _DIFFERENT
    beams: int = 1
    repetition_penalty: float = 1.0
    is_ended: bool = False
    is_together: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)


#: By the name under which they are recorded.
CASES = {
    "greedy": Case(),
    "greedy_together": Case(_SAME, is_together=True),
    "greedy_penalty": Case(repetition_penalty=1.5),
    "greedy_ended": Case(is_ended=True),
    "beams": Case(beams=4),
    "beams_together": Case(_SAME, beams=4, is_together=True),
    "beams_penalty": Case(beams=4, repetition_penalty=1.5),
    "beams_ended": Case(beams=4, is_ended=True),
    "beams_ended_together": Case(_SAME, beams=4, is_ended=True, is_together=True),
    "beams_ended_early": Case(
        beams=4, is_ended=True, settings={"length_penalty": 0.6, "early_stopping": True}
    ),
    "beams_ended_late": Case(
        beams=4, is_ended=True, settings={"length_penalty": 2.0, "early_stopping": "never"}
    ),
}
