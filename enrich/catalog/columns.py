"""Column types that clean on the way in and mean the same on SQLite and PostgreSQL."""

from __future__ import annotations

import datetime as dt
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from enrich.catalog.clean import clean_json, clean_text

__all__ = ["Json", "Text", "UtcDateTime"]


class Text(sa.types.TypeDecorator[str]):
    """Text of any length, cleaned by ``clean_text``."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: sa.Dialect) -> str | None:
        return None if value is None else clean_text(value)


class Json(sa.types.TypeDecorator[Any]):
    """JSON (JSONB on PostgreSQL), cleaned by ``clean_json``; None is SQL's NULL."""

    impl = sa.JSON(none_as_null=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: sa.Dialect) -> sa.types.TypeEngine[Any]:
        if dialect.name == "postgresql":
            return dialect.type_descriptor(postgresql.JSONB(none_as_null=True))
        return dialect.type_descriptor(sa.JSON(none_as_null=True))

    def process_bind_param(self, value: Any, dialect: sa.Dialect) -> Any:
        return clean_json(value)


class UtcDateTime(sa.types.TypeDecorator[dt.datetime]):
    """An instant: aware in Python, ``timestamptz`` on PostgreSQL, ISO text with +00:00 on SQLite.

    SQLite's text has a fixed width, so it orders and compares as the instants do.
    """

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: sa.Dialect) -> sa.types.TypeEngine[Any]:
        if dialect.name == "sqlite":
            return dialect.type_descriptor(sa.String(32))
        return dialect.type_descriptor(sa.DateTime(timezone=True))

    def process_bind_param(self, value: dt.datetime | None, dialect: sa.Dialect) -> Any:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value!r} has no time zone; instants in the catalog are aware")
        value = value.astimezone(dt.UTC)
        return value.isoformat(" ", "microseconds") if dialect.name == "sqlite" else value

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> dt.datetime | None:
        if value is None:
            return None
        if isinstance(value, str):
            value = dt.datetime.fromisoformat(value)
        return value.astimezone(dt.UTC)  # type: ignore[no-any-return]  # the driver's value is untyped
