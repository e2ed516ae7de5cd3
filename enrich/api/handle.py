"""A model as one request sees it: with the request's deadline, its own decoding, and its tokens counted."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

from enrich.api.errors import Cancelled, InvalidParameter, TimedOut
from enrich.errors import InferenceError
from enrich.types import (
    Decoding,
    Detection,
    Generated,
    ModelHandle,
    Rendition,
    Scores,
    TextLine,
    Turn,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["RequestHandle", "check_wanted"]

_PLAIN = Decoding()


class RequestHandle:
    """What a plugin gets in the place of its model; its calls go before folder work.

    Parameters
    ----------
    model : ModelHandle
        The model, with the schedulers that folder work and all requests share.
    deadline : float
        The ``time.monotonic()`` instant after which nobody waits.
    cancel : threading.Event or None
        Set when nobody waits any more: then the request leaves its batch.
    decoding : Decoding
        What the request says of it goes before what the plugin says.
    """

    def __init__(
        self,
        model: ModelHandle,
        deadline: float,
        cancel: threading.Event | None = None,
        decoding: Decoding = _PLAIN,
    ) -> None:
        self._model = model
        self._deadline = deadline
        self._cancel = cancel
        self._decoding = decoding
        self.prompt_tokens = 0
        self.completion_tokens = 0
        self.finish: Literal["stop", "length"] = "stop"

    @property
    def name(self) -> str:
        return self._model.name

    @property
    def revision(self) -> str:
        """The weights' upstream revision."""
        return self._model.revision

    def refusals(self, renditions: Sequence[Rendition]) -> list[str | None]:
        """Return, per rendition, why the model does not know such pictures, or None."""
        return self._model.refusals(renditions)

    def predict(self, renditions: Sequence[Rendition], labels: Sequence[str] = ()) -> Sequence[Scores]:
        """Classify each rendition; see ``ModelHandle.predict``."""
        self.check()
        return self._model.predict(renditions, labels)

    def embed(self, items: Sequence[Rendition] | Sequence[str]) -> Sequence[NDArray[np.float32]]:
        """Place renditions or texts in the model's space; see ``ModelHandle.embed``."""
        self.check()
        return self._model.embed(items)

    def detect(self, renditions: Sequence[Rendition]) -> Sequence[Sequence[Detection]]:
        """Find things in each rendition; see ``ModelHandle.detect``."""
        self.check()
        return self._model.detect(renditions)

    def read(self, renditions: Sequence[Rendition]) -> Sequence[Sequence[TextLine]]:
        """Read the text in each rendition; see ``ModelHandle.read``."""
        self.check()
        return self._model.read(renditions)

    def measure(self, renditions: Sequence[Rendition]) -> Sequence[float]:
        """Return the number of each rendition; see ``ModelHandle.measure``."""
        self.check()
        return self._model.measure(renditions)

    def caption_prompt(self, length: str | None, language: str | None) -> str:
        """Return the prompt that asks for a caption; see ``ModelHandle.caption_prompt``."""
        return self._model.caption_prompt(length, language)

    def answer_prompt(self, question: str, language: str | None) -> str:
        """Return the prompt that asks a question; see ``ModelHandle.answer_prompt``."""
        return self._model.answer_prompt(question, language)

    def generate(
        self,
        renditions: Sequence[Rendition],
        prompts: Sequence[str],
        decoding: Decoding = _PLAIN,
        *,
        deadline: float | None = None,
        interactive: bool = True,
        on_text: Callable[[int, str], None] | None = None,
        cancel: threading.Event | None = None,
    ) -> Sequence[Generated]:
        """Continue each prompt in view of the rendition beside it; see ``ModelHandle.generate``.

        Raises
        ------
        TimedOut
            The request's deadline passed. Retryable.
        Cancelled
            The client went away. Not retryable.
        InvalidParameter
            The request's ``max_tokens`` are fewer than the prompts. Not retryable.
        """
        return self._counted(
            len(prompts),
            decoding,
            lambda merged: self._model.generate(
                renditions,
                prompts,
                merged,
                deadline=self._sooner(deadline),
                interactive=True,
                on_text=on_text,
                cancel=self._cancel if cancel is None else cancel,
            ),
        )

    def converse(
        self,
        conversations: Sequence[Sequence[Turn]],
        decoding: Decoding = _PLAIN,
        *,
        deadline: float | None = None,
        interactive: bool = True,
        on_text: Callable[[int, str], None] | None = None,
        cancel: threading.Event | None = None,
    ) -> Sequence[Generated]:
        """Say what comes next in each conversation; see ``ModelHandle.converse``.

        Raises
        ------
        TimedOut, Cancelled, InvalidParameter
            As ``generate``. The first is retryable.
        """
        return self._counted(
            len(conversations),
            decoding,
            lambda merged: self._model.converse(
                conversations,
                merged,
                deadline=self._sooner(deadline),
                interactive=True,
                on_text=on_text,
                cancel=self._cancel if cancel is None else cancel,
            ),
        )

    def _sooner(self, deadline: float | None) -> float:
        return self._deadline if deadline is None else min(deadline, self._deadline)

    def _counted(
        self, count: int, decoding: Decoding, write: Callable[[Decoding], Sequence[Generated]]
    ) -> Sequence[Generated]:
        """Write, count what was read and made, and say why where nobody waits any more."""
        self.check()
        merged = self._merged(decoding, count)
        if merged is None:
            self.finish = "length"
            return [Generated("", "length", 0, 0)] * count
        try:
            written = write(merged)
        except InferenceError:
            self.check()  # it may have failed because nobody waits
            raise
        self.prompt_tokens += sum(one.prompt_tokens for one in written)
        self.completion_tokens += sum(one.tokens for one in written)
        if any(one.finish == "length" for one in written):
            self.finish = "length"
        return written

    def know(self, renditions: Sequence[Rendition]) -> None:
        """Make sure that the model knows pictures of this kind.

        Raises
        ------
        InvalidParameter
            It does not. Not retryable.
        """
        if any(reason is not None for reason in self.refusals(renditions)):
            raise InvalidParameter(
                f"the model {self.name} does not know pictures of this kind; name another one", "model"
            )

    def check(self) -> None:
        """Go on only while somebody waits.

        Raises
        ------
        TimedOut, Cancelled
            Nobody does. The first is retryable.
        """
        check_wanted(self._deadline, self._cancel)

    def _merged(self, decoding: Decoding, count: int) -> Decoding | None:
        """Return how one of ``count`` texts is written; None where the request's tokens are used up.

        ``max_tokens`` of a request are those of its whole answer: what it takes several texts to make
        shares them.
        """
        said = {
            field.name: getattr(self._decoding, field.name)
            for field in dataclasses.fields(Decoding)
            if getattr(self._decoding, field.name) != getattr(_PLAIN, field.name)
        }
        merged = dataclasses.replace(decoding, **said)
        budget = self._decoding.max_tokens
        if budget is None or not count:
            return merged
        share = (budget - self.completion_tokens) // count
        if share < 1:
            if self.completion_tokens:
                return None
            raise InvalidParameter(
                f"max_tokens: this takes {count} texts, and so at least as many tokens", "max_tokens"
            )
        return dataclasses.replace(merged, max_tokens=min(share, decoding.max_tokens or share))


def check_wanted(deadline: float, cancel: threading.Event | None) -> None:
    """Go on only while somebody waits.

    Raises
    ------
    TimedOut, Cancelled
        Nobody does. The first is retryable.
    """
    if cancel is not None and cancel.is_set():
        raise Cancelled("the client went away")
    if time.monotonic() >= deadline:
        raise TimedOut("the time for this request is over")
