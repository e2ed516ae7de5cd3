"""API keys: who may ask over HTTP, how often, and for how much.

A key's secret is ``enr_``, a prefix and a random part. It is shown once; the catalog holds the
prefix, by which it is looked up, and a SHA-256 of the whole. A fast digest is enough: what is
digested has more than 200 random bits, and nobody guesses those.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import math
import re
import secrets
import string
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from enrich.catalog import counters
from enrich.catalog.api_tables import ApiKey, Usage
from enrich.errors import UsageError

__all__ = [
    "SCOPES",
    "KeyRow",
    "ListedKey",
    "any_configured",
    "charge",
    "create",
    "credit",
    "find",
    "listed",
    "refund",
    "revoke",
]

#: What a key may be for: asking models, and reading the whole catalog.
SCOPES = ("infer", "read")

#: A sum of costs is a sum of binary fractions: what is missing by less than this is rounding.
ROUNDING = 1e-9

MAX_NAME_CHARACTERS = 100

_ALPHABET = string.ascii_letters + string.digits
_PREFIX_ALPHABET = string.ascii_lowercase + string.digits
_SECRET = re.compile(r"enr_([a-z0-9]{10})_[A-Za-z0-9]{40}")


@dataclass(frozen=True, slots=True)
class KeyRow:
    """A key without its secret; a limit that is None is config.yaml's, credits that are None have no end."""

    id: int
    name: str
    prefix: str
    scopes: frozenset[str]
    minute_limit: int | None
    hour_limit: int | None
    credits: float | None
    created_at: dt.datetime
    revoked_at: dt.datetime | None


@dataclass(frozen=True, slots=True)
class ListedKey:
    """A key and the sums of what it used."""

    key: KeyRow
    requests: int
    pictures: int
    prompt_tokens: int
    completion_tokens: int
    cost: float
    last_used_at: dt.datetime | None


_COLUMNS = (
    ApiKey.id,
    ApiKey.name,
    ApiKey.prefix,
    ApiKey.scopes,
    ApiKey.minute_limit,
    ApiKey.hour_limit,
    ApiKey.credits,
    ApiKey.created_at,
    ApiKey.revoked_at,
)


def _key(values: Iterable[Any]) -> KeyRow:
    key_id, name, prefix, scopes, *rest = values
    return KeyRow(key_id, name, prefix, frozenset(scopes), *rest)


def create(
    connection: sa.Connection,
    name: str,
    *,
    scopes: Iterable[str],
    minute_limit: int | None,
    hour_limit: int | None,
    credits: float | None,  # noqa: A002  # the column's name; the built-in of site is for shells
    now: dt.datetime,
) -> tuple[KeyRow, str]:
    """Make a key and return it with its secret, which is nowhere else and cannot be had again.

    Raises
    ------
    UsageError
        The name is taken, be it by a revoked key, or a value makes no sense. Not retryable.
    """
    wanted = frozenset(scopes)
    _check(name, wanted, minute_limit, hour_limit, credits)
    prefix = "".join(secrets.choice(_PREFIX_ALPHABET) for _ in range(10))
    secret = f"enr_{prefix}_{''.join(secrets.choice(_ALPHABET) for _ in range(40))}"
    statement = counters.insert(connection, ApiKey).values(
        name=name,
        prefix=prefix,
        secret_sha256=_digest(secret),
        scopes=sorted(wanted),
        minute_limit=minute_limit,
        hour_limit=hour_limit,
        credits=credits,
        created_at=now,
    )
    made = connection.execute(
        statement.on_conflict_do_nothing(index_elements=["name"]).returning(*_COLUMNS)
    ).first()
    if made is None:
        raise UsageError(f"there is a key {name!r} already, perhaps a revoked one; choose another name")
    return _key(made), secret


def _check(
    name: str, scopes: frozenset[str], minute_limit: int | None, hour_limit: int | None, amount: float | None
) -> None:
    if not name.strip() or not name.isprintable() or len(name) > MAX_NAME_CHARACTERS:
        raise UsageError(f"a key's name has 1 to {MAX_NAME_CHARACTERS} printable characters")
    if not scopes or not scopes <= set(SCOPES):
        raise UsageError(f"a key's scopes are one or more of {', '.join(SCOPES)}")
    if any(limit is not None and limit < 1 for limit in (minute_limit, hour_limit)):
        raise UsageError("a limit is 1 or more; to stop a key, revoke it")
    if amount is not None and not (math.isfinite(amount) and amount >= 0):
        raise UsageError("credits are 0 or more")


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def find(connection: sa.Connection, secret: str) -> KeyRow | None:
    """Return the key of a secret; None for what is no key, is unknown, or was revoked."""
    match = _SECRET.fullmatch(secret)
    if match is None:
        return None
    statement = sa.select(ApiKey.secret_sha256, *_COLUMNS).where(ApiKey.prefix == match[1])
    found = connection.execute(statement).first()
    if found is None:
        return None
    # The prefix is no secret, so it may be looked for in an index; the rest may not be found out by time.
    is_it = hmac.compare_digest(found[0], _digest(secret))
    key = _key(found[1:])
    return key if is_it and key.revoked_at is None else None


def any_configured(connection: sa.Connection) -> bool:
    """Return whether a key was ever made: with the last one revoked, nobody may come in, not everybody."""
    return connection.execute(sa.select(sa.exists().where(ApiKey.id.is_not(None)))).scalar_one()


def charge(connection: sa.Connection, key_id: int, amount: float) -> bool:
    """Take ``amount`` from a key's credits, if they suffice; return whether they did.

    A key that is not limited always has enough.
    """
    rest = sa.case((ApiKey.credits > amount, ApiKey.credits - amount), else_=0.0)
    statement = (
        sa.update(ApiKey).where(ApiKey.id == key_id, ApiKey.credits >= amount - ROUNDING).values(credits=rest)
    )
    if connection.execute(statement).rowcount:
        return True
    unlimited = sa.select(sa.exists().where(ApiKey.id == key_id, ApiKey.credits.is_(None)))
    return connection.execute(unlimited).scalar_one()


def refund(connection: sa.Connection, key_id: int, amount: float) -> None:
    """Give back what was charged for work that was not done."""
    statement = sa.update(ApiKey).where(ApiKey.id == key_id, ApiKey.credits.is_not(None))
    connection.execute(statement.values(credits=ApiKey.credits + amount))


def credit(connection: sa.Connection, name: str, amount: float) -> KeyRow:
    """Add ``amount`` to a key's credits, or take it away if it is negative; return the key.

    Raises
    ------
    UsageError
        There is no such key, it is not limited, or it has less than is to be taken. Not retryable.
    """
    if not math.isfinite(amount):
        raise UsageError("an amount of credits is a number")
    key = _named(connection, name)
    if key.credits is None:
        raise UsageError(f"the key {name!r} has no limit of credits: there is nothing to add to")
    statement = (
        sa.update(ApiKey)
        .where(ApiKey.id == key.id, ApiKey.credits + amount >= 0)
        .values(credits=ApiKey.credits + amount)
        .returning(*_COLUMNS)
    )
    changed = connection.execute(statement).first()
    if changed is None:
        raise UsageError(f"the key {name!r} has {key.credits:g} credits; {-amount:g} cannot be taken away")
    return _key(changed)


def revoke(connection: sa.Connection, name: str, now: dt.datetime) -> bool:
    """Let a key open nothing any more, for good; return whether it did until now.

    Raises
    ------
    UsageError
        There is no such key. Not retryable.
    """
    key = _named(connection, name)
    statement = sa.update(ApiKey).where(ApiKey.id == key.id, ApiKey.revoked_at.is_(None))
    return connection.execute(statement.values(revoked_at=now)).rowcount > 0


def _named(connection: sa.Connection, name: str) -> KeyRow:
    found = connection.execute(sa.select(*_COLUMNS).where(ApiKey.name == name)).first()
    if found is None:
        raise UsageError(f"there is no key {name!r}; enrich keys list shows them")
    return _key(found)


def listed(connection: sa.Connection) -> list[ListedKey]:
    """Return all keys by name, revoked ones too, with the sums of what they used."""

    def total(column: Any) -> sa.ColumnElement[Any]:
        return sa.func.coalesce(sa.func.sum(column), 0)

    sums = (
        sa.select(
            Usage.key_id,
            sa.func.count().label("requests"),
            total(Usage.pictures).label("pictures"),
            total(Usage.prompt_tokens).label("prompt_tokens"),
            total(Usage.completion_tokens).label("completion_tokens"),
            total(Usage.cost).label("cost"),
            sa.func.max(Usage.at).label("last_used_at"),
        )
        .group_by(Usage.key_id)
        .subquery()
    )
    used = (sums.c.requests, sums.c.pictures, sums.c.prompt_tokens, sums.c.completion_tokens)
    statement = (
        sa.select(*_COLUMNS, *used, sums.c.cost, sums.c.last_used_at)
        .outerjoin(sums, sums.c.key_id == ApiKey.id)
        .order_by(ApiKey.name)
    )
    keys = []
    for row in connection.execute(statement):
        *counts, cost, last_used_at = row[len(_COLUMNS) :]
        requests, pictures, prompt_tokens, completion_tokens = (int(count or 0) for count in counts)
        key = _key(row[: len(_COLUMNS)])
        sums_of_key = (requests, pictures, prompt_tokens, completion_tokens, float(cost or 0), last_used_at)
        keys.append(ListedKey(key, *sums_of_key))
    return keys
