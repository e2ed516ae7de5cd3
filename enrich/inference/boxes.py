"""Boxes around things: read out of what detectors give, and cleaned of repetitions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from enrich.inference.manifest import BoxForm
from enrich.inference.scores import activate

__all__ = ["Found", "corners_of", "read_map", "read_rows", "suppress"]

# Beyond these no box of a picture matters, and comparing all with all takes the square of their number.
_MOST_COMPARED = 1000


@dataclass(frozen=True, eq=False, slots=True)
class Found:
    """Boxes with what is in them, in no order.

    Parameters
    ----------
    corners : ndarray
        float64, (A, 4): left, top, right, bottom, 0..1 of the picture; they may reach beyond it.
    labels : ndarray
        int64, (A,): which label is the likeliest.
    confidences : ndarray
        float64, (A,), 0..1.
    """

    corners: NDArray[np.float64]
    labels: NDArray[np.int64]
    confidences: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, chosen: NDArray[np.int64] | NDArray[np.bool_]) -> Found:
        """Return the boxes of these places."""
        return Found(self.corners[chosen], self.labels[chosen], self.confidences[chosen])


def read_rows(
    corners: NDArray[np.float64], scores: NDArray[np.float64], background: int | None = None
) -> Found:
    """Return each box with its likeliest label.

    Parameters
    ----------
    corners : ndarray
        (A, 4), see ``Found``.
    scores : ndarray
        (A, C): probabilities of the labels.
    background : int or None
        The label that means nothing is there: boxes that are rather that are left out.
    """
    labels = scores.argmax(axis=1)
    found = Found(corners, labels, scores[np.arange(len(scores)), labels])
    return found if background is None else found.take(labels != background)


def read_map(cells: NDArray[np.float64]) -> Found:
    """Return the box that each cell of FastestDet's map speaks of.

    Parameters
    ----------
    cells : ndarray
        (5 + C, H, W): whether something is there (0..1), where its middle lies from the cell, how wide
        and high it is, and the labels' probabilities.

    Notes
    -----
    Source: the post-processing that FastestDet publishes with its ONNX file
    (https://github.com/dog-qiuqiu/FastestDet): the middle is the cell's corner and a tanh, in cells;
    width and height are sigmoids, of the picture; the confidence weighs 0.6 : 0.4 in the exponents.
    """
    _, height, width = cells.shape
    there, classes = cells[0].ravel(), cells[5:].reshape(len(cells) - 5, -1)
    rows, columns = np.divmod(np.arange(height * width), width)
    middle_x = (columns + np.tanh(cells[1].ravel())) / width
    middle_y = (rows + np.tanh(cells[2].ravel())) / height
    boxes = np.stack(
        [middle_x, middle_y, activate(cells[3].ravel(), "sigmoid"), activate(cells[4].ravel(), "sigmoid")],
        axis=1,
    )
    labels = classes.argmax(axis=0)
    likeliest = classes[labels, np.arange(len(labels))]
    confidences = np.clip(there, 0, 1) ** 0.6 * np.clip(likeliest, 0, 1) ** 0.4
    return Found(corners_of(boxes, "centre"), labels, confidences)


def corners_of(boxes: NDArray[np.float64], form: BoxForm) -> NDArray[np.float64]:
    """Return boxes of any form, (A, 4), as left, top, right and bottom."""
    if form == "corners":
        return boxes
    first, size = boxes[:, :2], boxes[:, 2:]
    start = first - size / 2 if form == "centre" else first
    return np.concatenate([start, start + size], axis=1)


def suppress(found: Found, overlap: float, limit: int) -> Found:
    """Return the surest boxes first, without those that repeat a surer one of the same label.

    Parameters
    ----------
    found : Found
        Boxes in any order.
    overlap : float
        Two boxes are one thing from this share of what both cover together (intersection over union).
    limit : int
        The most to return.
    """
    found = found.take(np.argsort(-found.confidences, kind="stable")[:_MOST_COMPARED])
    repeats = (_overlaps(found.corners) >= overlap) & (found.labels[:, None] == found.labels)
    is_kept = np.ones(len(found), bool)
    for index in range(len(found)):
        if is_kept[index]:
            is_kept[index + 1 :] &= ~repeats[index, index + 1 :]
    return found.take(np.flatnonzero(is_kept)[:limit])


def _overlaps(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the intersection over union of all with all, (A, A)."""
    start = np.maximum(corners[:, None, :2], corners[None, :, :2])
    end = np.minimum(corners[:, None, 2:], corners[None, :, 2:])
    shared = np.clip(end - start, 0, None).prod(axis=2)
    areas = np.clip(corners[:, 2:] - corners[:, :2], 0, None).prod(axis=1)
    together = areas[:, None] + areas - shared
    return np.asarray(np.divide(shared, together, out=np.zeros_like(shared), where=together > 0))
