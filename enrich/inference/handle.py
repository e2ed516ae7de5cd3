"""What every loaded model has, whatever its family: the handle that plugins and commands hold."""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NoReturn

import numpy as np
from numpy.typing import NDArray

from enrich.errors import UsageError
from enrich.inference.domain import flat_share
from enrich.types import Decoding, Detection, Generated, Rendition, TextLine, Turn

if TYPE_CHECKING:
    import threading

    from enrich.inference.manifest import Manifest
    from enrich.inference.scheduler import Stats
    from enrich.inference.scores import LabelScores
    from enrich.inference.stored import StoredModel

__all__ = ["OUTSIDE_DOMAIN", "Model"]

#: Why a rendition is refused whose pictures the model does not know.
OUTSIDE_DOMAIN = "outside_domain"

#: What each method of a family is for, to say so where a model cannot.
_PURPOSES: Mapping[str, str] = {
    "predict": "score labels",
    "embed": "embed",
    "caption_prompt": "write captions",
    "answer_prompt": "answer questions",
    "generate": "write",
    "converse": "talk",
    "detect": "find things",
    "read": "read text",
    "measure": "measure",
}


class Model(abc.ABC):
    """A model that is ready to be asked, from any thread; close it.

    A family overrides what its models can do; all the rest is refused here by name. What it adds to
    the handle that plugins see (``enrich.types.ModelHandle``) is for the commands.

    Parameters
    ----------
    model : StoredModel
        What the graphs take and give.
    """

    def __init__(self, model: StoredModel) -> None:
        self._model = model

    @property
    def name(self) -> str:
        return self._model.name

    @property
    def revision(self) -> str:
        """The weights' revision."""
        return self._model.revision

    @property
    def family(self) -> str:
        """One of ``enrich.inference.families.FAMILIES``."""
        return self._model.family

    @property
    def manifest(self) -> Manifest:
        return self._model.manifest

    @property
    def hooks(self) -> tuple[str, ...]:
        """The work hooks this model can serve."""
        return self._model.hooks

    @property
    def labels(self) -> tuple[str, ...]:
        """A classifier's or detector's labels, in the order of its output; empty in other families."""
        return self._model.labels

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages it can be asked for (BCP 47); empty for models without words."""
        return self._model.languages

    @property
    def size_px(self) -> int | None:
        """The longest edge that it makes use of; None: what the plugin asks for is right."""
        return None

    @property
    @abc.abstractmethod
    def provider(self) -> str:
        """The execution provider in use, as ONNX Runtime names it."""

    @property
    @abc.abstractmethod
    def stats(self) -> Stats:
        """What the scheduler of its pictures did so far."""

    @abc.abstractmethod
    def close(self) -> None:
        """Finish what waits; later calls are refused."""

    def refusals(self, renditions: Sequence[Rendition]) -> list[str | None]:
        """Return ``"outside_domain"`` for each picture of a kind the model does not know, else None."""
        domain = self.manifest.domain
        if domain is None:
            return [None] * len(renditions)
        shares = (flat_share(rendition.pixels) for rendition in renditions)
        return [None if share >= domain.flat_share_min else OUTSIDE_DOMAIN for share in shares]

    def predict(self, renditions: Sequence[Rendition], labels: Sequence[str] = ()) -> Sequence[LabelScores]:
        """Classify each rendition, among the model's own labels or among ``labels``.

        Raises
        ------
        UsageError
            Its family cannot. Not retryable.
        """
        self._cannot("predict")

    def embed(self, items: Sequence[Rendition] | Sequence[str]) -> Sequence[NDArray[np.float32]]:
        """Place renditions, or texts, in the model's space: float32, (D,), unit length, for each.

        Raises
        ------
        UsageError
            Its family cannot. Not retryable.
        """
        self._cannot("embed")

    def caption_prompt(self, length: str | None, language: str | None) -> str:
        """Return the prompt that asks this model for a caption.

        Raises
        ------
        UsageError
            Its family cannot. Not retryable.
        """
        self._cannot("caption_prompt")

    def answer_prompt(self, question: str, language: str | None) -> str:
        """Return the prompt that asks this model a question.

        Raises
        ------
        UsageError
            Its family cannot. Not retryable.
        """
        self._cannot("answer_prompt")

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
    ) -> Sequence[Generated]:
        """Continue each prompt in view of the rendition beside it; see ``ModelHandle.generate``.

        Raises
        ------
        UsageError
            Its family cannot. Not retryable.
        """
        self._cannot("generate")

    def converse(
        self,
        conversations: Sequence[Sequence[Turn]],
        decoding: Decoding = Decoding(),  # noqa: B008  # frozen
        *,
        deadline: float | None = None,
        interactive: bool = False,
        on_text: Callable[[int, str], None] | None = None,
        cancel: threading.Event | None = None,
    ) -> Sequence[Generated]:
        """Say what comes next in each conversation; the rest as for ``generate``.

        Raises
        ------
        UsageError
            Its family cannot. Not retryable.
        """
        self._cannot("converse")

    def detect(self, renditions: Sequence[Rendition]) -> Sequence[Sequence[Detection]]:
        """Find things in each rendition, the surest first.

        Raises
        ------
        UsageError
            Its family cannot. Not retryable.
        """
        self._cannot("detect")

    def read(self, renditions: Sequence[Rendition]) -> Sequence[Sequence[TextLine]]:
        """Read the text in each rendition, line by line.

        Raises
        ------
        UsageError
            Its family cannot. Not retryable.
        """
        self._cannot("read")

    def measure(self, renditions: Sequence[Rendition]) -> Sequence[float]:
        """Return the number that the model says of each rendition: the age in years.

        Raises
        ------
        UsageError
            Its family cannot. Not retryable.
        """
        self._cannot("measure")

    def _cannot(self, method: str) -> NoReturn:
        able = [
            purpose
            for name, purpose in _PURPOSES.items()
            if getattr(type(self), name) is not getattr(Model, name)
        ]
        raise UsageError(
            f"the model {self.name} cannot {_PURPOSES[method]}: it is of the family {self.family}, which can "
            f"{' and '.join(able) or 'do nothing'}; `enrich models list` shows what each model can serve"
        )
