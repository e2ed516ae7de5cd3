"""The outbox of webhooks: what is to be posted to whom, written with what it tells of.

A claim counts the attempt and puts the row off by a lease, so that a courier that dies costs time
and no delivery; at least once is what is promised. The outcome is written only while the attempt is
still the latest. An address may hold a token: it is cut off once the delivery has ended.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field, fields
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import sqlalchemy as sa

from enrich.catalog.api_tables import Delivery

__all__ = [
    "DeliveryRow",
    "add",
    "claim",
    "delivered",
    "expire",
    "given_up",
    "later",
    "next_at",
    "without_secrets",
]


@dataclass(frozen=True, slots=True)
class DeliveryRow:
    """Something to post; ``attempts`` is the fence of its outcome.

    What may hold secrets is not in its ``repr``, which ends in logs.
    """

    id: int
    key_id: int | None
    task_id: int | None
    asset_id: int | None
    url: str = field(repr=False)
    host: str
    body: str = field(repr=False)
    created_at: dt.datetime
    attempts: int
    next_at: dt.datetime
    delivered_at: dt.datetime | None
    failed_at: dt.datetime | None
    error: str | None


_COLUMNS = tuple(getattr(Delivery, column.name) for column in fields(DeliveryRow))


def _is_open() -> sa.ColumnElement[bool]:
    return sa.and_(Delivery.delivered_at.is_(None), Delivery.failed_at.is_(None))


def without_secrets(url: str) -> str:
    """Return an address without what may be a secret: its user, query and fragment."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def add(
    connection: sa.Connection,
    *,
    url: str,
    body: str,
    now: dt.datetime,
    key_id: int | None = None,
    task_id: int | None = None,
    asset_id: int | None = None,
) -> int:
    """Hand over something to post, due at once; return its id.

    In the transaction that writes what it tells of: there is neither without the other.
    """
    values = {
        "key_id": key_id,
        "task_id": task_id,
        "asset_id": asset_id,
        "url": url,
        "host": _host(url),
        "body": body,
        "created_at": now,
        "attempts": 0,
        "next_at": now,
    }
    return connection.execute(sa.insert(Delivery).values(values).returning(Delivery.id)).scalar_one()


def claim(
    connection: sa.Connection, *, limit: int, now: dt.datetime, lease_seconds: float
) -> list[DeliveryRow]:
    """Take up to ``limit`` of what is due, longest due first; each is due again when the lease is over."""
    is_due = sa.and_(_is_open(), Delivery.next_at <= now)
    longest_due = sa.select(Delivery.id).where(is_due).order_by(Delivery.next_at, Delivery.id).limit(limit)
    chosen = connection.execute(longest_due).scalars().all()
    if not chosen:
        return []
    until = now + dt.timedelta(seconds=lease_seconds)
    statement = (
        sa.update(Delivery)
        # Asked once more of the row that is changed: another one's claim may have come between.
        .where(Delivery.id.in_(chosen), is_due)
        .values(attempts=Delivery.attempts + 1, next_at=until)
        .returning(*_COLUMNS)
    )
    return sorted((DeliveryRow(*row) for row in connection.execute(statement)), key=lambda row: row.id)


def delivered(connection: sa.Connection, delivery_id: int, attempts: int, now: dt.datetime) -> bool:
    """Note that it arrived; return whether this attempt was still the latest."""
    return _end(connection, delivery_id, attempts, {"delivered_at": now, "error": None})


def given_up(
    connection: sa.Connection, delivery_id: int, attempts: int, now: dt.datetime, error: str
) -> bool:
    """Note that it is tried no more, and why; return whether this attempt was still the latest."""
    return _end(connection, delivery_id, attempts, {"failed_at": now, "error": error})


def later(
    connection: sa.Connection, delivery_id: int, attempts: int, next_at: dt.datetime, error: str
) -> bool:
    """Note why it did not arrive and when it is tried again; return whether this attempt was the latest."""
    statement = sa.update(Delivery).where(_is_attempt(delivery_id, attempts))
    return connection.execute(statement.values(next_at=next_at, error=error)).rowcount > 0


def _is_attempt(delivery_id: int, attempts: int) -> sa.ColumnElement[bool]:
    return sa.and_(Delivery.id == delivery_id, Delivery.attempts == attempts, _is_open())


def _end(connection: sa.Connection, delivery_id: int, attempts: int, values: dict[str, Any]) -> bool:
    is_it = _is_attempt(delivery_id, attempts)
    url = connection.execute(sa.select(Delivery.url).where(is_it)).scalar()
    if url is None:
        return False
    statement = sa.update(Delivery).where(is_it).values(url=without_secrets(url), **values)
    return connection.execute(statement).rowcount > 0


def next_at(connection: sa.Connection) -> dt.datetime | None:
    """Return when the next one is due; None if nothing is left to post."""
    return connection.execute(sa.select(sa.func.min(Delivery.next_at)).where(_is_open())).scalar()


def expire(connection: sa.Connection, before: dt.datetime) -> int:
    """Delete deliveries that ended before an instant; return how many."""
    ended_at = sa.func.coalesce(Delivery.delivered_at, Delivery.failed_at)
    has_ended = sa.or_(Delivery.delivered_at.is_not(None), Delivery.failed_at.is_not(None))
    is_over = sa.and_(has_ended, ended_at < sa.literal(before, Delivery.delivered_at.type))
    return connection.execute(sa.delete(Delivery).where(is_over)).rowcount
