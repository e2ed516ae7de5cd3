"""The queue: jobs are claimed by status and finished under a fence.

A job is never deleted, except with its asset by ``forget``. A claim counts the attempt and grants a
lease; a result is written only while its worker still holds that attempt. So a worker that dies
costs time, and one that wakes up too late changes nothing: at-least-once delivery, exactly-once
effect.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter as Tally
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from enrich.catalog import control, counters, roots
from enrich.catalog.clean import unescape_path
from enrich.catalog.tables import Annotation, Asset, File, Job

__all__ = [
    "CRASH_ATTEMPTS",
    "ClaimedAsset",
    "ClaimedJob",
    "Said",
    "claim",
    "heartbeat",
    "held",
    "leases",
    "reclaim",
    "release",
    "retry",
    "seconds_to_next",
]

#: A job whose worker died so often is the likely cause. More than ``max_attempts``, because a
#: worker is mostly killed for reasons of others (a deploy, a power cut) and its job retried alone.
CRASH_ATTEMPTS = 10

#: No retry is put off for longer: one that is was written under another clock, and is due.
MAX_RETRY_SECONDS = 3600.0 * 2

#: ``error_kind`` of a job whose worker died; such a job is claimed alone.
WORKER_DIED = "worker_died"


@dataclass(frozen=True, slots=True)
class ClaimedJob:
    """One step on one asset, held by this worker; ``attempts`` is the fence."""

    id: int
    step: str
    attempts: int


@dataclass(frozen=True, slots=True)
class Said:
    """A current annotation of an asset, for the steps that come later."""

    step: str
    item: str
    kind: str
    text: str | None
    data: Any
    confidence: float | None


@dataclass(frozen=True, slots=True)
class ClaimedAsset:
    """An asset with its claimed jobs, one of its present files as catalogued, and what is known of it."""

    id: int
    root: Path
    path: Path
    size_bytes: int
    modified_ns: int
    changed_ns: int
    media_type: str
    embedded: dict[str, Any]
    jobs: tuple[ClaimedJob, ...]
    said: tuple[Said, ...]


def _is_due(now: dt.datetime, steps: Collection[str]) -> sa.ColumnElement[bool]:
    return sa.and_(
        Job.state == "pending",
        Job.step.in_(steps),
        sa.or_(
            Job.retry_at.is_(None),
            Job.retry_at <= now,
            Job.retry_at > now + dt.timedelta(seconds=MAX_RETRY_SECONDS),
        ),
    )


def _is_there(away: Collection[str]) -> sa.ColumnElement[bool]:
    """Whether a file is present below a root that is not away."""
    is_present = File.state == "present"
    return sa.and_(is_present, File.root.not_in(away)) if away else is_present


def _has_file(away: Collection[str]) -> sa.ColumnElement[bool]:
    return sa.exists().where(File.asset_id == Job.asset_id, _is_there(away)).correlate(Job)


def claim(
    connection: sa.Connection,
    *,
    worker: str,
    steps: Collection[str],
    limit: int,
    lease_seconds: float,
    now: dt.datetime,
    blind: Collection[str] = (),
    newest_first: bool = False,
) -> list[ClaimedAsset]:
    """Take up to ``limit`` assets with all their due jobs, oldest first; none while the catalog is paused.

    Jobs whose worker died come last and one asset at a time: if one of them kills its worker, it
    takes no others along. Files below roots that are offline, or that this worker does not see
    (``blind``, escaped), do not count.
    """
    if control.paused_at(connection) is not None:
        return []
    away = sorted({*roots.offline(connection), *blind})
    due = _is_due(now, steps)
    innocent = sa.and_(due, sa.or_(Job.error_kind.is_(None), Job.error_kind != WORKER_DIED))
    asset_ids = _choose_assets(connection, innocent, limit, away, newest_first)
    if not asset_ids:
        innocent = due
        asset_ids = _choose_assets(connection, due, 1, away, newest_first)
    if not asset_ids:
        return []
    taken = connection.execute(
        sa.update(Job)
        .where(Job.asset_id.in_(asset_ids), innocent)
        .values(
            state="running",
            attempts=Job.attempts + 1,
            worker=worker,
            lease_expires_at=now + dt.timedelta(seconds=lease_seconds),
            retry_at=None,
            updated_at=now,
        )
        .returning(Job.id, Job.asset_id, Job.step, Job.attempts)
    ).all()
    jobs: dict[int, list[ClaimedJob]] = {}
    deltas: Tally[tuple[str, str, int]] = Tally()
    for job_id, asset_id, step, attempts in taken:
        jobs.setdefault(asset_id, []).append(ClaimedJob(job_id, step, attempts))
        deltas[step, "pending", 0] -= 1
        deltas[step, "running", 0] += 1
    counters.add(connection, deltas)
    return _describe(connection, jobs, away)


def _choose_assets(
    connection: sa.Connection,
    condition: sa.ColumnElement[bool],
    limit: int,
    away: Collection[str],
    newest_first: bool,
) -> list[int]:
    """Return the assets with the most urgent jobs."""
    order = Job.asset_id.desc() if newest_first else Job.asset_id
    chosen: list[int] = []
    priority: int | None = None
    while len(chosen) < limit:
        below = sa.true() if priority is None else Job.priority < priority
        top = sa.select(sa.func.max(Job.priority)).where(Job.state == "pending", below)
        priority = connection.execute(top).scalar()
        if priority is None:
            break
        # One priority at a time, in the order of ix_jobs_claimable: nothing is sorted.
        oldest = (
            sa.select(Job.asset_id)
            .distinct()
            .where(condition, Job.priority == priority, Job.asset_id.not_in(chosen), _has_file(away))
            .order_by(order)
            .limit(limit - len(chosen))
        )
        chosen.extend(connection.execute(oldest).scalars())
    return chosen


def _describe(
    connection: sa.Connection, jobs: dict[int, list[ClaimedJob]], away: Collection[str]
) -> list[ClaimedAsset]:
    stamp = (File.root, File.path, File.size_bytes, File.modified_ns, File.changed_ns)
    # From the highest path to the lowest: the lowest stays.
    of_assets = sa.select(File.asset_id, *stamp).where(File.asset_id.in_(jobs), _is_there(away))
    places = {row.asset_id: row for row in connection.execute(of_assets.order_by(File.path.desc()))}
    said: dict[int, list[Said]] = {}
    columns = (Annotation.step, Annotation.item, Annotation.kind, Annotation.text, Annotation.data)
    current = (
        sa.select(Annotation.asset_id, *columns, Annotation.confidence)
        .where(
            Annotation.asset_id.in_(jobs),
            Annotation.superseded_at.is_(None),
            Annotation.page == 0,
            ~Annotation.is_empty,
        )
        .order_by(Annotation.id)
    )
    for asset_id, *values in connection.execute(current):
        said.setdefault(asset_id, []).append(Said(*values))
    assets = connection.execute(
        sa.select(Asset.id, Asset.media_type, Asset.embedded).where(Asset.id.in_(jobs)).order_by(Asset.id)
    )
    return [
        ClaimedAsset(
            asset_id,
            unescape_path(places[asset_id].root),
            unescape_path(places[asset_id].path),
            places[asset_id].size_bytes,
            places[asset_id].modified_ns,
            places[asset_id].changed_ns,
            media_type,
            embedded or {},
            tuple(jobs[asset_id]),
            tuple(said.get(asset_id, ())),
        )
        for asset_id, media_type, embedded in assets
    ]


def heartbeat(connection: sa.Connection, worker: str, lease_seconds: float, now: dt.datetime) -> int:
    """Renew the leases of a living worker; return how many jobs it holds."""
    statement = (
        sa.update(Job)
        .where(Job.worker == worker, Job.state == "running")
        .values(lease_expires_at=now + dt.timedelta(seconds=lease_seconds))
    )
    return connection.execute(statement).rowcount


def release(
    connection: sa.Connection, worker: str, now: dt.datetime, only: Collection[int] | None = None
) -> int:
    """Give back what a worker holds (``only`` some of its jobs), as if never claimed; return how many."""
    is_meant = Job.worker == worker
    if only is not None:
        is_meant = sa.and_(is_meant, Job.id.in_(list(only)))
    values = {"attempts": Job.attempts - 1, "updated_at": now}
    return _to_pending(connection, "running", is_meant, values)


def reclaim(connection: sa.Connection, dead: Collection[str], now: dt.datetime) -> int:
    """Take back the jobs of the workers in ``dead``; return how many."""
    is_lost = Job.worker.in_(list(dead))
    given_up = (
        sa.update(Job)
        .where(Job.state == "running", is_lost, Job.attempts >= CRASH_ATTEMPTS)
        .values(
            state="failed",
            error_kind=WORKER_DIED,
            error=f"{CRASH_ATTEMPTS} workers died with this job; look at the file, then say: enrich retry",
            worker=None,
            lease_expires_at=None,
            updated_at=now,
        )
        .returning(Job.step)
    )
    deltas: Tally[tuple[str, str, int]] = Tally()
    for step in connection.execute(given_up).scalars():
        deltas[step, "running", 0] -= 1
        deltas[step, "failed", 0] += 1
    counters.add(connection, deltas)
    why = {"error_kind": WORKER_DIED, "error": "its worker died", "updated_at": now}
    return _to_pending(connection, "running", is_lost, why)


def _to_pending(
    connection: sa.Connection, state: str, condition: sa.ColumnElement[bool], values: dict[str, Any]
) -> int:
    """Make jobs of one state pending; return how many. In one statement, so that each counts once."""
    statement = (
        sa.update(Job)
        .where(Job.state == state, condition)
        .values(state="pending", worker=None, lease_expires_at=None, **values)
        .returning(Job.step, Job.generator_id)
    )
    deltas: Tally[tuple[str, str, int]] = Tally()
    moved = connection.execute(statement).all()
    for step, generator_id in moved:
        deltas[step, state, counters.generator_of(state, generator_id)] -= 1
        deltas[step, "pending", 0] += 1
    counters.add(connection, deltas)
    return len(moved)


def held(connection: sa.Connection, worker: str) -> set[tuple[int, int]]:
    """Return (id, attempt) of the jobs that a worker holds."""
    statement = sa.select(Job.id, Job.attempts).where(Job.worker == worker, Job.state == "running")
    return {(job_id, attempts) for job_id, attempts in connection.execute(statement)}


def leases(connection: sa.Connection) -> dict[str, dt.datetime]:
    """Return the workers that hold jobs, and until when: a living one puts that off all the time."""
    statement = (
        sa.select(Job.worker, sa.func.max(Job.lease_expires_at))
        .where(Job.state == "running")
        .group_by(Job.worker)
    )
    return {worker: end for worker, end in connection.execute(statement) if worker and end}


def retry(connection: sa.Connection, step: str | None, unreadable: Collection[str], now: dt.datetime) -> int:
    """Make failed jobs pending again, from their first attempt; return how many.

    So are those that were skipped because their original could not be decoded: ``unreadable``
    names the reasons.
    """
    is_wanted = sa.true() if step is None else Job.step == step
    anew = {"attempts": 0, "reason": None, "error_kind": None, "error": None, "retry_at": None}
    values = {**anew, "updated_at": now}
    is_unreadable = sa.and_(is_wanted, Job.reason.in_(unreadable))
    return _to_pending(connection, "failed", is_wanted, values) + _to_pending(
        connection, "skipped", is_unreadable, values
    )


def seconds_to_next(
    connection: sa.Connection, steps: Collection[str], now: dt.datetime, blind: Collection[str] = ()
) -> float | None:
    """Return how long until a job is due: 0 if one is, None if none will be, or all is paused."""
    if control.paused_at(connection) is not None:
        return None
    away = sorted({*roots.offline(connection), *blind})
    statement = sa.select(
        sa.func.min(sa.func.coalesce(Job.retry_at, sa.literal(now, Job.retry_at.type)))
    ).where(Job.state == "pending", Job.step.in_(steps), _has_file(away))
    earliest = connection.execute(statement).scalar()
    return None if earliest is None else max(0.0, (earliest - now).total_seconds())
