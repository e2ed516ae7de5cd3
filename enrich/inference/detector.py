"""Detectors: any graph that finds things in a picture, and says where they are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from enrich.errors import InferenceError, ManifestError
from enrich.inference.boxes import Found, corners_of, read_map, read_rows, suppress
from enrich.inference.one_graph import OneGraph
from enrich.inference.ports import choose_port
from enrich.inference.scores import activate
from enrich.types import Detection, Region, Rendition

__all__ = ["Detector"]

_BOX = 4


class Detector(OneGraph):
    """Finds things; see ``OneGraph``."""

    def detect(self, renditions: Sequence[Rendition]) -> list[list[Detection]]:
        """Find things in each rendition, the surest first; blocks while callers are merged into batches.

        Regions are cut at the picture's edges.

        Raises
        ------
        InferenceError
            The runtime refused a picture, or what it gave is not finite. Not retryable.
        """
        return [self._detections(row) for row in self._rows(renditions)]

    def _find_background(self) -> int | None:
        name = self._reading.background
        if name is None:
            return None
        if name not in self._model.labels:
            raise ManifestError(f"{self._model.folder}: detection.background: {name} is none of the labels")
        return self._model.labels.index(name)

    def _choose_outputs(self) -> None:
        self._reading = self._model.manifest.detection
        if self._model.preprocessing.crop is not None:
            raise ManifestError(
                f"{self._model.folder}: input.crop: a detector sees the whole picture; give resize with "
                "height and width alone"
            )
        self._background = self._find_background()
        self._outputs = self._find_outputs()

    def _find_outputs(self) -> list[str]:
        reading, ports = self._reading, self._session.outputs
        if reading.form != "pair":
            return [choose_port(self._model, ports, self._model.manifest.output.name, [], "output").name]
        names = [
            choose_port(self._model, ports, reading.boxes, ["boxes", "pred_boxes"], "detection.boxes").name,
            choose_port(self._model, ports, reading.scores, ["scores", "logits"], "detection.scores").name,
        ]
        if names[0] == names[1]:
            raise ManifestError(
                f"{self._model.folder}: detection: the graph has one output; a pair has boxes and scores, so "
                "say which form it has: rows or fastestdet"
            )
        return names

    def _infer(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return one array per picture: a box and its scores in each row; or FastestDet's map."""
        arrays = self._session.run({self._input.name: batch}, self._outputs)
        given = [array.astype(np.float32) for array in arrays]
        classes = len(self._model.labels)
        if self._reading.form == "fastestdet":
            fits = given[0].ndim == 4 and given[0].shape[1] == 5 + classes
        else:
            if any(array.ndim != 3 for array in given):
                raise self._misfit(given)
            if self._reading.form == "pair":
                fits = given[0].shape == (*given[1].shape[:2], _BOX) and given[1].shape[2] == classes
            else:
                widths = (_BOX + classes, _BOX + 1 + classes)
                if given[0].shape[2] not in widths:  # as the later YOLOs have it: a column for each box
                    given[0] = given[0].transpose(0, 2, 1)
                fits = given[0].shape[2] in widths
        if not fits or len(given[0]) != len(batch):
            raise self._misfit(given)
        return np.concatenate(given, axis=2) if len(given) > 1 else given[0]

    def _misfit(self, given: Sequence[NDArray[np.float32]]) -> ManifestError:
        shapes = " and ".join(
            f"{name} {list(array.shape)}" for name, array in zip(self._outputs, given, strict=True)
        )
        return ManifestError(
            f"{self._model.folder}: labels: there are {len(self._model.labels)}, which does not fit the form "
            f"{self._reading.form} and the graph's {shapes}; look at labels and detection.form"
        )

    def _detections(self, row: NDArray[np.float32]) -> list[Detection]:
        if not np.isfinite(row).all():
            raise InferenceError(f"{self.name}: what was found in a picture is not finite")
        reading = self._reading
        found = self._read(row.astype(np.float64))
        found = found.take(found.confidences >= reading.threshold)
        found = suppress(found, reading.overlap, reading.limit)
        inside = Found(np.clip(found.corners, 0, 1), found.labels, found.confidences)
        return [
            Detection(self._model.labels[label], min(float(confidence), 1.0), _region(corners))
            for corners, label, confidence in zip(
                inside.corners, inside.labels, inside.confidences, strict=True
            )
            if (corners[2:] > corners[:2]).all()
        ]

    def _read(self, row: NDArray[np.float64]) -> Found:
        reading = self._reading
        if reading.form == "fastestdet":
            return read_map(row)
        boxes, scores = row[:, :_BOX], row[:, _BOX:]
        if reading.unit == "px":
            boxes = boxes / np.array([self._width_px, self._height_px] * 2)
        is_there = np.ones((len(row), 1))
        if scores.shape[1] > len(self._model.labels):
            is_there, scores = scores[:, :1], scores[:, 1:]
            if reading.activation == "sigmoid":
                is_there = activate(is_there, "sigmoid")
        scores = activate(scores, reading.activation) * is_there
        return read_rows(corners_of(boxes, reading.box), scores, self._background)

    @property
    def _height_px(self) -> int:
        return self._model.preprocessing.shape[1 if self._model.preprocessing.layout == "NCHW" else 0]

    @property
    def _width_px(self) -> int:
        return self._model.preprocessing.shape[2 if self._model.preprocessing.layout == "NCHW" else 1]


def _region(corners: NDArray[np.float64]) -> Region:
    left, top, right, bottom = (float(edge) for edge in corners)
    return Region(left, top, right - left, bottom - top)
