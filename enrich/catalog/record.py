"""Writing what became of claimed jobs: annotations and job states in one fenced transaction."""

from __future__ import annotations

import datetime as dt
from collections import Counter as Tally
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sa

from enrich.catalog import counters
from enrich.catalog.tables import Annotation, Embedding, GeneratorItem, Job, Tag

__all__ = ["AnnotationRow", "JobResult", "record"]


@dataclass(frozen=True, slots=True)
class AnnotationRow:
    """One annotation to insert: columns of ``annotations``, and rows of ``tags`` and ``embeddings``."""

    columns: dict[str, Any]
    tags: tuple[tuple[str, float | None], ...] = ()
    vector: bytes | None = None


@dataclass(frozen=True, slots=True)
class JobResult:
    """What became of one claimed job.

    ``state`` is done, skipped (with ``reason``), failed (with ``error``), or pending: to be tried
    again at ``retry_at``. ``attempts`` is the attempt it was claimed with, and given back where the
    job is not to blame (``is_counted``).
    """

    job_id: int
    asset_id: int
    step: str
    attempts: int
    state: Literal["done", "skipped", "failed", "pending"]
    generator_id: int
    annotations: tuple[AnnotationRow, ...] = ()
    reason: str | None = None
    error_kind: str | None = None
    error: str | None = None
    retry_at: dt.datetime | None = None
    is_counted: bool = True


def record(
    connection: sa.Connection, results: Sequence[JobResult], *, worker: str, run_id: int, now: dt.datetime
) -> list[JobResult]:
    """Write results that ``worker`` still has the right to write; return those.

    What a done job said before is superseded by what it says now. A result whose lease was lost
    is left out: another worker has the job.
    """
    held = {
        (job_id, attempts)
        for job_id, attempts in connection.execute(
            sa.select(Job.id, Job.attempts).where(
                Job.id.in_([result.job_id for result in results]),
                Job.worker == worker,
                Job.state == "running",
            )
        )
    }
    valid = [result for result in results if (result.job_id, result.attempts) in held]
    _annotate(connection, [result for result in valid if result.state == "done"], run_id, now)
    _move(connection, valid, now)
    return valid


def _annotate(connection: sa.Connection, done: list[JobResult], run_id: int, now: dt.datetime) -> None:
    if not done:
        return
    connection.execute(
        sa.update(Annotation)
        .where(
            Annotation.superseded_at.is_(None),
            sa.tuple_(Annotation.asset_id, Annotation.step).in_(
                [(result.asset_id, result.step) for result in done]
            ),
        )
        .values(superseded_at=now)
    )
    said = [(result, row) for result in done for row in result.annotations]
    own = _generators_of_items(connection, said)
    rows = [
        {
            "asset_id": result.asset_id,
            "step": result.step,
            "generator_id": own.get((result.generator_id, row.columns["item"]), result.generator_id),
            "run_id": run_id,
            "created_at": now,
            **row.columns,
        }
        for result, row in said
    ]
    if not rows:
        return
    statement = sa.insert(Annotation).returning(Annotation.id, sort_by_parameter_order=True)
    ids = list(connection.execute(statement, rows).scalars())
    tags = [
        {"annotation_id": id_, "asset_id": result.asset_id, "name": name, "confidence": confidence}
        for id_, (result, row) in zip(ids, said, strict=True)
        for name, confidence in row.tags
    ]
    if tags:
        connection.execute(sa.insert(Tag), tags)
    vectors = [
        {
            "annotation_id": id_,
            "asset_id": result.asset_id,
            "generator_id": result.generator_id,
            "dimensions": len(row.vector) // 4,
            "vector": row.vector,
        }
        for id_, (result, row) in zip(ids, said, strict=True)
        if row.vector is not None
    ]
    if vectors:
        connection.execute(sa.insert(Embedding), vectors)


def _generators_of_items(
    connection: sa.Connection, said: Sequence[tuple[JobResult, AnnotationRow]]
) -> dict[tuple[int, str], int]:
    """Return the generators of answers' own, by that of their step and their question."""
    asked = {result.generator_id for result, row in said if row.columns["item"]}
    if not asked:
        return {}
    found = sa.select(GeneratorItem.generator_id, GeneratorItem.item, GeneratorItem.made_by).where(
        GeneratorItem.generator_id.in_(asked)
    )
    return {(generator_id, item): made_by for generator_id, item, made_by in connection.execute(found)}


def _move(connection: sa.Connection, results: list[JobResult], now: dt.datetime) -> None:
    if not results:
        return
    columns = ("state", "reason", "error_kind", "error", "retry_at", "generator_id", "attempts")
    deltas: Tally[tuple[str, str, int]] = Tally()
    rows = []
    for result in results:
        generator_id = counters.generator_of(result.state, result.generator_id)
        deltas[result.step, "running", 0] -= 1
        deltas[result.step, result.state, generator_id] += 1
        rows.append(
            {
                "key": result.job_id,
                "state": result.state,
                "reason": result.reason,
                "error_kind": result.error_kind,
                "error": result.error,
                "retry_at": result.retry_at,
                "generator_id": generator_id or None,
                "attempts": result.attempts - (not result.is_counted),
            }
        )
    statement = sa.update(Job).where(Job.id == sa.bindparam("key"))
    values: dict[str, Any] = {name: sa.bindparam(name) for name in columns}
    connection.execute(statement.values(worker=None, lease_expires_at=None, updated_at=now, **values), rows)
    counters.add(connection, deltas)
