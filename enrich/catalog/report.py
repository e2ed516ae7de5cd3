"""What people ask of the catalog: its state, and everything about one asset."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session, selectinload

from enrich.catalog import counters
from enrich.catalog.clean import path_digest
from enrich.catalog.engine import translated
from enrich.catalog.tables import Annotation, Asset, Counter, File, Run

__all__ = ["failures", "find", "miscounted", "open_jobs", "show", "status"]


def status(engine: sa.Engine) -> dict[str, Any]:
    """Return counts of files by state and of jobs by step and state, and the last runs."""
    with translated(), engine.connect() as connection:
        files = dict(
            connection.execute(
                sa.select(Counter.state, Counter.value).where(Counter.step == counters.FILES)
            ).all()
        )
        coverage = [dict(row) for row in connection.execute(sa.text("SELECT * FROM coverage")).mappings()]
        assets = connection.execute(sa.select(sa.func.count()).select_from(Asset)).scalar_one()
        runs = connection.execute(
            sa.select(Run.id, Run.kind, Run.started_at, Run.ended_at, Run.version, Run.host)
            .order_by(Run.id.desc())
            .limit(5)
        ).mappings()
        return {"assets": assets, "files": files, "steps": coverage, "runs": [dict(row) for row in runs]}


def failures(engine: sa.Engine, limit: int) -> list[dict[str, Any]]:
    """Return the first ``limit`` rows of the view ``failures``."""
    with translated(), engine.connect() as connection:
        rows = connection.execute(sa.text("SELECT * FROM failures LIMIT :limit"), {"limit": limit})
        return [dict(row) for row in rows.mappings()]


def open_jobs(engine: sa.Engine) -> int:
    """Return how many jobs of active steps are pending or running."""
    statement = sa.text("SELECT coalesce(sum(pending + running), 0) FROM coverage")
    with translated(), engine.connect() as connection:
        return int(connection.execute(statement).scalar_one())


def miscounted(engine: sa.Engine) -> list[str]:
    """Return where the counters differ from what they count, one line each."""
    # Both counts must see one state: SQLite's transactions do, PostgreSQL's only if asked.
    if engine.dialect.name == "postgresql":
        engine = engine.execution_options(isolation_level="REPEATABLE READ")
    with translated(), engine.connect() as connection:
        right = counters.recount(connection)
        kept = {
            (step, state, generator_id): value
            for step, state, generator_id, value in connection.execute(
                sa.select(Counter.step, Counter.state, Counter.generator_id, Counter.value)
            )
            if value
        }
    return [
        f"counter {step or 'files'} {state} (generator {generator_id}): "
        f"says {kept.get(key, 0)}, is {right.get(key, 0)}"
        for key in sorted(right.keys() | kept.keys())
        if right.get(key, 0) != kept.get(key, 0)
        for step, state, generator_id in [key]
    ]


def find(engine: sa.Engine, name: str) -> tuple[str, int] | None:
    """Return what ``name`` is: ("asset", id), or ("file", id) for a path; None if it is unknown."""
    with translated(), engine.connect() as connection:
        by_path = sa.select(File.id).where(File.path_digest == path_digest(name))
        file_id = connection.execute(by_path).scalar()
        if file_id is not None:
            return "file", file_id
        if name.isdecimal() and len(name) < 19:
            asset_id = connection.execute(sa.select(Asset.id).where(Asset.id == int(name))).scalar()
            if asset_id is not None:
                return "asset", asset_id
        return None


def show(engine: sa.Engine, kind: str, row_id: int) -> dict[str, Any]:
    """Return everything known of an asset, or of a file and the asset it holds."""
    with translated(), Session(engine) as session:
        shown: dict[str, Any] = {}
        asset_id: int | None = row_id
        if kind == "file":
            file = session.get_one(File, row_id)
            shown["file"] = _columns(file)
            asset_id = file.asset_id
        if asset_id is None:
            return shown
        asset = session.scalars(
            sa.select(Asset)
            .where(Asset.id == asset_id)
            .options(
                selectinload(Asset.files),
                selectinload(Asset.jobs),
                selectinload(Asset.annotations).selectinload(Annotation.generator),
            )
        ).one()
        shown["asset"] = _columns(asset)
        shown["files"] = [_columns(file) for file in asset.files]
        shown["jobs"] = [_columns(job) for job in asset.jobs]
        shown["annotations"] = [
            {**_columns(annotation), "generator": _columns(annotation.generator)}
            for annotation in asset.annotations
            if annotation.superseded_at is None
        ]
        shown["superseded"] = len(asset.annotations) - len(shown["annotations"])
        return shown


def _columns(row: Any) -> dict[str, Any]:
    return {column.key: getattr(row, column.key) for column in sa.inspect(type(row)).column_attrs}
