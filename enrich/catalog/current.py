"""What a step says of an asset now, as observers hand it on."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from enrich.catalog.clean import unescape_path
from enrich.catalog.tables import Annotation, Asset, File

__all__ = ["about"]

_COLUMNS = ("item", "page", "kind", "text", "data", "confidence", "language", "is_empty")

# Made once: an observer asks at each step of each asset, and making them costs more than asking.
_ASSET_ID: sa.BindParameter[int] = sa.bindparam("asset_id")
_STEP: sa.BindParameter[str] = sa.bindparam("step")
_PATH = sa.select(
    sa.select(sa.func.min(File.path))
    .where(File.asset_id == _ASSET_ID, File.state == "present")
    .scalar_subquery()
).where(sa.exists().where(Asset.id == _ASSET_ID))
_CURRENT = (
    sa.select(*(getattr(Annotation, name) for name in _COLUMNS))
    .where(Annotation.asset_id == _ASSET_ID, Annotation.step == _STEP, Annotation.superseded_at.is_(None))
    .order_by(Annotation.page, Annotation.id)
)


def about(connection: sa.Connection, asset_id: int, step: str) -> dict[str, Any] | None:
    """Return an asset's lowest present path (None where it has none) and a step's current annotations.

    None: there is no such asset, or not any more.
    """
    row = connection.execute(_PATH, {"asset_id": asset_id}).first()
    if row is None:
        return None
    path: str | None = row[0]
    current = connection.execute(_CURRENT, {"asset_id": asset_id, "step": step})
    return {
        # Bytes that are no text cannot stand in JSON: they are shown as question marks.
        "path": None if path is None else str(unescape_path(path)).encode(errors="replace").decode(),
        "annotations": [dict(zip(_COLUMNS, annotation, strict=True)) for annotation in current],
    }
