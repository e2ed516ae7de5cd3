"""Steps, generators and runs: the configuration as last run, and who ran it."""

from __future__ import annotations

import datetime as dt
from collections import Counter as Tally
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import sqlalchemy as sa

from enrich.catalog import counters
from enrich.catalog.tables import Annotation, Asset, Counter, Generator, GeneratorItem, Job, Run, Step

__all__ = ["ItemRow", "StepRow", "end_run", "is_stale", "set_trouble", "start_run", "sync"]


@dataclass(frozen=True, slots=True)
class ItemRow:
    """A question of a step: the options of its answers' own generator."""

    options: Mapping[str, Any]
    options_digest: str


@dataclass(frozen=True, slots=True)
class StepRow:
    """A configured step, as the catalog keeps it; ``items`` are its questions by name."""

    name: str
    priority: int
    hook: str
    plugin: str
    plugin_revision: str
    model: str
    model_revision: str
    options: Mapping[str, Any]
    options_digest: str
    items: Mapping[str, ItemRow] = field(default_factory=dict)


def sync(connection: sa.Connection, configured: Sequence[StepRow], now: dt.datetime) -> dict[str, int]:
    """Make the catalog's steps those of the configuration; return each one's generator id.

    New steps get a job for every asset; removed steps keep their annotations and lose nothing
    else; a changed generator makes annotations stale and starts no work.
    """
    generator_ids = {step.name: _generator(connection, step) for step in configured}
    names = list(generator_ids)
    connection.execute(sa.update(Step).where(Step.name.not_in(names)).values(is_active=False))
    for position, step in enumerate(configured):
        row = {
            "name": step.name,
            "hook": step.hook,
            "plugin": step.plugin,
            "model": step.model,
            "generator_id": generator_ids[step.name],
            "options": dict(step.options),
            "priority": step.priority,
            "position": position,
            "is_active": True,
        }
        statement = counters.insert(connection, Step).values(row)
        connection.execute(statement.on_conflict_do_update(index_elements=["name"], set_=row))
        connection.execute(
            sa.update(Job)
            .where(Job.step == step.name, Job.state == "pending", Job.priority != step.priority)
            .values(priority=step.priority)
        )
    counters.add(connection, _enqueue_missing(connection, configured, now))
    return generator_ids


def _generator(connection: sa.Connection, step: StepRow) -> int:
    generator_id = _find_generator(connection, step, step)
    rows = [
        {"generator_id": generator_id, "item": name, "made_by": _find_generator(connection, step, item)}
        for name, item in step.items.items()
    ]
    if rows:
        # They belong to the step's options: another question is another generator.
        connection.execute(counters.insert(connection, GeneratorItem).on_conflict_do_nothing(), rows)
    return generator_id


def _find_generator(connection: sa.Connection, step: StepRow, of: StepRow | ItemRow) -> int:
    key = {
        "hook": step.hook,
        "plugin": step.plugin,
        "plugin_revision": step.plugin_revision,
        "model": step.model,
        "model_revision": step.model_revision,
        "options_digest": of.options_digest,
    }
    statement = counters.insert(connection, Generator).values(options=dict(of.options), **key)
    connection.execute(statement.on_conflict_do_nothing())
    found = sa.select(Generator.id).where(*(getattr(Generator, name) == value for name, value in key.items()))
    return int(connection.execute(found).scalar_one())


def is_stale() -> sa.ColumnElement[bool]:
    """Return whether an annotation's step would say it otherwise now, for a SELECT of ``annotations``.

    As the views have it: an answer is stale by its own question, and one whose question is asked no
    more stays as it is.
    """
    made_by = (
        sa.select(GeneratorItem.made_by)
        .where(GeneratorItem.generator_id == Step.generator_id, GeneratorItem.item == Annotation.item)
        .correlate(Step, Annotation)
        .scalar_subquery()
    )
    has_items = sa.exists().where(GeneratorItem.generator_id == Step.generator_id).correlate(Step)
    by_step = sa.and_(Step.generator_id != Annotation.generator_id, ~has_items)
    return (
        sa.exists()
        .where(
            Step.name == Annotation.step,
            Step.is_active,
            sa.func.coalesce(made_by != Annotation.generator_id, by_step),
        )
        .correlate(Annotation)
    )


def _enqueue_missing(
    connection: sa.Connection, configured: Sequence[StepRow], now: dt.datetime
) -> Tally[tuple[str, str, int]]:
    added: Tally[tuple[str, str, int]] = Tally()
    assets = connection.execute(sa.select(sa.func.count()).select_from(Asset)).scalar_one()
    for step in configured:
        counted = sa.select(sa.func.sum(Counter.value)).where(Counter.step == step.name)
        if (connection.execute(counted).scalar() or 0) == assets:
            continue  # every asset has its job: nothing to look for among millions
        missing = sa.select(
            Asset.id,
            sa.literal(step.name),
            sa.literal("pending"),
            sa.literal(0),
            sa.literal(step.priority),
            sa.literal(now, Job.created_at.type),
            sa.literal(now, Job.created_at.type),
        ).where(~sa.exists().where(Job.asset_id == Asset.id, Job.step == step.name))
        columns = ["asset_id", "step", "state", "attempts", "priority", "created_at", "updated_at"]
        statement = sa.insert(Job).from_select(columns, missing)
        # Without the option an INSERT's count is not kept, and is -1 on PostgreSQL.
        result = connection.execute(statement, execution_options={"preserve_rowcount": True})
        added[step.name, "pending", 0] = result.rowcount
    return added


def set_trouble(
    connection: sa.Connection, step: str, trouble: str | None, paused_until: dt.datetime | None
) -> None:
    """Record why a step fails for everyone and until when it is paused, or, with None, that it does not."""
    connection.execute(
        sa.update(Step).where(Step.name == step).values(trouble=trouble, paused_until=paused_until)
    )


def start_run(
    connection: sa.Connection,
    kind: Literal["run", "watch", "backfill", "retry", "api"],
    *,
    version: str,
    host: str,
    now: dt.datetime,
) -> int:
    """Record that a process starts to work; return the run's id."""
    statement = sa.insert(Run).values(kind=kind, started_at=now, version=version, host=host).returning(Run.id)
    return int(connection.execute(statement).scalar_one())


def end_run(connection: sa.Connection, run_id: int, now: dt.datetime) -> None:
    """Record that it ended as it should."""
    connection.execute(sa.update(Run).where(Run.id == run_id).values(ended_at=now))
