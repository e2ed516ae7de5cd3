"""What people switch on for every worker of the catalog, wherever it runs."""

from __future__ import annotations

import datetime as dt

import sqlalchemy as sa

from enrich.catalog import counters
from enrich.catalog.tables import Control

__all__ = ["pause", "paused_at", "resume"]

_PAUSED = "paused"


def pause(connection: sa.Connection, now: dt.datetime) -> bool:
    """Let no worker claim anything; return whether any could until now."""
    statement = counters.insert(connection, Control).values(name=_PAUSED, changed_at=now)
    statement = statement.on_conflict_do_nothing().returning(Control.name)
    return connection.execute(statement).scalar() is not None


def resume(connection: sa.Connection) -> bool:
    """Let workers claim again; return whether they could not until now."""
    return connection.execute(sa.delete(Control).where(Control.name == _PAUSED)).rowcount > 0


def paused_at(connection: sa.Connection) -> dt.datetime | None:
    """Return since when the catalog is paused; None if it is not."""
    return connection.execute(sa.select(Control.changed_at).where(Control.name == _PAUSED)).scalar()
