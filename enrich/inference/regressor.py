"""Regressors: any graph that says one number of a picture; so far, how many years old somebody looks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from enrich.errors import InferenceError, ManifestError
from enrich.inference.one_graph import OneGraph
from enrich.inference.ports import choose_port
from enrich.types import Rendition

__all__ = ["Regressor"]


class Regressor(OneGraph):
    """Says one number of each picture; see ``OneGraph``.

    Only the output that the manifest names is ever read. What else the graph works out, of gender for one, is
    not handed out by the runtime.
    """

    def measure(self, renditions: Sequence[Rendition]) -> list[float]:
        """Return the number of each rendition; blocks while the scheduler merges all callers into batches.

        Raises
        ------
        InferenceError
            The runtime refused a picture, or a number is not finite. Not retryable.
        """
        numbers = [float(row[0]) for row in self._rows(renditions)]
        if not np.isfinite(numbers).all():
            raise InferenceError(f"{self.name}: the number of a picture is not finite")
        return numbers

    def _choose_outputs(self) -> None:
        name = self._model.manifest.output.name
        self._output = choose_port(self._model, self._session.outputs, name, ["age"], "output")

    def _infer(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        (numbers,) = self._session.run({self._input.name: batch}, [self._output.name])
        rows = numbers.astype(np.float32).reshape(len(batch), -1)
        if rows.shape[1] != 1:
            raise ManifestError(
                f"{self._model.folder}: family: a regressor says one number of a picture, and the graph's "
                f"output {self._output.name} has {rows.shape[1]}"
            )
        return rows
