"""What every vision-language model must agree with its reference in, whatever its architecture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from parity.vlm.conversations import Conversation, digests, random_conversations
from parity.vlm.references import numbers_of, pictures, rows_of, stored_model, turns_of

from enrich.inference.chat_template import read_chat_template
from enrich.inference.devices import Device
from enrich.inference.joint_decoder import JointDecoder, Scene
from enrich.inference.sight import Sight
from enrich.inference.text import Tokenizer
from enrich.inference.vision_language import VisionLanguage
from enrich.types import Decoding

__all__ = ["LOGITS_APART_MAX", "Reference"]

_CPU = Device("cpu")
#: Of their range.
LOGITS_APART_MAX = 1e-4


class _SpelledTokenizer(Tokenizer):
    """Says each token's id, special or not, so that texts are equal only if all tokens are."""

    def decode(self, ids: Sequence[int]) -> str:
        return " ".join(map(str, ids))


class Reference:
    """One architecture's model, opened from what was recorded; close it.

    Parameters
    ----------
    name : str
        The architecture's.
    kind : type of Sight
        Its eyes.
    work : Path
        An empty folder for the model.
    conversations : sequence of Conversation
        What the reference was asked.
    run_tokens : int
        How many tokens of a prompt we read in one run.
    """

    def __init__(
        self,
        name: str,
        kind: type[Sight],
        work: Path,
        conversations: Sequence[Conversation] = (),
        *,
        run_tokens: int = 512,
    ) -> None:
        self.numbers = numbers_of(name)
        self.stored = stored_model(name, work)
        self.conversations = conversations
        tokenizer = _SpelledTokenizer(self.stored.folder / "tokenizer.json")
        self.sight = kind.open(self.stored, tokenizer, _CPU, threads=1)
        image = tokenizer.token_id(self.sight.image_token)
        assert image is not None
        self.decoder = JointDecoder.open(
            self.stored, _CPU, image_token_id=image, threads=1, run_tokens=run_tokens
        )
        template = read_chat_template(self.stored)
        self.model = VisionLanguage(self.stored, self.sight, self.decoder, tokenizer, template)

    def close(self) -> None:
        self.model.close()

    def features(self) -> NDArray[np.float32]:
        """Return our features of the conversations' pictures in turn."""
        renditions = pictures()
        places = [
            one
            for conversation in self.conversations
            for _, contents in conversation
            for one in contents
            if isinstance(one, int)
        ]
        return np.concatenate(self.sight.see([self.sight.look(renditions[one].image) for one in places]))

    def prompts(self, conversations: Sequence[Conversation] | None = None) -> list[list[int]]:
        """Return our tokens of the conversations."""
        renditions = pictures()
        looks = {id(one): self.sight.look(one.image) for one in renditions}
        asked = (turns_of(one, renditions) for one in conversations or self.conversations)
        return [
            self.model.prompts.ids(
                turns, [looks[id(one)] for turn in turns for one in turn.content if not isinstance(one, str)]
            )
            for turns in asked
        ]

    def said(self, steps: int, *, is_alone: bool = False, **decoding: Any) -> list[list[int]]:
        """Return the tokens we write in each conversation: one after the other, or all at once."""
        renditions = pictures()
        asked = [turns_of(conversation, renditions) for conversation in self.conversations]
        how = Decoding(max_tokens=steps, **decoding)
        groups = [[one] for one in asked] if is_alone else [asked]
        written = [one for group in groups for one in self.model.converse(group, how)]
        return [[int(token) for token in one.text.split()] for one in written]

    def expected(self, key: str) -> list[list[int]]:
        """Return recorded rows of tokens."""
        return rows_of(self.numbers[key])

    def check_logits(self) -> None:
        """Compare what may come next in the first random conversations, as shares of the range."""
        expected = self.numbers["logits"]
        renditions = pictures()
        for logits, conversation in zip(expected, random_conversations(), strict=False):
            turns = turns_of(conversation, renditions)
            shown = [one for turn in turns for one in turn.content if not isinstance(one, str)]
            looks = [self.sight.look(one.image) for one in shown]
            prompt = self.model.prompts.read(turns, looks)
            scene = Scene(tuple(self.sight.see(looks)) if looks else (), prompt.positions, prompt.ahead)
            ours, _ = self.decoder.prefill(np.asarray([prompt.ids], np.int64), [scene])
            assert np.abs(ours[0] - logits).max() <= LOGITS_APART_MAX * np.ptp(logits), conversation

    def check_conversations(self) -> None:
        """Compare a digest of our tokens of each random conversation with transformers'."""
        conversations = random_conversations()
        ours = digests(self.prompts(conversations))
        assert len(np.unique(ours)) > len(ours) / 2, "alike conversations prove little"
        wrong = np.flatnonzero(ours != self.numbers["conversations"])
        assert not len(wrong), f"{len(wrong)} differ; the first: {conversations[wrong[0]]}"
