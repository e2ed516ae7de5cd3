"""The tables behind the HTTP API: keys, what they used, what they sent, their tasks and webhooks.

Rows are written by ``keys``, ``usage``, ``uploads``, ``tasks``, ``deliveries`` and ``forget``; nothing
else changes them. A ``key_id`` that is null means that no keys are in use: one namespace of its own.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from enrich.catalog.registry import Base, one_of, only

__all__ = ["TASK_STATES", "ApiKey", "ApiTask", "Delivery", "TaskUpload", "Upload", "Usage"]

TASK_STATES = ("accepted", "running", "success", "error")


class ApiKey(Base):
    """A key that was handed out; of its secret only a digest is kept. Never deleted, only revoked."""

    __tablename__ = "api_keys"
    __table_args__ = (sa.CheckConstraint("credits >= 0", name="credits"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    #: The part of the secret by which it is looked up.
    prefix: Mapped[str] = mapped_column(unique=True)
    secret_sha256: Mapped[str]
    scopes: Mapped[Any]
    #: Null: as config.yaml says.
    minute_limit: Mapped[int | None]
    hour_limit: Mapped[int | None]
    #: In the currency of ``cost``; null: not limited.
    credits: Mapped[float | None]
    created_at: Mapped[dt.datetime]
    revoked_at: Mapped[dt.datetime | None]


class Usage(Base):
    """One request that was answered or failed: who asked what of which model, and what it cost."""

    __tablename__ = "usage"
    __table_args__ = (sa.Index(None, "key_id", "at"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    key_id: Mapped[int | None] = mapped_column(sa.ForeignKey("api_keys.id"))
    at: Mapped[dt.datetime]
    dialect: Mapped[str]
    kind: Mapped[str]
    #: '' where it failed before a model was chosen.
    model: Mapped[str]
    pictures: Mapped[int]
    prompt_tokens: Mapped[int]
    completion_tokens: Mapped[int]
    cost: Mapped[float]
    #: ``success``, or the error's kind.
    status: Mapped[str]
    is_cached: Mapped[bool]
    elapsed_ms: Mapped[float | None]


class Upload(Base):
    """A picture that a client sent, and where it lies under the uploads folder."""

    __tablename__ = "uploads"
    __table_args__ = (
        sa.Index(None, "key_id"),
        sa.Index(None, "asset_id"),
        sa.Index(None, "sha256"),
        sa.Index(None, "expires_at", **only("expires_at IS NOT NULL")),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    uuid: Mapped[str] = mapped_column(unique=True)
    key_id: Mapped[int | None] = mapped_column(sa.ForeignKey("api_keys.id"))
    #: Below the uploads folder, under a name of our own.
    path: Mapped[str]
    #: As the client named it.
    file_name: Mapped[str]
    media_type: Mapped[str]
    size_bytes: Mapped[int]
    sha256: Mapped[str]
    sha1: Mapped[str]
    #: The asset that it became, if it is kept.
    asset_id: Mapped[int | None] = mapped_column(sa.ForeignKey("assets.id"))
    created_at: Mapped[dt.datetime]
    #: Null: kept until it is forgotten.
    expires_at: Mapped[dt.datetime | None]


class ApiTask(Base):
    """One task of a task array, from its acceptance until its result expires.

    Its key is unique among those of one API key. What is needed to run it, and the secrets of its
    webhook's address, go when it ends.
    """

    __tablename__ = "api_tasks"
    __table_args__ = (
        sa.UniqueConstraint("key_id", "task_key"),
        # A unique constraint lets any number of nulls pass.
        sa.Index("uq_api_tasks_keyless", "task_key", unique=True, **only("key_id IS NULL")),
        one_of("state", TASK_STATES, "state"),
        sa.Index("ix_api_tasks_open", "id", **only("state IN ('accepted', 'running')")),
        sa.Index(None, "expires_at", **only("expires_at IS NOT NULL")),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    key_id: Mapped[int | None] = mapped_column(sa.ForeignKey("api_keys.id"))
    #: As the client wrote it.
    task_uuid: Mapped[str]
    #: The same in its canonical form.
    task_key: Mapped[str]
    task_type: Mapped[str]
    body_digest: Mapped[str]
    body: Mapped[Any | None]
    state: Mapped[str]
    result: Mapped[Any | None]
    cost: Mapped[float | None]
    is_async: Mapped[bool]
    webhook_url: Mapped[str | None]
    created_at: Mapped[dt.datetime]
    finished_at: Mapped[dt.datetime | None]
    #: Of the result; null until it ends.
    expires_at: Mapped[dt.datetime | None]
    #: Counted at the claim.
    attempts: Mapped[int]
    lease_expires_at: Mapped[dt.datetime | None]
    worker: Mapped[str | None]


class TaskUpload(Base):
    """A picture that a task is about: it stays at least until the task ended."""

    __tablename__ = "task_uploads"
    __table_args__ = (sa.Index(None, "upload_id"),)

    task_id: Mapped[int] = mapped_column(sa.ForeignKey("api_tasks.id"), primary_key=True, autoincrement=False)
    upload_id: Mapped[int] = mapped_column(sa.ForeignKey("uploads.id"), primary_key=True, autoincrement=False)


class Delivery(Base):
    """Something to be posted to somebody's address: the outbox of all webhooks."""

    __tablename__ = "deliveries"
    __table_args__ = (
        sa.Index("ix_deliveries_due", "next_at", **only("delivered_at IS NULL AND failed_at IS NULL")),
        sa.Index(None, "task_id"),
        sa.Index(None, "asset_id"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    key_id: Mapped[int | None] = mapped_column(sa.ForeignKey("api_keys.id"))
    #: Whose end it tells of.
    task_id: Mapped[int | None] = mapped_column(sa.ForeignKey("api_tasks.id"))
    #: What it tells of.
    asset_id: Mapped[int | None] = mapped_column(sa.ForeignKey("assets.id"))
    #: With its secrets while they are needed.
    url: Mapped[str]
    host: Mapped[str]
    body: Mapped[str]
    created_at: Mapped[dt.datetime]
    #: Counted at the claim.
    attempts: Mapped[int]
    #: Not before this instant; while it is tried, when it is due again if its courier dies.
    next_at: Mapped[dt.datetime]
    delivered_at: Mapped[dt.datetime | None]
    #: When it was given up.
    failed_at: Mapped[dt.datetime | None]
    error: Mapped[str | None]
