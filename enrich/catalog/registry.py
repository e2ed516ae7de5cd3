"""What every table of the catalog is declared with."""

from __future__ import annotations

import datetime as dt
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase

from enrich.catalog.columns import Json, Text, UtcDateTime

__all__ = ["Base", "one_of", "only"]


class Base(DeclarativeBase):
    """The registry of all tables.

    Every constraint has a name made by rule: SQLite's batch migrations can drop a constraint only
    by its name.
    """

    metadata = sa.MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012  # the name and form are SQLAlchemy's
        str: Text,
        dt.datetime: UtcDateTime,
        Any: Json,
        int: sa.BigInteger().with_variant(sa.Integer, "sqlite"),  # SQLite numbers rows by INTEGER keys only
        float: sa.Double,
    }


def one_of(column: str, values: tuple[str, ...], name: str) -> sa.CheckConstraint:
    """Return the constraint that a column has one of ``values``."""
    return sa.CheckConstraint(f"{column} IN ({', '.join(repr(value) for value in values)})", name=name)


def only(condition: str) -> dict[str, Any]:
    """Return the options of an index that holds only some rows."""
    return {"sqlite_where": sa.text(condition), "postgresql_where": sa.text(condition)}
