"""A plugin's way to its model, and what a model says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from enrich.types.renditions import Rendition
from enrich.types.statements import Region, TextLine
from enrich.types.writing import Decoding, Generated, Turn

if TYPE_CHECKING:
    import threading

    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Detection", "ModelHandle", "Scores"]


@dataclass(frozen=True, slots=True)
class Detection:
    """A thing that a detector found, and where."""

    name: str
    confidence: float
    region: Region


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
