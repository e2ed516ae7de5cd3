"""Image classifiers: any graph from one picture to one score per label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from enrich.errors import InferenceError, ManifestError
from enrich.inference.devices import Device
from enrich.inference.domain import flat_share
from enrich.inference.manifest import Activation, Manifest
from enrich.inference.scheduler import Scheduler, Stats
from enrich.inference.session import Port, Session, open_session
from enrich.inference.stored import StoredModel
from enrich.types import Rendition

__all__ = ["OUTSIDE_DOMAIN", "Classifier", "LabelScores"]

#: Why a rendition is refused whose pictures the model does not know.
OUTSIDE_DOMAIN = "outside_domain"

_CPU = Device("cpu")


@dataclass(frozen=True, eq=False, slots=True)
class LabelScores:
    """What a classifier says of one rendition.

    Parameters
    ----------
    labels : tuple of str
        In the model's order.
    probabilities : ndarray
        float32, (C,), 0..1, aligned with ``labels``.
    """

    labels: tuple[str, ...]
    probabilities: NDArray[np.float32]

    def top(self, count: int) -> list[tuple[str, float]]:
        """Return the ``count`` likeliest labels with their probability, best first."""
        best = np.argsort(-self.probabilities, kind="stable")[:count]
        return [(self.labels[index], float(self.probabilities[index])) for index in best]


class Classifier:
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
        self._model = model
        self._session = session
        input_name = model.manifest.input.name if model.manifest.input else None
        self._input = _port(model, session.inputs, input_name, "input")
        self._output = _port(model, session.outputs, model.manifest.output.name, "output")
        self._check_shape()
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
    def name(self) -> str:
        return self._model.name

    @property
    def revision(self) -> str:
        """The weights' revision."""
        return self._model.revision

    @property
    def manifest(self) -> Manifest:
        return self._model.manifest

    @property
    def hooks(self) -> tuple[str, ...]:
        """The work hooks this model can serve."""
        return self._model.hooks

    @property
    def provider(self) -> str:
        """The execution provider in use, as ONNX Runtime names it."""
        return self._session.provider

    @property
    def stats(self) -> Stats:
        return self._scheduler.stats

    def refusals(self, renditions: Sequence[Rendition]) -> list[str | None]:
        """Return ``"outside_domain"`` for each picture of a kind the model does not know, else None."""
        domain = self.manifest.domain
        if domain is None:
            return [None] * len(renditions)
        shares = (flat_share(rendition.pixels) for rendition in renditions)
        return [None if share >= domain.flat_share_min else OUTSIDE_DOMAIN for share in shares]

    def predict(self, renditions: Sequence[Rendition]) -> list[LabelScores]:
        """Classify each rendition; blocks while the scheduler merges all callers into batches.

        Raises
        ------
        InferenceError
            The runtime refused a picture, or the scores are not finite. Not retryable.
        """
        tensors = [self._model.preprocessing.tensor(rendition) for rendition in renditions]
        return [self._scores(row) for row in self._scheduler.run(tensors)]

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

    def _scores(self, row: NDArray[np.float32]) -> LabelScores:
        if not np.isfinite(row).all():
            raise InferenceError(f"{self.name}: the scores of a picture are not finite")
        return LabelScores(self._model.labels, _activate(row, self._model.activation))

    def _check_shape(self) -> None:
        shape = self._model.preprocessing.shape
        wanted = self._input.shape[1:]
        fits = len(wanted) == len(shape) and all(a in (None, b) for a, b in zip(wanted, shape, strict=True))
        if not fits:
            raise ManifestError(
                f"{self._model.folder}: input: gives {_axes(shape)} per picture, and the graph's input "
                f"{self._input.name} takes {_axes(wanted)}; look at layout, resize and crop"
            )


def _port(model: StoredModel, ports: Sequence[Port], name: str | None, key: str) -> Port:
    found = ", ".join(port.name for port in ports)
    if name is None:
        # Exporters call it so, and may add hidden states beside it.
        named = [port for port in ports if port.name in ("logits", "pixel_values")] or ports
        if len(named) == 1:
            return named[0]
        raise ManifestError(f"{model.folder}: {key}.name: missing; the graph has {found}")
    for port in ports:
        if port.name == name:
            return port
    raise ManifestError(f"{model.folder}: {key}.name: there is no {name}; the graph has {found}")


def _activate(row: NDArray[np.float32], activation: Activation) -> NDArray[np.float32]:
    if activation == "softmax":
        powers = np.exp(row - row.max())
        return np.asarray(powers / powers.sum(), np.float32)
    if activation == "sigmoid":
        # Half a tangent: exp(-x) would overflow for a large negative score.
        return np.asarray((1 + np.tanh(row / 2)) / 2, np.float32)
    return row


def _axes(shape: Sequence[Any]) -> str:
    return " x ".join("any" if axis is None else str(axis) for axis in shape)
