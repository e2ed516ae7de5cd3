"""Image classifiers: any graph from one picture to one score per label."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from enrich.errors import ManifestError, UsageError
from enrich.inference.one_graph import OneGraph
from enrich.inference.ports import choose_port
from enrich.inference.scores import LabelScores, score
from enrich.types import Rendition

__all__ = ["Classifier"]


class Classifier(OneGraph):
    """Scores its own labels; see ``OneGraph``."""

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
        return [
            score(self.name, self._model.labels, row, self._model.activation)
            for row in self._rows(renditions)
        ]

    def _choose_outputs(self) -> None:
        name = self._model.manifest.output.name
        self._output = choose_port(self._model, self._session.outputs, name, ["logits"], "output")

    def _infer(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        (scores,) = self._session.run({self._input.name: batch}, [self._output.name])
        rows = scores.astype(np.float32).reshape(len(batch), -1)
        if rows.shape[1] != len(self._model.labels):
            raise ManifestError(
                f"{self._model.folder}: labels: there are {len(self._model.labels)}, and the graph's output "
                f"{self._output.name} has {rows.shape[1]} scores"
            )
        return rows
