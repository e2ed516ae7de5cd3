"""What decoders have read: keys and values of each layer, as graphs name them and as torch holds them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torch import Tensor
from transformers.cache_utils import DynamicCache

__all__ = ["cache_names", "filled", "halves", "present_names"]


def cache_names(layers: int, owner: str = "") -> list[str]:
    """Return ``past_key_values.0.key`` and so on; with an owner ``past_key_values.0.decoder.key``."""
    part = f".{owner}" if owner else ""
    return [f"past_key_values.{layer}{part}.{half}" for layer in range(layers) for half in ("key", "value")]


def present_names(past: Iterable[str]) -> list[str]:
    """Return what a graph calls the longer past that it gives."""
    return [name.replace("past_key_values", "present") for name in past]


def filled(past: Sequence[Tensor]) -> DynamicCache:
    """Return a cache of keys and values, (B, heads, S, D), that stand in the order of ``cache_names``."""
    cache = DynamicCache()
    for layer, (keys, values) in enumerate(zip(past[::2], past[1::2], strict=True)):
        cache.update(keys, values, layer)
    return cache


def halves(cache: DynamicCache) -> tuple[Tensor, ...]:
    """Return the keys and values of a cache in the order of ``cache_names``."""
    return tuple(half for layer in cache.layers for half in (layer.keys, layer.values))
