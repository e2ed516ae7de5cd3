"""Encoder-decoders: a picture is encoded, and a decoder writes about it, word by word.

Source of what each architecture reads first and where it ends: ``VisionEncoderDecoderModel`` and
``modeling_blip.py`` of Hugging Face transformers 4.57.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray

from enrich.errors import UsageError
from enrich.inference.decoder import Decoder
from enrich.inference.devices import Device
from enrich.inference.generator import ROWS_MAX, Generator
from enrich.inference.ports import choose_port, picture_port
from enrich.inference.prompting import Prompting
from enrich.inference.questioning import Over, Questioning, read_questions
from enrich.inference.sampling import check_decoding
from enrich.inference.scheduler import Scheduler, Stats
from enrich.inference.session import Session, open_session
from enrich.inference.speech import read_speech
from enrich.inference.stored import StoredModel
from enrich.inference.text import Tokenizer, load_tokenizer
from enrich.inference.vocabulary import check_vocabulary
from enrich.inference.writer import Writer
from enrich.inference.writing import Request
from enrich.types import Decoding, Generated, Rendition

__all__ = ["EncoderDecoder"]

_CPU = Device("cpu")
_STATES = ["last_hidden_state", "image_features"]


class EncoderDecoder(Writer):
    """A model that writes about pictures, from any thread.

    Parameters
    ----------
    model : StoredModel
        What the graphs take and give.
    encoder : Session
        From pictures to states.
    decoder : Decoder
        From states and tokens to the next token.
    questioning : Questioning or None
        From a question and a picture's states to the states that the answer is written from.
    tokenizer : Tokenizer
        The model's.
    prompting : Prompting or None
        How it is asked, where not by its manifest alone.

    Raises
    ------
    ManifestError
        The files do not fit together.
    InferenceError
        A graph refused a blank picture, or what the one before it gave.

    None of them is retryable.
    """

    def __init__(
        self,
        model: StoredModel,
        encoder: Session,
        decoder: Decoder,
        questioning: Questioning | None,
        tokenizer: Tokenizer,
        prompting: Prompting | None = None,
    ) -> None:
        super().__init__(model)
        self._encoder, self._questioning, self._tokenizer = encoder, questioning, tokenizer
        self._speech = read_speech(model)
        self._prompting = prompting or Prompting(model.name, model.manifest, model.languages, model.hooks)
        self._pixels = picture_port(model, encoder.inputs).name
        self._states = choose_port(model, encoder.outputs, model.manifest.output.name, _STATES, "output").name
        self._try(decoder)
        self._scheduler = Scheduler(self._see, encoder.buckets, name=model.name)
        self._generator = Generator(decoder, tokenizer, self._speech.ending, name=model.name)

    @classmethod
    def open(cls, model: StoredModel, device: Device = _CPU, *, threads: int | None = None) -> Self:
        """Load the graphs, run one blank picture, and start the schedulers.

        Raises
        ------
        ExtraMissing, ManifestError, ProviderError, InferenceError
            See ``Session`` and this class. Not retryable.
        """
        # First what costs nothing to miss.
        tokenizer = load_tokenizer(model.file("tokenizer.json"), model.folder)
        text_encoder = model.graphs.get("text_encoder")
        return cls(
            model,
            open_session(model.graphs["encoder"], device, threads=threads),
            Decoder.open(model.graphs, device, threads=threads),
            # Each length of a question is a shape of its own.
            Over(open_session(text_encoder, device, threads=threads, keeps_memory=False))
            if text_encoder
            else None,
            tokenizer,
        )

    @property
    def provider(self) -> str:
        """The execution provider in use, as ONNX Runtime names it."""
        return self._encoder.provider

    @property
    def stats(self) -> Stats:
        """What the scheduler of its pictures did so far."""
        return self._scheduler.stats

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
        """Continue each prompt in view of the rendition beside it; see ``ModelHandle.generate``.

        What is written does not depend on what is written beside it, but for the last bits of
        float32: batches of other sizes may be added up in another order.

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
        check_decoding(decoding, beams_max=ROWS_MAX)
        heads = [self._heads(prompt) for prompt in prompts]
        states = self._encode(renditions, interactive=interactive)
        if self._questioning is not None:
            states = self._read(self._questioning, prompts, states)
        requests = [
            Request(
                head,
                seen,
                self._budget(prompt, head, decoding),
                decoding,
                deadline,
                interactive,
                _listener(on_text, index),
                cancel,
            )
            for index, (head, seen, prompt) in enumerate(zip(heads, states, prompts, strict=True))
        ]
        return self._generator.run(requests)

    def close(self) -> None:
        """Finish what waits; later calls are refused."""
        self._scheduler.close()
        self._generator.close()

    def _heads(self, prompt: str) -> tuple[int, ...]:
        """Return what the decoder reads before it writes."""
        if self._questioning is not None:
            return (self._speech.start,)
        head = (self._speech.start, *self._tokenizer.encode(prompt, special=False, plain=True))
        self._check_length(len(head))
        return head

    def _check_length(self, length: int) -> None:
        longest = self._speech.positions
        if longest is not None and length > longest:
            raise UsageError(
                f"the prompt has {length} tokens, and the model {self.name} reads at most {longest}: "
                "shorten it"
            )

    def _budget(self, prompt: str, head: Sequence[int], decoding: Decoding) -> int:
        budget = decoding.max_tokens or self._prompting.budget(prompt)
        if self._speech.positions is None:
            return budget
        # The last token is written and not read again.
        return min(budget, self._speech.positions - len(head) + 1)

    def _try(self, decoder: Decoder) -> None:
        """Look at a blank picture and read one token: whether graphs and tokenizer are of one model."""
        states = list(self._see(np.zeros((1, *self._model.preprocessing.shape), np.float32)))
        if self._questioning is not None:
            states = self._read(self._questioning, [""], states)
        logits, _ = decoder.prefill(np.asarray([[self._speech.start]], np.int64), np.stack(states))
        embed = decoder.embed if decoder.takes_embeddings else None
        ends = self._speech.ending.tokens
        check_vocabulary(self._model, self._tokenizer, logits.shape[1], ends, embed)

    def _encode(self, renditions: Sequence[Rendition], *, interactive: bool) -> list[NDArray[np.float32]]:
        """Return each rendition's states, (T, D), read-only, made once for all steps of this model."""
        key = (self.name, self.revision, "encoded")
        missing = list({id(one): one for one in renditions if key not in one.tensors}.values())
        tensors = [self._model.preprocessing.tensor(one) for one in missing]
        rows = self._scheduler.run(tensors, interactive=interactive)
        for rendition, states in zip(missing, rows, strict=True):
            # A copy: the row alone would keep its whole batch.
            rendition.tensors[key] = states.copy()
            rendition.tensors[key].setflags(write=False)
        return [rendition.tensors[key] for rendition in renditions]

    def _see(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        (states,) = self._encoder.run({self._pixels: batch}, [self._states])
        return states.astype(np.float32, copy=False)

    def _read(
        self, questioning: Questioning, prompts: Sequence[str], states: Sequence[NDArray[np.float32]]
    ) -> list[NDArray[np.float32]]:
        questions = [self._tokenizer.encode(prompt, plain=True) for prompt in prompts]
        for ids, seen in zip(questions, states, strict=True):
            self._check_length(questioning.length(len(ids), len(seen)))
        return read_questions(questioning, questions, states)


def _listener(on_text: Callable[[int, str], None] | None, index: int) -> Callable[[str], None] | None:
    return None if on_text is None else lambda piece: on_text(index, piece)
