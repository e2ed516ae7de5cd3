"""Looking through the catalog from outside: its assets page by page, one asset, and words in what is said."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from enrich.catalog.api_tables import Upload
from enrich.catalog.clean import unescape_path
from enrich.catalog.tables import Annotation, Asset, File, Generator

__all__ = ["asset", "assets", "places", "search", "sent_as", "statements"]

_OF_ASSET = (
    Asset.id,
    Asset.image_hash,
    Asset.media_type,
    Asset.width_px,
    Asset.height_px,
    Asset.pages,
    Asset.taken_at,
    Asset.camera,
    Asset.ingested_at,
)
_OF_ANNOTATION = (
    Annotation.step,
    Annotation.item,
    Annotation.page,
    Annotation.kind,
    Annotation.text,
    Annotation.data,
    Annotation.confidence,
    Annotation.language,
    Annotation.question,
    Annotation.created_at,
    Generator.plugin,
    Generator.model,
)


def assets(connection: sa.Connection, *, limit: int, before_id: int | None = None) -> list[dict[str, Any]]:
    """Return the newest assets, or those next older than one."""
    chosen = sa.select(*_OF_ASSET).order_by(Asset.id.desc()).limit(limit)
    if before_id is not None:
        chosen = chosen.where(Asset.id < before_id)
    return [_plain(row) for row in connection.execute(chosen).mappings()]


def asset(connection: sa.Connection, asset_id: int) -> dict[str, Any] | None:
    """Return one asset; None where there is none of this id."""
    row = connection.execute(sa.select(*_OF_ASSET).where(Asset.id == asset_id)).mappings().one_or_none()
    return None if row is None else _plain(row)


def statements(
    connection: sa.Connection, asset_id: int, step: str | None = None, *, items: str = ""
) -> list[dict[str, Any]]:
    """Return what is said of an asset now, by all steps or by one, of items that begin with ``items``."""
    said = (
        sa.select(*_OF_ANNOTATION)
        .join(Generator, Generator.id == Annotation.generator_id)
        .where(Annotation.asset_id == asset_id, Annotation.superseded_at.is_(None))
        .order_by(Annotation.id)
    )
    if step is not None:
        said = said.where(Annotation.step == step)
    if items:
        said = said.where(Annotation.item.startswith(items, autoescape=True))
    return [_plain(row) for row in connection.execute(said).mappings()]


def places(connection: sa.Connection, asset_id: int) -> list[tuple[Path, str]]:
    """Return an asset's present files with their media types, by path."""
    present = (
        sa.select(File.path, File.media_type)
        .where(File.asset_id == asset_id, File.state == "present")
        .order_by(File.path)
    )
    return [
        (unescape_path(path), media_type)
        for path, media_type in connection.execute(present).tuples()
        if media_type is not None
    ]


def sent_as(connection: sa.Connection, key_id: int | None, asset_id: int) -> str | None:
    """Return the UUID of a key's newest upload that became an asset."""
    is_own = Upload.key_id.is_(None) if key_id is None else Upload.key_id == key_id
    newest = sa.select(Upload.uuid).where(is_own, Upload.asset_id == asset_id).order_by(Upload.id.desc())
    return connection.execute(newest.limit(1)).scalar()


def search(
    connection: sa.Connection, text: str, *, limit: int, before_id: int | None = None
) -> list[dict[str, Any]]:
    """Return assets of which something is said that holds all words of ``text``, newest first.

    Letters' case does not count. It reads what is said, from the newest on, until ``limit`` are found.
    """
    words = [sa.func.lower(Annotation.text).contains(word, autoescape=True) for word in text.lower().split()]
    found = (
        sa.select(Annotation.asset_id, Annotation.step, Annotation.item, Annotation.kind, Annotation.text)
        .where(Annotation.superseded_at.is_(None), Annotation.text.is_not(None), *words)
        .order_by(Annotation.asset_id.desc(), Annotation.id)
        .limit(limit)
    )
    if before_id is not None:
        found = found.where(Annotation.asset_id < before_id)
    return [dict(row) for row in connection.execute(found).mappings()]


def _plain(row: sa.RowMapping) -> dict[str, Any]:
    """Return a row as JSON can hold it."""
    return {
        name: value.isoformat() if isinstance(value, dt.datetime) else value for name, value in row.items()
    }
