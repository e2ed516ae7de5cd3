"""What was said of pictures over HTTP and is kept: annotations of the step ``api``, outside any job."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from enrich.catalog import counters
from enrich.catalog.record import AnnotationRow
from enrich.catalog.tables import Annotation, Asset, Generator, Tag

__all__ = ["STEP", "MadeBy", "Said", "annotate", "asset_of", "find"]

#: What the step is called that requests are kept as.
STEP = "api"


@dataclass(frozen=True, slots=True)
class Said:
    """What is kept of one picture and one question."""

    asset_id: int
    kind: str
    text: str | None
    data: Any
    confidence: float | None
    language: str | None


@dataclass(frozen=True, slots=True)
class MadeBy:
    """The key of a generator, and the options that its digest is of."""

    hook: str
    plugin: str
    plugin_revision: str
    model: str
    model_revision: str
    options: Mapping[str, Any]
    options_digest: str


def asset_of(connection: sa.Connection, image_hash: str) -> int | None:
    """Return the asset that is this picture."""
    found: int | None = connection.execute(sa.select(Asset.id).where(Asset.image_hash == image_hash)).scalar()
    return found


def find(connection: sa.Connection, image_hash: str, item: str) -> Said | None:
    """Return what is kept of this picture under ``item``."""
    columns = [getattr(Annotation, name) for name in Said.__dataclass_fields__]
    found = connection.execute(
        sa.select(*columns)
        .join(Asset, Asset.id == Annotation.asset_id)
        .where(
            Asset.image_hash == image_hash,
            Annotation.step == STEP,
            Annotation.item == item,
            Annotation.page == 0,
            Annotation.superseded_at.is_(None),
        )
    ).first()
    return None if found is None else Said(*found)


def annotate(
    connection: sa.Connection,
    asset_id: int,
    row: AnnotationRow,
    made_by: MadeBy,
    *,
    run_id: int,
    now: dt.datetime,
) -> int:
    """Write what was said, in the place of what was said under the same item; return its id."""
    connection.execute(
        sa.update(Annotation)
        .where(
            Annotation.asset_id == asset_id,
            Annotation.step == STEP,
            Annotation.item == row.columns["item"],
            Annotation.page == row.columns["page"],
            Annotation.superseded_at.is_(None),
        )
        .values(superseded_at=now)
    )
    values = {
        "asset_id": asset_id,
        "step": STEP,
        "generator_id": _generator(connection, made_by),
        "run_id": run_id,
        "created_at": now,
        **row.columns,
    }
    annotation_id = connection.execute(
        sa.insert(Annotation).values(values).returning(Annotation.id)
    ).scalar_one()
    tags = [
        {"annotation_id": annotation_id, "asset_id": asset_id, "name": name, "confidence": confidence}
        for name, confidence in row.tags
    ]
    if tags:
        connection.execute(sa.insert(Tag), tags)
    return annotation_id


def _generator(connection: sa.Connection, made_by: MadeBy) -> int:
    names = ("hook", "plugin", "plugin_revision", "model", "model_revision", "options_digest")
    key = {name: getattr(made_by, name) for name in names}
    statement = counters.insert(connection, Generator).values(options=dict(made_by.options), **key)
    connection.execute(statement.on_conflict_do_nothing())
    found = sa.select(Generator.id).where(*(getattr(Generator, name) == value for name, value in key.items()))
    return int(connection.execute(found).scalar_one())
