"""What is known of the roots: what the one who looks after each last said."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import sqlalchemy as sa

from enrich.catalog import counters
from enrich.catalog.clean import clean_integer, escape_path
from enrich.catalog.tables import RootState

__all__ = ["RootReport", "last_device", "offline", "record", "release", "see"]

#: Not known for now is no reason to forget what was: a root that is away was somewhere.
_KEPT = ("device", "folders", "scanned_at")
_COUNTED = ("events_seen", "events_lost", "rescued")


@dataclass(frozen=True, slots=True)
class RootReport:
    """What its owner says of a root.

    ``device``, ``folders`` and ``scanned_at`` stay as they were where they are None; the last three
    are what came since the last report.
    """

    path: Path
    state: Literal["online", "offline"]
    reason: str | None
    mode: Literal["events", "poll"] | None
    device: int | None
    owner: str
    folders: int | None
    watches: int | None
    scanned_at: dt.datetime | None
    events_seen: int = 0
    events_lost: int = 0
    rescued: int = 0


def record(connection: sa.Connection, report: RootReport, now: dt.datetime) -> None:
    """Write a report down, and add what it counts to what was counted."""
    row = {
        "path": escape_path(report.path),
        "state": report.state,
        "reason": report.reason,
        "mode": report.mode,
        "device": None if report.device is None else clean_integer(report.device),
        "owner": report.owner,
        "folders": report.folders,
        "watches": report.watches,
        "scanned_at": report.scanned_at,
        "updated_at": now,
        **{name: getattr(report, name) for name in _COUNTED},
    }
    statement = counters.insert(connection, RootState).values(row)
    said = statement.excluded
    replaced = {name: said[name] for name in row if name != "path"}
    replaced |= {name: sa.func.coalesce(said[name], getattr(RootState, name)) for name in _KEPT}
    replaced |= {name: getattr(RootState, name) + said[name] for name in _COUNTED}
    connection.execute(statement.on_conflict_do_update(index_elements=["path"], set_=replaced))


def release(connection: sa.Connection, path: Path, owner: str, now: dt.datetime) -> None:
    """Record that ``owner`` no longer looks after a root; nothing, if it is another one's by now."""
    connection.execute(
        sa.update(RootState)
        .where(RootState.path == escape_path(path), RootState.owner == owner)
        .values(owner=None, watches=None, updated_at=now)
    )


def see(connection: sa.Connection, path: Path) -> None:
    """Record that a root is there, whoever looks after it."""
    is_it = sa.and_(RootState.path == escape_path(path), RootState.state == "offline")
    connection.execute(sa.update(RootState).where(is_it).values(state="online", reason=None))


def last_device(connection: sa.Connection, path: Path) -> int | None:
    """Return the ``st_dev`` of the device a root was last seen on; None if it never was."""
    statement = sa.select(RootState.device).where(RootState.path == escape_path(path))
    device = connection.execute(statement).scalar()
    return None if device is None else device % (1 << 64)


def offline(connection: sa.Connection) -> list[str]:
    """Return the escaped paths of the roots that are offline."""
    statement = sa.select(RootState.path).where(RootState.state == "offline").order_by(RootState.path)
    return list(connection.execute(statement).scalars())
