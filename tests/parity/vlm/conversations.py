"""A thousand conversations, the same on every machine: turns, roles, pictures, words of seven languages."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from parity.sentences import odd_strings

__all__ = ["COUNT", "LOGITS", "SMALL", "Conversation", "digest", "digests", "random_conversations"]

COUNT = 1000
#: Of so many, the first, it is recorded what may come next.
LOGITS = 8
_SEED = 21
#: Places among ``odd_pictures`` that cost little: a pixel, strips, squares.
SMALL = (0, 4, 7, 8, 9, 11, 12)

#: Roles with their contents: a picture by its place among ``odd_pictures``, or words.
Conversation = list[tuple[str, list[int | str]]]


def random_conversations(*, has_system: bool = True) -> list[Conversation]:
    """Return conversations of one to five turns, the last one a user's, none without words."""
    rng = random.Random(_SEED)
    # What looks like a token of the template's is read in another way here than there, on purpose.
    texts = [text for text in odd_strings(600, _SEED) if text.strip() and "<" not in text]
    made = []
    for _ in range(COUNT):
        conversation: Conversation = []
        if has_system and rng.random() < 0.3:
            conversation.append(("system", [_text(rng, texts)]))
        for _ in range(rng.choice((0, 0, 0, 1, 1, 2))):
            conversation.append(("user", _contents(rng, texts)))
            conversation.append(("assistant", [_text(rng, texts)]))
        conversation.append(("user", _contents(rng, texts)))
        made.append(conversation)
    return made


def digest(ids: Sequence[int]) -> int:
    """Return 63 bits of a prompt's tokens."""
    plain = np.asarray(ids, np.int64).tobytes()
    return int.from_bytes(hashlib.sha256(plain).digest()[:8], "big") >> 1


def digests(prompts: Sequence[Sequence[int]]) -> NDArray[np.int64]:
    """Return the digest of each."""
    return np.asarray([digest(ids) for ids in prompts], np.int64)


def _contents(rng: random.Random, texts: Sequence[str]) -> list[int | str]:
    contents: list[int | str] = [_text(rng, texts) for _ in range(rng.choice((1, 1, 1, 1, 2)))]
    for _ in range(rng.choice((0, 1, 1, 1, 2, 3))):
        contents.insert(rng.choice((0, 0, 0, rng.randint(0, len(contents)))), rng.choice(SMALL))
    return contents


def _text(rng: random.Random, texts: Sequence[str]) -> str:
    text = rng.choice(texts)
    chance = rng.random()
    if chance < 0.1:
        return f" {text}"
    return f"{text}\n " if chance < 0.2 else text
