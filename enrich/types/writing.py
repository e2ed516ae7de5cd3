"""What models that write are told, and what they wrote."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from enrich.types.renditions import Rendition

__all__ = ["Decoding", "Generated", "Turn"]


@dataclass(frozen=True, eq=False, slots=True)
class Turn:
    """One message of a conversation.

    Parameters
    ----------
    role : {"system", "user", "assistant"}
        Who says it.
    content : tuple of str or Rendition
        Words and pictures, in the order in which they stand.
    """

    role: Literal["system", "user", "assistant"]
    content: tuple[str | Rendition, ...]


@dataclass(frozen=True, slots=True)
class Decoding:
    """How a model chooses its words; the defaults are greedy and say the same each time.

    Parameters
    ----------
    max_tokens : int or None
        At most so many tokens are made; None: the model's own budget.
    beams : int or None
        Sequences kept in beam search; 1 is none. None: as many as the model's own files say, mostly 1.
    temperature : float
        0: the likeliest token each time; else logits are divided by it and a token is drawn.
    top_k : int
        Only so many of the likeliest tokens may be drawn; 0: all.
    top_p : float
        Only the likeliest tokens that make up this share of the probability may be drawn.
    repetition_penalty : float
        Logits of tokens that were seen are divided by it (multiplied where negative); 1: not at all.
    seed : int or None
        Where drawing starts; None: anywhere.
    stop : tuple of str
        Texts that end the generation; they are not part of it.
    choices : tuple of str
        Nothing but one of these is written, the likeliest; its confidence is its share among them.
        Empty: anything may be written.
    """

    max_tokens: int | None = None
    beams: int | None = None
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    repetition_penalty: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Generated:
    """What a model wrote.

    Parameters
    ----------
    text : str
        Without the prompt, the end token and surrounding space.
    finish : {"stop", "length"}
        Whether it came to an end by itself or by its budget.
    prompt_tokens, tokens : int
        How many tokens were read and made.
    confidence : float or None
        The geometric mean of the tokens' probabilities, 0..1; None where none was made.
    """

    text: str
    finish: Literal["stop", "length"]
    prompt_tokens: int
    tokens: int
    confidence: float | None = None
