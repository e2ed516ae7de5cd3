"""What a model's own generation_config.json forbids or prescribes, whoever chooses the words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from enrich.errors import ManifestError

__all__ = ["Rules", "read_rules"]

#: What would change the texts and is not obeyed here, with the values that mean nothing.
_UNKNOWN: Mapping[str, tuple[Any, ...]] = {
    "bad_words_ids": (None, []),
    "begin_suppress_tokens": (None, []),
    "constraints": (None, []),
    "encoder_no_repeat_ngram_size": (None, 0),
    "encoder_repetition_penalty": (None, 1),
    "exponential_decay_length_penalty": (None,),
    "force_words_ids": (None, []),
    "guidance_scale": (None, 1),
    "min_length": (None, 0),
    "min_new_tokens": (None, 0),
    "num_beam_groups": (None, 1),
    "sequence_bias": (None, {}),
    "suppress_tokens": (None, []),
    "watermarking_config": (None,),
}


@dataclass(frozen=True, slots=True)
class Rules:
    """Applied to the scores before anything that a caller asks for.

    Source: ``NoRepeatNGramLogitsProcessor``, ``ForcedBOSTokenLogitsProcessor`` and
    ``ForcedEOSTokenLogitsProcessor`` of Hugging Face transformers 4.57.

    Parameters
    ----------
    first : int or None
        The only token that may be made first.
    last : int or None
        The only token that may be made where the budget ends.
    no_repeat : int
        No run of so many tokens is made twice; 0: any may be.
    """

    first: int | None = None
    last: int | None = None
    no_repeat: int = 0

    def apply(
        self, scores: NDArray[np.float32], said: NDArray[np.int64], made: int, max_tokens: int
    ) -> NDArray[np.float32]:
        """Return rows of scores, (B, V), in which what is forbidden is -inf.

        Parameters
        ----------
        scores : ndarray
            float32, (B, V).
        said : ndarray
            int64, (B, S): the tokens read and made so far.
        made : int
            How many of them were made.
        max_tokens : int
            The budget.
        """
        forced = self.forced(made, max_tokens)
        if forced is not None:
            only = np.full_like(scores, -np.inf)
            only[:, forced] = 0
            return only
        if not self.no_repeat:
            return scores
        scores = scores.copy()
        for row, tokens in zip(scores, said.tolist(), strict=True):
            row[_closing(tokens, self.no_repeat)] = -np.inf
        return scores

    def forced(self, made: int, max_tokens: int) -> int | None:
        """Return the token that must be made next; None where there is a choice."""
        # The budget's end goes last, as the last one to be applied there.
        if self.last is not None and made == max_tokens - 1:
            return self.last
        return self.first if made == 0 else None


def read_rules(said: Mapping[str, Any], path: Path) -> Rules:
    """Read them as generation_config.json has them.

    Raises
    ------
    ManifestError
        A key has a wrong value, or one is set that is not obeyed here. Not retryable.
    """
    for key, harmless in _UNKNOWN.items():
        if key in said and said[key] not in harmless:
            raise ManifestError(
                f"{path}: {key}: {said[key]!r} is not supported, and its texts would be other than the "
                "model's; take the key out to have them without it"
            )
    values = {
        key: said.get(key) for key in ("forced_bos_token_id", "forced_eos_token_id", "no_repeat_ngram_size")
    }
    for key, value in values.items():
        if value is not None and (not isinstance(value, int) or value < 0):
            raise ManifestError(f"{path}: {key}: must be a number, not {value!r}")
    return Rules(
        values["forced_bos_token_id"], values["forced_eos_token_id"], values["no_repeat_ngram_size"] or 0
    )


def _closing(tokens: list[int], size: int) -> list[int]:
    """Return the tokens that would close a run of ``size`` that is there already."""
    if len(tokens) < size:
        return []
    begun = tokens[len(tokens) - size + 1 :]
    return [
        tokens[place + size - 1]
        for place in range(len(tokens) - size + 1)
        if tokens[place : place + size - 1] == begun
    ]
