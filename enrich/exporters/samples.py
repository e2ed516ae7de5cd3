"""What decoders are traced and compared with: tokens, masks, states and caches of a few sizes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

__all__ = ["OTHERS", "TRACED", "Size", "cache", "ones", "pixels", "states", "tokens"]


@dataclass(frozen=True, slots=True)
class Size:
    """How many of each there are."""

    batch: int
    words: int
    past: int
    states: int

    @property
    def total(self) -> int:
        """Words with those before them."""
        return self.past + self.words


#: Lengths that are used nowhere else, so that one that was baked in shows.
TRACED = Size(batch=2, words=3, past=5, states=7)
#: The first run of a generation, a later one, and one of several words in the middle.
OTHERS = (Size(1, 4, 0, 6), Size(3, 1, 8, 9), Size(5, 2, 1, 7))


def tokens(size: Size, vocabulary: int) -> Tensor:
    """Return int64, (batch, words)."""
    return torch.arange(size.batch * size.words).reshape(size.batch, size.words) % vocabulary


def ones(batch: int, length: int) -> Tensor:
    """Return a mask that hides nothing: int64, (batch, length)."""
    return torch.ones(batch, length, dtype=torch.long)


def pixels(batch: int, config: Any) -> Tensor:
    """Return pictures of the size a vision configuration names: float32, (batch, C, H, W)."""
    edge = config.image_size
    height, width = (edge, edge) if isinstance(edge, int) else edge
    return torch.randn(batch, getattr(config, "num_channels", 3), height, width)


def states(size: Size, width: int) -> Tensor:
    """Return an encoder's states: float32, (batch, states, width)."""
    return torch.randn(size.batch, size.states, width)


def cache(names: Iterable[str], size: Size, heads: int, width: int) -> dict[str, Tensor]:
    """Return keys and values by their name: float32, (batch, heads, past, width); states for an encoder's."""
    return {
        name: torch.randn(size.batch, heads, size.states if ".encoder." in name else size.past, width)
        for name in names
    }
