"""What was asked over HTTP, by whom, and what it cost; the view ``key_usage`` sums it up."""

from __future__ import annotations

import datetime as dt
from dataclasses import asdict, dataclass

import sqlalchemy as sa

from enrich.catalog.api_tables import Usage

__all__ = ["SUCCESS", "UsageRow", "record"]

#: The status of what was answered.
SUCCESS = "success"


@dataclass(frozen=True, slots=True)
class UsageRow:
    """One request; ``status`` is ``SUCCESS`` or the error's kind, ``key_id`` None where no key was needed."""

    at: dt.datetime
    dialect: str
    kind: str
    model: str
    status: str
    key_id: int | None = None
    pictures: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float = 0.0
    is_cached: bool = False
    elapsed_ms: float | None = None


def record(connection: sa.Connection, *rows: UsageRow) -> None:
    """Write down what was asked."""
    if rows:
        connection.execute(sa.insert(Usage), [asdict(row) for row in rows])
