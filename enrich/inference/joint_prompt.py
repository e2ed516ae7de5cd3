"""A conversation with pictures as its model reads it: tokens, positions, and places for the features."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from enrich.errors import ManifestError, UsageError
from enrich.inference.chat_template import ChatTemplate, Segment
from enrich.inference.sight import Look, Sight
from enrich.inference.stored import StoredModel
from enrich.inference.text import Tokenizer
from enrich.types import Rendition, Turn

__all__ = ["JointPrompt", "JointPrompts"]

#: A model that does not say how much it can read is not asked for more than this.
_POSITIONS = 32_768


@dataclass(frozen=True, eq=False, slots=True)
class JointPrompt:
    """A conversation, ready to be read.

    Parameters
    ----------
    ids : tuple of int
        Its tokens, up to where the model goes on.
    positions : ndarray
        int64, (S,) or (3, S): where they stand.
    ahead : int
        By how much the positions of later tokens run ahead of their count.
    room : int
        How many tokens may be written after it.
    """

    ids: tuple[int, ...]
    positions: NDArray[np.int64]
    ahead: int
    room: int


class JointPrompts:
    """Makes conversations to prompts, from any thread.

    Parameters
    ----------
    model : StoredModel
        Whose they are.
    sight : Sight
        Says what stands for a picture.
    tokenizer : Tokenizer
        The model's.
    template : ChatTemplate
        The form in which it knows conversations.

    Raises
    ------
    ManifestError
        The template has no place for a picture, or fails. Not retryable.
    """

    def __init__(
        self, model: StoredModel, sight: Sight, tokenizer: Tokenizer, template: ChatTemplate
    ) -> None:
        self._model, self._sight, self._tokenizer, self._template = model, sight, tokenizer, template
        #: What stands for a row of a picture's features.
        self.image_token_id = sight.image_token_id(model, tokenizer)
        self._positions = _read_positions(model.config)
        blank = Rendition(None, None, 0, np.zeros((1, 1, 3), np.uint8), 1, 1, 1, 1)
        self._with_looks(template.render([Turn("user", (blank, "?"))]), [Look({}, "", ())])

    def read(self, turns: Sequence[Turn], looks: Sequence[Look]) -> JointPrompt:
        """Return a conversation's prompt.

        Parameters
        ----------
        turns : sequence of Turn
            The conversation; the last turn is the user's.
        looks : sequence of Look
            Its pictures, in the order in which they stand there.

        Raises
        ------
        UsageError
            The conversation is empty, too long, or in an order that the template refuses. Not retryable.
        ManifestError
            The template fails, or has no place for the pictures. Not retryable.
        """
        if not turns or turns[-1].role != "user":
            raise UsageError("the last turn of a conversation must be the user's")
        ids = self.ids(turns, looks)
        # The last token is written and not read again.
        room = self._positions - len(ids) + 1
        if room < 1:
            raise UsageError(
                f"the conversation has {len(ids)} tokens, its pictures included, and the model "
                f"{self._model.name} reads at most {self._positions}: shorten it, or show fewer pictures"
            )
        positions, ahead = self._sight.positions(np.asarray(ids, np.int64), looks)
        return JointPrompt(tuple(ids), positions, ahead, room)

    def ids(self, turns: Sequence[Turn], looks: Sequence[Look]) -> list[int]:
        """Return a conversation's tokens; see ``read``."""
        segments = self._with_looks(self._template.render(turns), looks)
        bos = self._template.bos
        # As transformers does: a template that writes the start of a text gets no second one.
        special = not (bos and segments and segments[0].text.startswith(bos) and not segments[0].is_said)
        parts = [(segment.text, segment.is_said) for segment in segments]
        return self._tokenizer.encode_said(parts, special=special, never=(self.image_token_id,))

    def _with_looks(self, segments: Sequence[Segment], looks: Sequence[Look]) -> list[Segment]:
        """Put what stands for the pictures into the places that the template has for them."""
        placeholder = self._sight.placeholder
        places = sum(segment.text.count(placeholder) for segment in segments if not segment.is_said)
        if places != len(looks):
            raise ManifestError(
                f"{self._model.folder}: the chat template has {places} places ({placeholder}) for "
                f"{len(looks)} pictures; copy the template from where the weights come from"
            )
        texts = iter(looks)
        return [
            segment if segment.is_said else Segment(_filled(segment.text, placeholder, texts), False)
            for segment in segments
        ]


def _read_positions(config: Mapping[str, Any]) -> int:
    """Return how many tokens the model can read."""
    text = config.get("text_config")
    for source in (text if isinstance(text, dict) else {}, config):
        said = source.get("max_position_embeddings")
        if isinstance(said, int):
            return said
    return _POSITIONS


def _filled(text: str, placeholder: str, looks: Iterator[Look]) -> str:
    first, *others = text.split(placeholder)
    return first + "".join(next(looks).text + other for other in others)
