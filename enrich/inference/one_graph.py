"""Models of one graph, from pictures to rows of numbers: classifiers, regressors and detectors."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray

from enrich.inference.devices import Device
from enrich.inference.handle import Model
from enrich.inference.ports import picture_port
from enrich.inference.scheduler import Scheduler, Stats
from enrich.inference.session import Session, open_session
from enrich.inference.stored import StoredModel
from enrich.types import Rendition

__all__ = ["OneGraph"]

_CPU = Device("cpu")


class OneGraph(Model):
    """A model that is ready to be asked, from any thread; a family says what its rows mean.

    Parameters
    ----------
    model : StoredModel
        What the graph takes and gives.
    session : Session
        Its graph.

    Raises
    ------
    ManifestError
        The manifest does not fit the graph.
    InferenceError
        The graph refused a blank picture.

    None of them is retryable.
    """

    def __init__(self, model: StoredModel, session: Session) -> None:
        super().__init__(model)
        self._session = session
        self._input = picture_port(model, session.inputs)
        self._choose_outputs()
        self._infer(np.zeros((1, *model.preprocessing.shape), np.float32))
        self._scheduler = Scheduler(self._infer, session.buckets, name=model.name)

    @classmethod
    def open(cls, model: StoredModel, device: Device = _CPU, *, threads: int | None = None) -> Self:
        """Load the graph, run one blank picture, and start the scheduler.

        Raises
        ------
        ExtraMissing, ManifestError, ProviderError, InferenceError
            See ``Session`` and this class. Not retryable.
        """
        return cls(model, open_session(model.graph, device, threads=threads))

    @property
    def provider(self) -> str:
        """The execution provider in use, as ONNX Runtime names it."""
        return self._session.provider

    @property
    def stats(self) -> Stats:
        return self._scheduler.stats

    def close(self) -> None:
        """Finish what waits; later calls are refused."""
        self._scheduler.close()

    def _rows(self, renditions: Sequence[Rendition]) -> list[NDArray[np.float32]]:
        """Return what the graph gives for each rendition; blocks while callers are merged into batches."""
        return self._scheduler.run([self._model.preprocessing.tensor(one) for one in renditions])

    @abc.abstractmethod
    def _choose_outputs(self) -> None:
        """Find the outputs that are read, before anything is run."""

    @abc.abstractmethod
    def _infer(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Run a batch; return a row for each picture."""
