"""Image classifiers: any graph from one picture to one score per label."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from enrich.errors import ManifestError, UsageError
from enrich.inference.devices import Device
from enrich.inference.handle import Model
from enrich.inference.ports import choose_port, picture_port
from enrich.inference.scheduler import Scheduler, Stats
from enrich.inference.scores import LabelScores, score
from enrich.inference.session import Session, open_session
from enrich.inference.stored import StoredModel
from enrich.types import Rendition

__all__ = ["Classifier"]

_CPU = Device("cpu")


class Classifier(Model):
    """A classifier that is ready to be asked, from any thread.

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
        self._output = choose_port(model, session.outputs, model.manifest.output.name, ["logits"], "output")
        self._infer(np.zeros((1, *model.preprocessing.shape), np.float32))
        self._scheduler = Scheduler(self._infer, session.buckets, name=model.name)

    @classmethod
    def open(cls, model: StoredModel, device: Device = _CPU, *, threads: int | None = None) -> Classifier:
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

    def predict(self, renditions: Sequence[Rendition], labels: Sequence[str] = ()) -> list[LabelScores]:
        """Classify each rendition; blocks while the scheduler merges all callers into batches.

        Raises
        ------
        UsageError
            ``labels`` are given: a classifier knows its own and no others.
        InferenceError
            The runtime refused a picture, or the scores are not finite.

        None of them is retryable.
        """
        if len(labels):
            raise UsageError(
                f"the model {self.name} is a classifier with {len(self._model.labels)} labels of its own; a "
                "vocabulary needs a dual encoder (CLIP, SigLIP: docs/models.md)"
            )
        tensors = [self._model.preprocessing.tensor(rendition) for rendition in renditions]
        return [
            score(self.name, self._model.labels, row, self._model.activation)
            for row in self._scheduler.run(tensors)
        ]

    def close(self) -> None:
        """Finish what waits; later calls are refused."""
        self._scheduler.close()

    def _infer(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        (scores,) = self._session.run({self._input.name: batch}, [self._output.name])
        rows = scores.astype(np.float32).reshape(len(batch), -1)
        if rows.shape[1] != len(self._model.labels):
            raise ManifestError(
                f"{self._model.folder}: labels: there are {len(self._model.labels)}, and the graph's output "
                f"{self._output.name} has {rows.shape[1]} scores"
            )
        return rows
