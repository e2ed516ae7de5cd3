"""The shape of a picture, by its original's sides."""

from __future__ import annotations

from collections.abc import Sequence

import pydantic

import enrich

revision = "2"


class Options(pydantic.BaseModel):
    """What a step may set: sides that differ by less than ``tolerance`` are a square."""

    tolerance: float = 0.0


@enrich.hookimpl
def enrich_data(
    renditions: Sequence[enrich.Rendition], context: enrich.Context
) -> list[dict[str, str] | None]:
    """Return ``{"shape": ...}`` per rendition."""
    return [{"shape": _shape(item, context.options.tolerance)} for item in renditions]


def _shape(rendition: enrich.Rendition, tolerance: float) -> str:
    ratio = rendition.original_width_px / rendition.original_height_px
    if abs(ratio - 1) <= tolerance:
        return "square"
    return "landscape" if ratio > 1 else "portrait"
