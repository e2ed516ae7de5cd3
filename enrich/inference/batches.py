"""A few fixed batch sizes instead of arbitrary ones: every new shape costs a runtime memory for good."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["BUCKETS", "decompose"]

#: The batch sizes of a graph whose batch is symbolic.
BUCKETS = (1, 2, 4, 8, 16)


def decompose(count: int, buckets: Sequence[int] = BUCKETS) -> list[int]:
    """Return batch sizes out of ``buckets`` (ascending, from 1) that sum up to ``count``, largest first.

    Nothing is padded: ``decompose(13)`` is ``[8, 4, 1]``.
    """
    sizes: list[int] = []
    for bucket in reversed(buckets):
        whole, count = divmod(count, bucket)
        sizes += [bucket] * whole
    return sizes
