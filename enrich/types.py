"""The values that plugins receive and return: frozen, light, without behaviour of their own.

Nothing here imports numpy or Pillow until a rendition's pixels are looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    import logging
    import threading
    from pathlib import Path

    import numpy as np
    import PIL.Image
    from numpy.typing import NDArray

__all__ = [
    "AgeGroup",
    "Answer",
    "AnswerType",
    "Caption",
    "Context",
    "Decoding",
    "Detection",
    "Embedding",
    "Generated",
    "ModelHandle",
    "Outbox",
    "Question",
    "Region",
    "Rendition",
    "Scores",
    "Skip",
    "Statement",
    "Tag",
    "TextLine",
    "Turn",
    "Webhook",
]

AnswerType = Literal["string", "boolean", "number", "choice", "date"]


@dataclass(frozen=True, slots=True)
class Region:
    """A box in the oriented frame.

    Parameters
    ----------
    x, y : float
        The upper left corner, 0..1 of the frame's width and height.
    width, height : float
        Its extent, 0..1 of the frame's width and height.
    """

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Caption:
    """A sentence about the whole picture, with its BCP 47 language if known."""

    text: str
    language: str | None = None
    confidence: float | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """The reply to one question: the words, and the typed value where the question has a type."""

    text: str
    value: str | bool | int | float | None = None
    confidence: float | None = None


@dataclass(frozen=True, slots=True)
class AgeGroup:
    """An apparent age: an estimate from appearance, never a fact about a person.

    Parameters
    ----------
    label : str
        The group as the model names it (``"21-44"``), without what else it says of the person.
    low_years, high_years : int or None
        The group as an interval, both ends included; None where it is open.
    confidence : float or None
        0..1 as the model gives it.
    region : Region or None
        Where the person is; None for a judgement of the whole picture.
    """

    label: str
    low_years: int | None = None
    high_years: int | None = None
    confidence: float | None = None
    region: Region | None = None


@dataclass(frozen=True, slots=True)
class Tag:
    """A machine label with the confidence (0..1) the model gives it."""

    name: str
    confidence: float | None = None


@dataclass(frozen=True, slots=True)
class TextLine:
    """One line of text read in the picture."""

    text: str
    confidence: float | None = None
    region: Region | None = None


@dataclass(frozen=True, slots=True)
class Detection:
    """A thing that a detector found, and where."""

    name: str
    confidence: float
    region: Region


@dataclass(frozen=True, slots=True)
class Embedding:
    """A picture's place in a model's space: float32, (D,), unit length."""

    vector: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Skip:
    """What any work hook may return for a rendition it does not want to judge.

    The job ends as ``skipped`` with this reason; nothing is written about the asset.
    """

    reason: str


@dataclass(frozen=True, slots=True)
class Question:
    """One of the user's own questions of a step.

    ``text`` is ready to be asked (its placeholders are filled); ``choices`` holds the allowed
    answers of a ``choice`` question and is empty otherwise; ``language`` (BCP 47) is what it is
    asked in, where that is known.
    """

    name: str
    text: str
    type: AnswerType = "string"
    choices: tuple[str, ...] = ()
    language: str | None = None


@dataclass(frozen=True, slots=True)
class Statement:
    """What an earlier step said of the same rendition: one current annotation.

    ``text`` is its free text and ``data`` its structured data, as the catalog stores them.
    """

    step: str
    item: str
    kind: str
    text: str | None
    data: Any = None
    confidence: float | None = None


@dataclass(frozen=True, eq=False)
class Rendition:
    """Oriented, colour-managed pixels derived from an asset.

    Parameters
    ----------
    asset_id : int or None
        The asset's id; None outside the catalog.
    path : Path or None
        Where the original was read; None outside the catalog.
    page : int
        The page or frame, from 0.
    pixels : ndarray
        uint8, (H, W, 3), RGB, sRGB, orientation applied, alpha flattened on white; read-only.
    width_px, height_px : int
        The size of ``pixels``.
    original_width_px, original_height_px : int
        The size of the oriented original.
    embedded : mapping
        The original's embedded metadata (see ``assets.embedded``).
    """

    asset_id: int | None
    path: Path | None
    page: int
    pixels: NDArray[np.uint8]
    width_px: int
    height_px: int
    original_width_px: int
    original_height_px: int
    embedded: Mapping[str, Any] = field(default_factory=dict)
    # Preprocessed tensors by preprocessing, so that steps which ask for the same share them.
    tensors: dict[Any, Any] = field(default_factory=dict, repr=False)

    @property
    def image(self) -> PIL.Image.Image:
        """The same pixels as a Pillow image, mode RGB."""
        import PIL.Image

        # By hand: before Python 3.12 functools.cached_property lets one thread at a time make any image.
        image: PIL.Image.Image | None = self.__dict__.get("_image")
        if image is None:
            image = PIL.Image.fromarray(self.pixels)
            object.__setattr__(self, "_image", image)
        return image


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


class Scores(Protocol):
    """What a classifier says of one rendition: a probability per label, in the model's order."""

    @property
    def labels(self) -> Sequence[str]: ...

    @property
    def probabilities(self) -> NDArray[np.float32]: ...

    def top(self, count: int) -> list[tuple[str, float]]:
        """Return the ``count`` likeliest labels with their probability, best first."""
        ...


class ModelHandle(Protocol):
    """A plugin's way to its model.

    Calls block while the model's scheduler merges all callers into batches; they may be made
    from any thread.
    """

    @property
    def name(self) -> str: ...

    @property
    def revision(self) -> str:
        """The weights' upstream revision, from the model's manifest."""
        ...

    def refusals(self, renditions: Sequence[Rendition]) -> list[str | None]:
        """Return, per rendition, why the model does not know such pictures, or None."""
        ...

    def predict(self, renditions: Sequence[Rendition], labels: Sequence[str] = ()) -> Sequence[Scores]:
        """Classify each rendition, among the model's own labels or, with a dual encoder, among ``labels``.

        Raises
        ------
        UsageError
            The model cannot do this. Not retryable.
        InferenceError
            The runtime refused the batch. Not retryable.
        """
        ...

    def embed(self, items: Sequence[Rendition] | Sequence[str]) -> Sequence[NDArray[np.float32]]:
        """Place renditions, or texts, in the model's space: float32, (D,), unit length, for each.

        Raises
        ------
        UsageError, InferenceError
            As ``predict`` does. Not retryable.
        """
        ...

    def detect(self, renditions: Sequence[Rendition]) -> Sequence[Sequence[Detection]]:
        """Find things in each rendition, the surest first.

        Raises
        ------
        UsageError, InferenceError
            As ``predict`` does. Not retryable.
        """
        ...

    def read(self, renditions: Sequence[Rendition]) -> Sequence[Sequence[TextLine]]:
        """Read the text in each rendition, line by line.

        Raises
        ------
        UsageError, InferenceError
            As ``predict`` does. Not retryable.
        """
        ...

    def measure(self, renditions: Sequence[Rendition]) -> Sequence[float]:
        """Return the number that a regressor says of each rendition: the age in years.

        Raises
        ------
        UsageError, InferenceError
            As ``predict`` does. Not retryable.
        """
        ...

    def caption_prompt(self, length: str | None, language: str | None) -> str:
        """Return the prompt that asks this model for a caption; None means its own default.

        Raises
        ------
        UsageError
            The model does not know this language or length. Not retryable.
        """
        ...

    def answer_prompt(self, question: str, language: str | None) -> str:
        """Return the prompt that asks this model a question.

        Raises
        ------
        UsageError
            The model answers no questions, or not in this language. Not retryable.
        """
        ...

    def generate(
        self,
        renditions: Sequence[Rendition],
        prompts: Sequence[str],
        decoding: Decoding = ...,
        *,
        deadline: float | None = None,
        interactive: bool = False,
        on_text: Callable[[int, str], None] | None = None,
        cancel: threading.Event | None = None,
    ) -> Sequence[Generated]:
        """Continue each prompt in view of the rendition beside it.

        A rendition that stands several times in the list is encoded once.

        Parameters
        ----------
        renditions, prompts : sequence
            Aligned.
        decoding : Decoding
            How words are chosen.
        deadline : float or None
            The ``time.monotonic()`` instant after which nobody wants the result.
        interactive : bool
            Somebody waits: goes before folder work.
        on_text : callable or None
            Called with an index and a piece of text as it is made, from the model's thread.
        cancel : threading.Event or None
            Set when nobody wants the result any more: the texts leave their batch.

        Raises
        ------
        UsageError, InferenceError
            As ``predict`` does. Not retryable.
        """
        ...

    def converse(
        self,
        conversations: Sequence[Sequence[Turn]],
        decoding: Decoding = ...,
        *,
        deadline: float | None = None,
        interactive: bool = False,
        on_text: Callable[[int, str], None] | None = None,
        cancel: threading.Event | None = None,
    ) -> Sequence[Generated]:
        """Say what comes next in each conversation, whose turns may hold several pictures.

        The parameters are those of ``generate``.

        Raises
        ------
        UsageError, InferenceError
            As ``predict`` does. Not retryable.
        """
        ...


@dataclass(frozen=True, slots=True)
class Webhook:
    """An address that config.yaml wants to be told of assets.

    Parameters
    ----------
    url : str
        Where to post; it may hold a secret, so it belongs into no log.
    events : tuple of str
        ``ingested``, ``annotated`` or both.
    steps : tuple of str
        Of which steps; empty: of all.
    """

    url: str = field(repr=False)
    events: tuple[str, ...]
    steps: tuple[str, ...] = ()

    def wants(self, event: str, step: str | None = None) -> bool:
        return event in self.events and (step is None or not self.steps or step in self.steps)


class Outbox(Protocol):
    """An observer's way to tell programs elsewhere: what it hands over is posted until it arrives."""

    @property
    def webhooks(self) -> Sequence[Webhook]:
        """What config.yaml lists under ``webhooks``."""
        ...

    def about(self, asset_id: int, step: str) -> Mapping[str, Any] | None:
        """Return what a step says of an asset now, and its path, as JSON can hold it; None: it is gone.

        Raises
        ------
        CatalogError
            The catalog refused; CatalogBusy, retryable, where it only does not answer.
        """
        ...

    def deliver(self, url: str, body: Mapping[str, Any], *, asset_id: int | None = None) -> None:
        """Have a body posted as JSON, signed, at least once; return at once.

        With ``asset_id`` it is erased together with that asset.

        Raises
        ------
        FetchRefused
            Nothing will ever be posted to this URL. Not retryable.
        CatalogError
            Nothing can be handed over here. Not retryable.
        """
        ...


@dataclass(frozen=True, slots=True)
class Context:
    """What a work hook may know besides the renditions.

    Parameters
    ----------
    step : str
        The step's name in config.yaml.
    options : object
        The step's options, checked by the plugin's ``Options`` model; an empty mapping without one.
    model : ModelHandle or None
        The step's model.
    annotations : sequence of sequence of Statement
        ``annotations[i]`` is what earlier steps said of rendition i.
    language, length : str or None
        The language (BCP 47) and the caption length asked for.
    deadline : float or None
        The ``time.monotonic()`` instant after which the result is no longer wanted.
    log : logging.Logger
        Messages here carry the step and plugin.
    models : mapping of str to ModelHandle
        Further models, by the names in the options of the type ``ModelName``.
    """

    step: str
    options: Any
    model: ModelHandle | None
    annotations: Sequence[Sequence[Statement]]
    language: str | None
    length: str | None
    deadline: float | None
    log: logging.Logger
    models: Mapping[str, ModelHandle] = field(default_factory=dict)
