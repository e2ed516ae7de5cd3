"""What a joint decoder has read: keys and values of rows that need not be equally long."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from enrich.inference.generator import ROWS_MAX

__all__ = ["JointCache", "padded", "rows_fitting"]

#: What the caches of all rows may take, at this many tokens each: of a large picture with its answer.
_CACHE_BYTES, _ROW_TOKENS = 2 * 2**30, 2048
#: Even so there are beams.
_ROWS_MIN = 4


@dataclass(frozen=True, slots=True)
class JointCache:
    """What a joint decoder read so far, row by row.

    Parameters
    ----------
    values : mapping of str to OrtValue
        By the decoder's input: (R, heads, P, width).
    length : int
        P: tokens read, padding included.
    pads : tuple of int
        For each row, how many of them are padding, on the left.
    ahead : tuple of int
        For each row, by how much its positions run ahead of its count.
    kind : hashable
        What caches that can be joined have in common.
    """

    values: Mapping[str, Any]
    length: int
    pads: tuple[int, ...]
    ahead: tuple[int, ...]
    kind: Hashable


def padded(past: NDArray[Any], length: int) -> NDArray[Any]:
    """Fill a past, (R, heads, P, width), up on the left with zeros, to ``length`` tokens."""
    missing = length - past.shape[2]
    return np.pad(past, ((0, 0), (0, 0), (missing, 0), (0, 0))) if missing else past


def rows_fitting(token_bytes: int) -> int:
    """Return how many rows may run together, whose cache takes so much for each token."""
    return min(ROWS_MAX, max(_ROWS_MIN, _CACHE_BYTES // (token_bytes * _ROW_TOKENS)))
