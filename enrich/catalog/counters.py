"""The counters of files and jobs by state, kept by whoever moves one, in the same transaction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from enrich.catalog.tables import Counter, File, Job

__all__ = ["FILES", "Deltas", "add", "generator_of", "insert", "recount"]

#: The ``step`` under which files are counted.
FILES = ""

#: What to add, by (step, state, generator_id).
Deltas = Mapping[tuple[str, str, int], int]


def insert(connection: sa.Connection, table: Any) -> Any:
    """Return an INSERT that knows ON CONFLICT, which both databases have and SQLAlchemy's own lacks."""
    return (postgresql if connection.dialect.name == "postgresql" else sqlite).insert(table)


def add(connection: sa.Connection, deltas: Deltas) -> None:
    """Add ``deltas``."""
    rows = [
        {"step": step, "state": state, "generator_id": generator_id, "value": value}
        for (step, state, generator_id), value in deltas.items()
        if value
    ]
    if rows:
        statement = insert(connection, Counter)
        connection.execute(
            statement.on_conflict_do_update(
                index_elements=["step", "state", "generator_id"],
                set_={"value": Counter.value + statement.excluded.value},
            ),
            rows,
        )


def generator_of(state: str, generator_id: int | None) -> int:
    """Return the generator that a job of this state counts under."""
    return generator_id or 0 if state in ("done", "skipped") else 0


def recount(connection: sa.Connection) -> dict[tuple[str, str, int], int]:
    """Count everything anew, slowly: what the counters must say."""
    counted = {}
    for state, value in connection.execute(sa.select(File.state, sa.func.count()).group_by(File.state)):
        counted[FILES, state, 0] = value
    generator = sa.case((Job.state.in_(("done", "skipped")), sa.func.coalesce(Job.generator_id, 0)), else_=0)
    statement = sa.select(Job.step, Job.state, generator, sa.func.count()).group_by(
        Job.step, Job.state, generator
    )
    for step, state, generator_id, value in connection.execute(statement):
        counted[step, state, generator_id] = value
    return counted
