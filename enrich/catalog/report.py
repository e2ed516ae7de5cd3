"""What people ask of the catalog: its state, and everything about one asset."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session, selectinload

from enrich.catalog import control, counters, queue, roots
from enrich.catalog.clean import path_digest
from enrich.catalog.engine import translated
from enrich.catalog.steps import is_stale
from enrich.catalog.tables import JOB_STATES, Annotation, Asset, Counter, File, Job, RootState, Run, Step

__all__ = ["failures", "find", "lacking", "miscounted", "open_jobs", "show", "status", "whole"]


_OF_ROOT = (
    RootState.path,
    RootState.state,
    RootState.reason,
    RootState.mode,
    RootState.owner,
    RootState.folders,
    RootState.watches,
    RootState.events_seen,
    RootState.events_lost,
    RootState.rescued,
    RootState.scanned_at,
    RootState.updated_at,
)


def status(engine: sa.Engine) -> dict[str, Any]:
    """Return how far everything is: files and jobs by state, roots, the last runs, whether it is paused.

    Read from counters, so it costs the same for ten files and for ten million.
    """
    with translated(), engine.connect() as connection:
        files = dict(
            connection.execute(
                sa.select(Counter.state, Counter.value).where(Counter.step == counters.FILES)
            ).all()
        )
        steps = _steps(connection)
        runs = connection.execute(
            sa.select(Run.id, Run.kind, Run.started_at, Run.ended_at, Run.version, Run.host)
            .order_by(Run.id.desc())
            .limit(5)
        )
        of_roots = connection.execute(sa.select(*_OF_ROOT).order_by(RootState.path))
        return {
            "assets": _count_assets(connection, steps),
            "files": files,
            "steps": steps,
            "roots": [dict(row) for row in of_roots.mappings()],
            "paused_at": control.paused_at(connection),
            "runs": [dict(row) for row in runs.mappings()],
        }


def _steps(connection: sa.Connection) -> list[dict[str, Any]]:
    """Return the rows of the view ``coverage``, with what is known of each step besides."""
    known = sa.select(Step.name, Step.trouble, Step.paused_until).where(Step.is_active)
    besides = {
        name: {"trouble": trouble, "paused_until": paused_until}
        for name, trouble, paused_until in connection.execute(known)
    }
    coverage = connection.execute(sa.text("SELECT * FROM coverage")).mappings()
    return [{**row, **besides.get(row["step"], {"trouble": None, "paused_until": None})} for row in coverage]


def _count_assets(connection: sa.Connection, steps: list[dict[str, Any]]) -> int:
    if steps:  # every active step has one job for every asset, and those are counted already
        return sum(steps[0][state] for state in JOB_STATES)
    return connection.execute(sa.select(sa.func.count()).select_from(Asset)).scalar_one()


def lacking(engine: sa.Engine) -> list[dict[str, Any]]:
    """Return how many assets lack an annotation of which active step, in which state, and why.

    ``why`` is one of the sentences below for jobs that are pending, the reason for those that were
    skipped, the ``error_kind`` for those that failed. ``until`` is when that may change, where it is
    known. It looks at every pending job: a million of them take some seconds.
    """
    with translated(), _at_one_moment(engine).connect() as connection:
        steps = _steps(connection)
        is_paused = control.paused_at(connection) is not None
        found: list[tuple[str, str, str, int, dt.datetime | None]] = []
        looked_at = []
        for step in steps:
            name, until = step["step"], step["paused_until"]
            if is_paused:
                found.append((name, "pending", "the catalog is paused", step["pending"], None))
            elif until is not None:
                found.append((name, "pending", "the step is paused", step["pending"], until))
            elif step["pending"]:
                looked_at.append(name)
            found.append((name, "running", "under way", step["running"], None))
        if looked_at:
            found += _pending(connection, looked_at)
        if any(step["skipped"] or step["failed"] for step in steps):
            found += _ended(connection, [step["step"] for step in steps])
    order = [step["step"] for step in steps]
    return [
        {"step": step, "state": state, "why": why, "count": count, "until": until}
        for step, state, why, count, until in sorted(
            found, key=lambda row: (order.index(row[0]), JOB_STATES.index(row[1]), -row[3], row[2])
        )
        if count
    ]


def _pending(
    connection: sa.Connection, steps: list[str]
) -> Iterator[tuple[str, str, str, int, dt.datetime | None]]:
    """Yield what keeps pending jobs of some steps; a job's file is looked for as ``queue.claim`` does."""
    now = dt.datetime.now(dt.UTC)
    is_later = sa.and_(
        Job.retry_at > now, Job.retry_at <= now + dt.timedelta(seconds=queue.MAX_RETRY_SECONDS)
    )
    is_present = sa.exists().where(File.asset_id == Job.asset_id, File.state == "present").correlate(Job)
    away = roots.offline(connection)
    is_there = is_present.where(File.root.not_in(away)) if away else is_present
    later = "to be tried again"
    why = sa.case(
        (is_there, sa.case((is_later, later), else_="due")),
        (is_present, "its root is offline") if away else (sa.false(), ""),
        else_="no present file",
    )
    kept = (
        sa.select(Job.step, why.label("why"), Job.retry_at)
        .where(Job.state == "pending", Job.step.in_(steps))
        .subquery()
    )
    counted = sa.select(kept.c.step, kept.c.why, sa.func.count(), sa.func.min(kept.c.retry_at))
    for step, reason, count, retry_at in connection.execute(counted.group_by(kept.c.step, kept.c.why)):
        yield step, "pending", reason, count, retry_at if reason == later else None


def _ended(connection: sa.Connection, steps: list[str]) -> Iterator[tuple[str, str, str, int, None]]:
    why = sa.case((Job.state == "skipped", Job.reason), else_=Job.error_kind)
    kept = (
        sa.select(Job.step, Job.state, why.label("why"))
        .where(Job.state.in_(("skipped", "failed")), Job.step.in_(steps))
        .subquery()
    )
    counted = sa.select(kept, sa.func.count()).group_by(kept.c.step, kept.c.state, kept.c.why)
    for step, state, reason, count in connection.execute(counted):
        yield step, state, reason or "", count, None


def _at_one_moment(engine: sa.Engine) -> sa.Engine:
    """Return ``engine`` with transactions of which all statements see one state of the catalog."""
    # SQLite's do so always, PostgreSQL's only if asked.
    if engine.dialect.name == "postgresql":
        return engine.execution_options(isolation_level="REPEATABLE READ")
    return engine


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
    with translated(), _at_one_moment(engine).connect() as connection:
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


def whole(engine: sa.Engine, kind: str, row_id: int) -> tuple[str, int]:
    """Return the asset of what ``find`` found, if it is one."""
    if kind == "file":
        with translated(), engine.connect() as connection:
            asset_id = connection.execute(sa.select(File.asset_id).where(File.id == row_id)).scalar()
        if asset_id is not None:
            return "asset", asset_id
    return kind, row_id


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
        stale = set(
            session.scalars(sa.select(Annotation.id).where(Annotation.asset_id == asset_id, is_stale()))
        )
        shown["annotations"] = [
            {
                **_columns(annotation),
                "is_stale": annotation.id in stale,
                "generator": _columns(annotation.generator),
            }
            for annotation in asset.annotations
            if annotation.superseded_at is None
        ]
        shown["superseded"] = len(asset.annotations) - len(shown["annotations"])
        return shown


def _columns(row: Any) -> dict[str, Any]:
    return {column.key: getattr(row, column.key) for column in sa.inspect(type(row)).column_attrs}
