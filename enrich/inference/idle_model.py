"""A model that leaves the memory while nobody asks it."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from enrich.errors import InferenceError, ManifestError
from enrich.inference.handle import Model
from enrich.inference.scheduler import Stats
from enrich.inference.scores import LabelScores
from enrich.inference.stored import StoredModel
from enrich.types import Decoding, Detection, Generated, Rendition, TextLine, Turn

__all__ = ["IdleModel"]

_NOTHING = Stats({}, 0, 0)

#: The files of a folder by their name, with size and time of change.
_Stamps = Mapping[Path, tuple[int, int]]


class IdleModel(Model):
    """A model that is loaded when it is asked, and can be put to rest in between.

    What can be known without its graphs is known while it rests: name, revision, family, hooks, labels,
    languages, manifest. The rest is that of the model it loads.

    Parameters
    ----------
    model : StoredModel
        What the graphs take and give.
    load : callable
        Loads it; raises ExtraMissing, ManifestError, ProviderError or InferenceError.
    find : callable
        Reads its folder again; raises ModelMissing or ManifestError.
    """

    def __init__(
        self, model: StoredModel, load: Callable[[StoredModel], Model], find: Callable[[], StoredModel]
    ) -> None:
        super().__init__(model)
        self._load = load
        self._find = find
        self._stamps = _stamp(model.folder)
        self._lock = threading.Lock()
        self._is_closed = False
        self._callers = 0
        self._used_at = time.monotonic()
        self._provider = ""
        self._size_px: int | None = None
        self._template = "{}"
        self._wants_words = False
        # What the schedulers did that are gone, and the model if it is loaded: read together.
        self._state: tuple[Stats, Stats, Model | None] = (_NOTHING, _NOTHING, None)
        #: Whether anything was ever asked of it.
        self.is_asked = False

    @property
    def is_loaded(self) -> bool:
        """Whether it is in memory."""
        return self._state[2] is not None

    @property
    def provider(self) -> str:
        """The execution provider in use, or that was last in use."""
        return self._provider

    @property
    def size_px(self) -> int | None:
        """The longest edge that it makes use of, as far as is known."""
        return self._size_px

    @property
    def template(self) -> str:
        """How a label is put, with ``{}`` for it; see ``DualEncoder``."""
        return self._template

    @property
    def stats(self) -> Stats:
        """What the schedulers of its pictures did, before and after each rest."""
        gone, _, loaded = self._state
        return gone if loaded is None else gone + loaded.stats

    @property
    def writer_stats(self) -> Stats | None:
        """What the schedulers of its texts did; None where it writes none."""
        _, gone, loaded = self._state
        if not self._wants_words:
            return None
        return gone if loaded is None else gone + _written(loaded)

    def wake(self) -> None:
        """Load it, if it rests.

        Raises
        ------
        ExtraMissing, ManifestError, ProviderError, InferenceError
            It cannot be loaded.
        ModelMissing
            Its folder is gone.

        None of them is retryable.
        """
        with self._used():
            pass

    def rest(self, idle_seconds: float = 0) -> bool:
        """Close what was loaded unless somebody used it in the last seconds; tell whether it was closed."""
        with self._lock:
            gone, written, loaded = self._state
            if loaded is None or self._callers or time.monotonic() - self._used_at < idle_seconds:
                return False
            loaded.close()
            self._state = (gone + loaded.stats, written + _written(loaded), None)
            return True

    def close(self) -> None:
        """Finish what waits; later calls are refused."""
        with self._lock:
            self._is_closed = True
            loaded = self._state[2]
        if loaded is not None:
            loaded.close()

    def predict(self, renditions: Sequence[Rendition], labels: Sequence[str] = ()) -> Sequence[LabelScores]:
        """Classify each rendition; loads the model first, as all that follows."""
        with self._used(renditions) as model:
            return model.predict(renditions, labels)

    def embed(self, items: Sequence[Rendition] | Sequence[str]) -> Sequence[NDArray[np.float32]]:
        """Place renditions, or texts, in the model's space."""
        with self._used(items) as model:
            return model.embed(items)

    def detect(self, renditions: Sequence[Rendition]) -> Sequence[Sequence[Detection]]:
        """Find things in each rendition, the surest first."""
        with self._used(renditions) as model:
            return model.detect(renditions)

    def read(self, renditions: Sequence[Rendition]) -> Sequence[Sequence[TextLine]]:
        """Read the text in each rendition, line by line."""
        with self._used(renditions) as model:
            return model.read(renditions)

    def measure(self, renditions: Sequence[Rendition]) -> Sequence[float]:
        """Return the number that the model says of each rendition."""
        with self._used(renditions) as model:
            return model.measure(renditions)

    def caption_prompt(self, length: str | None, language: str | None) -> str:
        """Return the prompt that asks this model for a caption."""
        with self._used() as model:
            return model.caption_prompt(length, language)

    def answer_prompt(self, question: str, language: str | None) -> str:
        """Return the prompt that asks this model a question."""
        with self._used() as model:
            return model.answer_prompt(question, language)

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
        """Continue each prompt in view of the rendition beside it."""
        with self._used(prompts) as model:
            return model.generate(
                renditions,
                prompts,
                decoding,
                deadline=deadline,
                interactive=interactive,
                on_text=on_text,
                cancel=cancel,
            )

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
        """Say what comes next in each conversation."""
        with self._used(conversations) as model:
            return model.converse(
                conversations,
                decoding,
                deadline=deadline,
                interactive=interactive,
                on_text=on_text,
                cancel=cancel,
            )

    @contextlib.contextmanager
    def _used(self, items: Sequence[object] = ()) -> Iterator[Model]:
        """Keep the model loaded; ``items`` are what it is asked of, none when it is only looked at."""
        with self._lock:
            # Loaded under the lock: whoever comes meanwhile needs it as well.
            model = self._loaded()
            self._callers += 1
            self.is_asked |= len(items) > 0
        try:
            yield model
        finally:
            with self._lock:
                self._callers -= 1
                self._used_at = time.monotonic()

    def _loaded(self) -> Model:
        if self._is_closed:
            raise InferenceError(f"the model {self.name} is closed")
        gone, written, loaded = self._state
        if loaded is None:
            self._check_unchanged()
            loaded = self._load(self._model)
            self._provider, self._size_px = loaded.provider, loaded.size_px
            self._template = str(getattr(loaded, "template", "{}"))
            self._wants_words = hasattr(loaded, "writer_stats")
            self._state = (gone, written, loaded)
        return loaded

    def _check_unchanged(self) -> None:
        """Raise if the folder holds another model now: what it says would go under this one's revision."""
        stamps = _stamp(self._model.folder)
        if stamps == self._stamps:
            return
        new = self._find()
        # Remembered as it was when somebody first asked for it.
        if new.revision != self.revision or new.manifest != self.manifest or new.config != self._model.config:
            raise ManifestError(
                f"{self._model.folder}: it is not the model any more that was opened as {self.revision}; "
                "start again to use what is there now"
            )
        self._stamps = stamps


def _written(model: Model) -> Stats:
    stats = getattr(model, "writer_stats", None)
    return stats if isinstance(stats, Stats) else _NOTHING


def _stamp(folder: Path) -> _Stamps:
    try:
        stats = {path: path.stat() for path in folder.rglob("*") if path.is_file()}
    except OSError:  # files come or go just now
        return {}
    return {path: (stat.st_size, stat.st_mtime_ns) for path, stat in stats.items()}
