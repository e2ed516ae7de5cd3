"""Tasks of the task array: accepted once, run until they end, and kept until their results expire.

As with jobs, a claim counts the attempt and grants a lease, and a result is written only while its
worker still holds that attempt: a process that dies costs time and no task. A task's end and its
webhook's delivery are one transaction.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

import sqlalchemy as sa

from enrich.catalog import counters, deliveries
from enrich.catalog.api_tables import ApiTask, Delivery, TaskUpload, Upload

__all__ = [
    "MAX_ATTEMPTS",
    "Accepted",
    "Conflict",
    "Known",
    "TaskRow",
    "accept",
    "claim",
    "expire",
    "extend",
    "find",
    "finish",
    "open_count",
    "reclaim",
    "release",
    "workers",
]

#: A task that was claimed more often than this has mostly killed its worker; who claims it ends it.
MAX_ATTEMPTS = 10

_OPEN = ("accepted", "running")


@dataclass(frozen=True, slots=True)
class TaskRow:
    """A task as the catalog has it; ``body`` is None once it ended, ``attempts`` the fence of its end.

    What may hold secrets is not in its ``repr``, which ends in logs.
    """

    id: int
    key_id: int | None
    task_uuid: str
    task_key: str
    task_type: str
    body_digest: str
    body: dict[str, Any] | None = field(repr=False)
    state: str
    result: dict[str, Any] | None = field(repr=False)
    cost: float | None
    is_async: bool
    webhook_url: str | None = field(repr=False)
    created_at: dt.datetime
    finished_at: dt.datetime | None
    expires_at: dt.datetime | None
    attempts: int
    lease_expires_at: dt.datetime | None
    worker: str | None


@dataclass(frozen=True, slots=True)
class Accepted:
    """A new task."""

    task: TaskRow


@dataclass(frozen=True, slots=True)
class Known:
    """The same task was sent before: this is what became of it so far."""

    task: TaskRow


@dataclass(frozen=True, slots=True)
class Conflict:
    """Another task was sent under the same UUID."""

    task: TaskRow


_COLUMNS = tuple(getattr(ApiTask, column.name) for column in fields(TaskRow))


def _is_of(key_id: int | None, task_key: str) -> sa.ColumnElement[bool]:
    same_key = ApiTask.key_id.is_(None) if key_id is None else ApiTask.key_id == key_id
    return sa.and_(same_key, ApiTask.task_key == task_key)


def accept(
    connection: sa.Connection,
    *,
    key_id: int | None,
    task_uuid: str,
    task_key: str,
    task_type: str,
    body_digest: str,
    body: Mapping[str, Any],
    is_async: bool,
    now: dt.datetime,
    webhook_url: str | None = None,
    upload_uuids: Collection[str] = (),
    worker: str | None = None,
    lease_seconds: float = 0.0,
) -> Accepted | Known | Conflict:
    """Take a task in, or say that it is known.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        A transaction that writes.
    key_id : int or None
        Whose it is; a UUID is unique among the tasks of one key.
    task_uuid, task_key : str
        As written, and in canonical form.
    task_type : str
        What is to be done.
    body_digest : str
        Tells the same task sent again from another one.
    body : mapping
        What is needed to run it, pictures by their uploads' UUIDs; without secrets.
    is_async : bool
        Whether nobody waits for it.
    now : datetime
        The present instant.
    webhook_url : str or None
        Where its end is to be told.
    upload_uuids : collection of str
        The uploads that it needs: they stay until it ended.
    worker, lease_seconds : str, float
        Who runs it at once, and for how long it is theirs; without, it waits to be claimed.
    """
    _drop_expired(connection, key_id, task_key, now)
    values = {
        "key_id": key_id,
        "task_uuid": task_uuid,
        "task_key": task_key,
        "task_type": task_type,
        "body_digest": body_digest,
        "body": dict(body),
        "state": "accepted" if worker is None else "running",
        "is_async": is_async,
        "webhook_url": webhook_url,
        "created_at": now,
        "attempts": 0 if worker is None else 1,
        "worker": worker,
        "lease_expires_at": None if worker is None else now + dt.timedelta(seconds=lease_seconds),
    }
    statement = counters.insert(connection, ApiTask).values(values)
    made = connection.execute(statement.on_conflict_do_nothing().returning(*_COLUMNS)).first()
    if made is not None:
        task = TaskRow(*made)
        _link(connection, task, upload_uuids)
        return Accepted(task)
    found = connection.execute(sa.select(*_COLUMNS).where(_is_of(key_id, task_key))).one()
    task = TaskRow(*found)
    return Known(task) if task.body_digest == body_digest else Conflict(task)


def _link(connection: sa.Connection, task: TaskRow, upload_uuids: Collection[str]) -> None:
    if upload_uuids:
        same_key = Upload.key_id.is_(None) if task.key_id is None else Upload.key_id == task.key_id
        wanted = sa.select(sa.literal(task.id, ApiTask.id.type), Upload.id).where(
            Upload.uuid.in_(list(upload_uuids)), same_key
        )
        connection.execute(sa.insert(TaskUpload).from_select(["task_id", "upload_id"], wanted))


def claim(
    connection: sa.Connection, *, worker: str, limit: int, lease_seconds: float, now: dt.datetime
) -> list[TaskRow]:
    """Take up to ``limit`` tasks, oldest first: those that wait, and those whose lease is over."""
    is_free = sa.or_(
        ApiTask.state == "accepted", sa.and_(ApiTask.state == "running", ApiTask.lease_expires_at <= now)
    )
    # The index of open tasks serves only if it is asked for.
    is_due = sa.and_(ApiTask.state.in_(_OPEN), is_free)
    oldest = sa.select(ApiTask.id).where(is_due).order_by(ApiTask.id).limit(limit)
    chosen = connection.execute(oldest).scalars().all()
    if not chosen:
        return []
    statement = (
        sa.update(ApiTask)
        # Asked once more of the row that is changed: another one's claim may have come between.
        .where(ApiTask.id.in_(chosen), is_due)
        .values(
            state="running",
            attempts=ApiTask.attempts + 1,
            worker=worker,
            lease_expires_at=now + dt.timedelta(seconds=lease_seconds),
        )
        .returning(*_COLUMNS)
    )
    return sorted((TaskRow(*row) for row in connection.execute(statement)), key=lambda task: task.id)


def extend(
    connection: sa.Connection,
    worker: str,
    lease_seconds: float,
    now: dt.datetime,
    only: Collection[int] | None = None,
) -> int:
    """Renew a living worker's leases (``only`` those of some tasks); return how many tasks it holds of them.

    A worker that names what it has in hand lets go of a task whose end could not be written.
    """
    statement = sa.update(ApiTask).where(_is_held(worker, only), ApiTask.state == "running")
    until = now + dt.timedelta(seconds=lease_seconds)
    return connection.execute(statement.values(lease_expires_at=until)).rowcount


def finish(
    connection: sa.Connection,
    task_id: int,
    *,
    worker: str,
    attempts: int,
    state: Literal["success", "error"],
    result: Mapping[str, Any],
    cost: float | None,
    now: dt.datetime,
    expires_at: dt.datetime,
    webhook: str | None = None,
) -> bool:
    """Write down how a task ended, and what its webhook is to be told, in one transaction.

    Returns
    -------
    bool
        False if the task is somebody else's by now, has ended, or was forgotten; then nothing is written.
    """
    is_held = sa.and_(
        ApiTask.id == task_id,
        ApiTask.state == "running",
        ApiTask.worker == worker,
        ApiTask.attempts == attempts,
    )
    found = connection.execute(sa.select(ApiTask.key_id, ApiTask.webhook_url).where(is_held)).first()
    if found is None:
        return False
    key_id, url = found
    values = {
        "state": state,
        "result": dict(result),
        "cost": cost,
        "finished_at": now,
        "expires_at": expires_at,
        "body": None,
        "webhook_url": None if url is None else deliveries.without_secrets(url),
        "worker": None,
        "lease_expires_at": None,
    }
    if not connection.execute(sa.update(ApiTask).where(is_held).values(values)).rowcount:
        return False
    if url is not None and webhook is not None:
        deliveries.add(connection, url=url, body=webhook, now=now, key_id=key_id, task_id=task_id)
    return True


def release(connection: sa.Connection, worker: str, only: Collection[int] | None = None) -> int:
    """Give back what a worker holds (``only`` some of it), as if never claimed; return how many tasks."""
    return _give_back(connection, _is_held(worker, only), {"attempts": ApiTask.attempts - 1})


def _is_held(worker: str, only: Collection[int] | None) -> sa.ColumnElement[bool]:
    is_its_own = ApiTask.worker == worker
    return is_its_own if only is None else sa.and_(is_its_own, ApiTask.id.in_(list(only)))


def reclaim(connection: sa.Connection, dead: Collection[str]) -> int:
    """Take back the tasks of workers that are certainly gone; return how many."""
    return _give_back(connection, ApiTask.worker.in_(list(dead)), {})


def _give_back(connection: sa.Connection, is_meant: sa.ColumnElement[bool], values: Mapping[str, Any]) -> int:
    statement = sa.update(ApiTask).where(ApiTask.state == "running", is_meant)
    free = {"state": "accepted", "worker": None, "lease_expires_at": None, **values}
    return connection.execute(statement.values(free)).rowcount


def workers(connection: sa.Connection) -> set[str]:
    """Return who holds tasks."""
    statement = sa.select(ApiTask.worker).where(ApiTask.state == "running").distinct()
    return {worker for worker in connection.execute(statement).scalars() if worker is not None}


def find(connection: sa.Connection, key_id: int | None, task_key: str, now: dt.datetime) -> TaskRow | None:
    """Return this key's task of a UUID; None if there is none, or its result has expired."""
    is_there = sa.or_(ApiTask.expires_at.is_(None), ApiTask.expires_at > now)
    found = connection.execute(sa.select(*_COLUMNS).where(_is_of(key_id, task_key), is_there)).first()
    return None if found is None else TaskRow(*found)


def open_count(connection: sa.Connection) -> int:
    """Return how many tasks have not ended."""
    statement = sa.select(sa.func.count()).select_from(ApiTask).where(ApiTask.state.in_(_OPEN))
    return connection.execute(statement).scalar_one()


def expire(connection: sa.Connection, now: dt.datetime) -> int:
    """Delete tasks whose results have expired, with their deliveries; return how many.

    A task whose webhook is still to be told stays until that is over.
    """
    return _delete(connection, ApiTask.expires_at <= now)


def _drop_expired(connection: sa.Connection, key_id: int | None, task_key: str, now: dt.datetime) -> None:
    """Let a UUID be used again once nothing can be found under it any more."""
    over = sa.select(ApiTask.id).where(_is_of(key_id, task_key), ApiTask.expires_at <= now)
    task_id = connection.execute(over).scalar()
    if task_id is not None:
        # Even if its webhook was not told yet: that goes on without the task.
        is_open = sa.and_(Delivery.delivered_at.is_(None), Delivery.failed_at.is_(None))
        told = sa.update(Delivery).where(Delivery.task_id == task_id, is_open)
        connection.execute(told.values(task_id=None))
        _delete(connection, ApiTask.id == task_id)


def _delete(connection: sa.Connection, condition: sa.ColumnElement[bool]) -> int:
    is_untold = sa.exists().where(
        Delivery.task_id == ApiTask.id, Delivery.delivered_at.is_(None), Delivery.failed_at.is_(None)
    )
    over = sa.select(ApiTask.id).where(condition, ~is_untold.correlate(ApiTask)).scalar_subquery()
    connection.execute(sa.delete(Delivery).where(Delivery.task_id.in_(over)))
    connection.execute(sa.delete(TaskUpload).where(TaskUpload.task_id.in_(over)))
    return connection.execute(sa.delete(ApiTask).where(ApiTask.id.in_(over))).rowcount
