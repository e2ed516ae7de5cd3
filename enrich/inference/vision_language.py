"""Vision-language models: pictures stand in the text of a conversation, and one decoder reads it all.

What an architecture has of its own, its ``Sight``, is in a module of its own; the conversation's text comes
from the model's chat template, and a ``JointDecoder`` writes what comes next.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from enrich.errors import ManifestError, UsageError
from enrich.inference.chat_template import ChatTemplate, read_chat_template
from enrich.inference.devices import Device
from enrich.inference.generator import Generator
from enrich.inference.instructions import TALK_TOKENS, Instructions
from enrich.inference.joint_cache import rows_fitting
from enrich.inference.joint_decoder import JointDecoder, Scene
from enrich.inference.joint_prompt import JointPrompts
from enrich.inference.manifest import read_json
from enrich.inference.sampling import check_decoding
from enrich.inference.scheduler import Stats
from enrich.inference.sight import Look, Sight
from enrich.inference.sights import sight_of
from enrich.inference.speech import read_ending
from enrich.inference.stored import StoredModel
from enrich.inference.text import Tokenizer, load_tokenizer
from enrich.inference.vocabulary import check_vocabulary
from enrich.inference.writer import Writer
from enrich.inference.writing import Request
from enrich.types import Decoding, Generated, Rendition, Turn

__all__ = ["VisionLanguage"]

_CPU = Device("cpu")


class VisionLanguage(Writer):
    """A model that converses about pictures, from any thread.

    Parameters
    ----------
    model : StoredModel
        What the graphs take and give.
    sight : Sight
        Its eyes.
    decoder : JointDecoder
        Reads and writes.
    tokenizer : Tokenizer
        The model's.
    template : ChatTemplate
        Makes a conversation to the text that the model knows.

    Raises
    ------
    ManifestError
        The files do not fit together. Not retryable.
    """

    def __init__(
        self,
        model: StoredModel,
        sight: Sight,
        decoder: JointDecoder,
        tokenizer: Tokenizer,
        template: ChatTemplate,
    ) -> None:
        super().__init__(model)
        #: Its eyes.
        self.sight = sight
        self._look_key = (model.name, model.revision, "look")
        self._prompting = Instructions(model.name, model.manifest, model.languages, model.hooks)
        self._repetition_penalty = _read_repetition_penalty(model)
        ending = read_ending(model)
        check_vocabulary(model, tokenizer, decoder.words, ending.tokens, decoder.embed)
        #: Makes conversations to prompts.
        self.prompts = JointPrompts(model, sight, tokenizer, template)
        self._rows_max = rows_fitting(decoder.token_bytes)
        self._generator = Generator(decoder, tokenizer, ending, name=model.name, rows_max=self._rows_max)

    @classmethod
    def open(cls, model: StoredModel, device: Device = _CPU, *, threads: int | None = None) -> VisionLanguage:
        """Load the graphs, look at a blank picture, read a word, and start the schedulers.

        Raises
        ------
        ExtraMissing, ManifestError, ProviderError, InferenceError
            See ``Session`` and this class. Not retryable.
        """
        # First what costs nothing to miss.
        tokenizer = load_tokenizer(model.file("tokenizer.json"), model.folder)
        template = read_chat_template(model)
        kind = sight_of(model)
        image = kind.image_token_id(model, tokenizer)
        sight = kind.open(model, tokenizer, device, threads=threads)
        try:
            decoder = JointDecoder.open(model, device, image_token_id=image, threads=threads)
            return cls(model, sight, decoder, tokenizer, template)
        except BaseException:
            # Its scheduler runs already.
            sight.close()
            raise

    @property
    def provider(self) -> str:
        """The execution provider in use, as ONNX Runtime names it."""
        return self.sight.provider

    @property
    def stats(self) -> Stats:
        """What the scheduler of its pictures did so far."""
        return self.sight.stats

    @property
    def size_px(self) -> int:
        """The longest edge of a picture that it makes use of."""
        return self.sight.size_px

    def generate(
        self,
        renditions: Sequence[Rendition],
        prompts: Sequence[str],
        decoding: Decoding = Decoding(),  # noqa: B008  # frozen
        *,
        deadline: float | None = None,
        interactive: bool = False,
        on_text: Callable[[int, str], None] | None = None,
        cancel: threading.Event | None = None,
    ) -> list[Generated]:
        """Answer each prompt in view of the rendition beside it; see ``ModelHandle.generate``.

        Raises
        ------
        UsageError
            A prompt is too long, or a field of ``decoding`` out of range.
        InferenceError
            The runtime refused a picture or a text, the deadline passed, or ``cancel`` was set.

        None of them is retryable.
        """
        if len(renditions) != len(prompts):
            raise UsageError(f"{len(prompts)} prompts were given for {len(renditions)} renditions")
        turns = [
            # A string of its own kind would hide that somebody said it.
            (Turn("user", (rendition, str(prompt))),)
            for rendition, prompt in zip(renditions, prompts, strict=True)
        ]
        budgets = [decoding.max_tokens or self._prompting.budget(prompt) for prompt in prompts]
        return self._write(turns, budgets, decoding, deadline, interactive, on_text, cancel)

    def converse(
        self,
        conversations: Sequence[Sequence[Turn]],
        decoding: Decoding = Decoding(),  # noqa: B008  # frozen
        *,
        deadline: float | None = None,
        interactive: bool = False,
        on_text: Callable[[int, str], None] | None = None,
        cancel: threading.Event | None = None,
    ) -> list[Generated]:
        """Say what comes next in each conversation; the rest as for ``generate``.

        Raises
        ------
        UsageError
            A conversation is too long, empty, or of turns that the model does not know in this order.
        InferenceError
            As ``generate``.

        None of them is retryable.
        """
        budgets = [decoding.max_tokens or TALK_TOKENS] * len(conversations)
        return self._write(conversations, budgets, decoding, deadline, interactive, on_text, cancel)

    def close(self) -> None:
        """Finish what waits; later calls are refused."""
        self.sight.close()
        self._generator.close()

    def _write(
        self,
        conversations: Sequence[Sequence[Turn]],
        budgets: Sequence[int],
        decoding: Decoding,
        deadline: float | None,
        interactive: bool,
        on_text: Callable[[int, str], None] | None,
        cancel: threading.Event | None,
    ) -> list[Generated]:
        check_decoding(decoding, beams_max=self._rows_max)
        if decoding.repetition_penalty == 1:
            decoding = dataclasses.replace(decoding, repetition_penalty=self._repetition_penalty)
        pictures = [_pictures(turns) for turns in conversations]
        shown = [one for some in pictures for one in some]
        looks = self._looks(shown)
        prompts = [
            self.prompts.read(turns, [looks[id(one)] for one in some])
            for turns, some in zip(conversations, pictures, strict=True)
        ]
        seen = self._seen(shown, looks, interactive=interactive)
        return self._generator.run(
            [
                Request(
                    prompt.ids,
                    Scene(tuple(seen[id(one)] for one in some), prompt.positions, prompt.ahead),
                    min(budget, prompt.room),
                    decoding,
                    deadline,
                    interactive,
                    _listener(on_text, index),
                    cancel,
                )
                for index, (prompt, some, budget) in enumerate(zip(prompts, pictures, budgets, strict=True))
            ]
        )

    def _looks(self, renditions: Sequence[Rendition]) -> dict[int, Look]:
        """Return how each rendition is looked at, prepared once for all steps of this model."""
        for rendition in renditions:
            if self._look_key not in rendition.tensors:
                rendition.tensors[self._look_key] = self.sight.look(rendition.image)
        return {id(rendition): rendition.tensors[self._look_key] for rendition in renditions}

    def _seen(
        self, renditions: Sequence[Rendition], looks: Mapping[int, Look], *, interactive: bool
    ) -> dict[int, NDArray[np.float32]]:
        """Return each rendition's features, (T, D), read-only, made once for all steps of this model."""
        key = (self.name, self.revision, "seen")
        missing = list({id(one): one for one in renditions if key not in one.tensors}.values())
        if missing:
            rows = self.sight.see([looks[id(one)] for one in missing], interactive=interactive)
            for rendition, features in zip(missing, rows, strict=True):
                # A copy: the row alone could keep its whole batch.
                rendition.tensors[key] = features.astype(np.float32)
                rendition.tensors[key].setflags(write=False)
                # The pixels have done their work; of a picture in tiles they are 50 MB.
                look = looks[id(rendition)]
                rendition.tensors[self._look_key] = Look({}, look.text, look.grid)
        return {id(rendition): rendition.tensors[key] for rendition in renditions}


def _pictures(turns: Sequence[Turn]) -> list[Rendition]:
    return [one for turn in turns for one in turn.content if not isinstance(one, str)]


def _read_repetition_penalty(model: StoredModel) -> float:
    path = model.file("generation_config.json")
    said = 1.0 if path is None else read_json(path).get("repetition_penalty") or 1.0
    if not isinstance(said, int | float) or said <= 0:
        raise ManifestError(f"{path}: repetition_penalty: must be a number over 0, not {said!r}")
    return float(said)


def _listener(on_text: Callable[[int, str], None] | None, index: int) -> Callable[[str], None] | None:
    return None if on_text is None else lambda piece: on_text(index, piece)
