"""Florence-2: one model that captions, reads text and finds things, by the words of its training.

Source of the words, of what they are answered with, and of how places are counted: Microsoft's model
card of Florence-2, and ``Florence2Processor`` of Hugging Face transformers 5.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

from enrich.errors import ManifestError
from enrich.inference.decoder import Decoder
from enrich.inference.devices import Device
from enrich.inference.encoder_decoder import EncoderDecoder
from enrich.inference.manifest import Prompts
from enrich.inference.prompting import Prompting
from enrich.inference.questioning import Beside
from enrich.inference.session import Session, open_session
from enrich.inference.stored import StoredModel
from enrich.inference.text import Tokenizer, load_tokenizer
from enrich.types import Decoding, Detection, Generated, Region, Rendition, TextLine

__all__ = ["Florence", "lines_in", "things_in"]

_CPU = Device("cpu")

_SHORT = "What does the image describe?"
_CAPTIONS = Prompts.model_validate(
    {
        "caption": {
            "short": _SHORT,
            "alt_text": _SHORT,
            "normal": "Describe in detail what is shown in the image.",
            "long": "Describe with a paragraph what is shown in the image.",
        }
    }
)
_READ = "What is the text in the image, with regions?"
_FIND = "Locate the objects with category name in the image."
#: Tokens that are enough for what the words above are answered with, unless the manifest says otherwise.
_BUDGETS = {"short": 40, "alt_text": 40, "normal": 100, "long": 300}
#: Where it is not said how many the decoder can read.
_TOKENS_MAX = 1024

#: Along each edge.
_PLACES = 1000
_PLACE = re.compile(r"<loc_(\d+)>")
_LINE = re.compile(r"(.+?)((?:<loc_\d+>){8})", re.DOTALL)
_THING = re.compile(r"([^<>]+)((?:<loc_\d+>){4,})")
#: A picture is squeezed into a square: of a wider one, as many pixels as that along its shorter edge.
_ASPECT = 4 / 3


class Florence(EncoderDecoder):
    """A Florence-2 model, from any thread.

    It says in English what a picture shows, at three lengths, in the words that it was trained with;
    answers to questions of others it was not trained for.

    Parameters
    ----------
    model : StoredModel
        What the graphs take and give.
    vision : Session
        From pictures to features.
    encoder : Session
        From features and words to states.
    decoder : Decoder
        From states and tokens to the next token.
    tokenizer : Tokenizer
        The model's, that leaves places in the text.

    Raises
    ------
    ManifestError, InferenceError
        As ``EncoderDecoder`` does. Not retryable.
    """

    def __init__(
        self, model: StoredModel, vision: Session, encoder: Session, decoder: Decoder, tokenizer: Tokenizer
    ) -> None:
        last = _places()[-1]
        if tokenizer.token_id(last) is None:
            raise ManifestError(
                f"{model.folder}: tokenizer.json has no {last}, with which Florence-2 says where things "
                "are; copy it from where the weights come from"
            )
        super().__init__(model, vision, decoder, Beside(encoder, decoder), tokenizer, _prompting(model))

    @classmethod
    def open(cls, model: StoredModel, device: Device = _CPU, *, threads: int | None = None) -> Self:
        """Load the graphs, run one blank picture, and start the schedulers.

        Raises
        ------
        ExtraMissing, ManifestError, ProviderError, InferenceError
            See ``Session`` and this class. Not retryable.
        """
        # First what costs nothing to miss.
        tokenizer = load_tokenizer(model.file("tokenizer.json"), model.folder, _places())
        return cls(
            model,
            open_session(model.graphs["vision"], device, threads=threads),
            # Each length of a prompt is a shape of its own.
            open_session(model.graphs["encoder"], device, threads=threads, keeps_memory=False),
            Decoder.open(model.graphs, device, threads=threads),
            tokenizer,
        )

    @property
    def size_px(self) -> int:
        """The longest edge that it makes use of."""
        return int(max(self._model.preprocessing.shape) * _ASPECT)

    def read(self, renditions: Sequence[Rendition]) -> list[list[TextLine]]:
        """Read the text in each rendition, line by line, in the order in which the model says them.

        It says no confidence of each line.

        Raises
        ------
        InferenceError
            The runtime refused a picture. Not retryable.
        """
        return [lines_in(said.text) for said in self._say(renditions, _READ)]

    def detect(self, renditions: Sequence[Rendition]) -> list[list[Detection]]:
        """Find things in each rendition, in the order in which the model names them.

        The model says no confidence of each thing: all of a picture have that of the text that names
        them.

        Raises
        ------
        InferenceError
            The runtime refused a picture. Not retryable.
        """
        return [things_in(said.text, said.confidence or 0.0) for said in self._say(renditions, _FIND)]

    def _say(self, renditions: Sequence[Rendition], prompt: str) -> list[Generated]:
        decoding = Decoding(max_tokens=self._speech.positions or _TOKENS_MAX)
        return self.generate(renditions, [prompt] * len(renditions), decoding)


def lines_in(text: str) -> list[TextLine]:
    """Return the lines of a text in which eight places follow each: its four corners, x before y."""
    lines = []
    for words, places in _LINE.findall(text):
        # What stands before it, of places that were not eight.
        line = _PLACE.sub("", words).strip()
        if line:
            xs, ys = _shares(places, 0, 2), _shares(places, 1, 2)
            lines.append(TextLine(line, None, _region(min(xs), min(ys), max(xs), max(ys))))
    return lines


def things_in(text: str, confidence: float) -> list[Detection]:
    """Return what a text names, four places after each name: left, top, right and bottom, or several such."""
    return [
        Detection(name, confidence, region)
        for words, places in _THING.findall(text)
        if (name := words.strip())
        for region in _regions(places)
    ]


def _regions(places: str) -> Iterator[Region]:
    # Of places that are no multiple of four, the last are no box.
    edges = (_shares(places, edge, 4) for edge in range(4))
    for left, top, right, bottom in zip(*edges, strict=False):
        if left <= right and top <= bottom:
            yield _region(left, top, right, bottom)


def _shares(places: str, first: int, step: int) -> list[float]:
    """Return the middles of places, as shares of the edge."""
    return [(int(place) + 0.5) / _PLACES for place in _PLACE.findall(places)[first::step]]


def _region(left: float, top: float, right: float, bottom: float) -> Region:
    return Region(*(round(part, 4) for part in (left, top, right - left, bottom - top)))


def _places() -> list[str]:
    return [f"<loc_{place}>" for place in range(_PLACES)]


def _prompting(model: StoredModel) -> Prompting:
    """Return how it is asked: by the words of its training, but for what the manifest says."""
    said = model.manifest
    changes: Mapping[str, Any] = {"max_tokens": _BUDGETS | dict(said.max_tokens)}
    if said.prompts.caption is None:
        changes = {**changes, "prompts": said.prompts.model_copy(update={"caption": _CAPTIONS.caption})}
    return Prompting(model.name, said.model_copy(update=changes), model.languages, model.hooks)
