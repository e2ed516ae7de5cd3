"""The catalog's tables.

Everything people look at has a view as well (``migrations``). Rows are written by ``files``,
``steps``, ``queue``, ``record``, ``roots``, ``control`` and ``forget``; nothing else changes them.
Those of the HTTP API are declared in ``api_tables``.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column, relationship

# Those of the HTTP API are here as well, so that the metadata is whole for whoever asks for it.
from enrich.catalog.api_tables import ApiKey, ApiTask, Delivery, TaskUpload, Upload, Usage
from enrich.catalog.registry import Base, one_of, only

__all__ = [
    "FILE_STATES",
    "JOB_STATES",
    "ROOT_MODES",
    "ROOT_STATES",
    "Annotation",
    "ApiKey",
    "ApiTask",
    "Asset",
    "Base",
    "Control",
    "Counter",
    "Delivery",
    "Embedding",
    "File",
    "Generator",
    "GeneratorItem",
    "Job",
    "RootState",
    "Run",
    "Step",
    "Tag",
    "TaskUpload",
    "Upload",
    "Usage",
]

FILE_STATES = ("present", "missing", "ignored", "failed")
JOB_STATES = ("pending", "running", "done", "skipped", "failed")
ROOT_STATES = ("online", "offline")
ROOT_MODES = ("events", "poll")


class Asset(Base):
    """One managed item, known by its picture."""

    __tablename__ = "assets"
    # No number is given twice: what comes late for a forgotten asset must not meet another one.
    __table_args__ = {"sqlite_autoincrement": True}  # noqa: RUF012  # the name and form are SQLAlchemy's

    id: Mapped[int] = mapped_column(primary_key=True)
    #: SHA-256 over the image data without metadata.
    image_hash: Mapped[str] = mapped_column(unique=True)
    perceptual_hash: Mapped[str | None]
    media_type: Mapped[str]
    #: As stored, before orientation.
    width_px: Mapped[int]
    height_px: Mapped[int]
    #: The raw EXIF value.
    orientation: Mapped[int | None]
    pages: Mapped[int]
    #: Local, as the camera wrote it.
    taken_at: Mapped[dt.datetime | None] = mapped_column(sa.DateTime)
    taken_offset_minutes: Mapped[int | None]
    camera: Mapped[str | None]
    latitude: Mapped[float | None]
    longitude: Mapped[float | None]
    embedded: Mapped[Any | None]
    ingested_at: Mapped[dt.datetime]

    files: Mapped[list[File]] = relationship(lazy="raise", viewonly=True, order_by="File.path")
    jobs: Mapped[list[Job]] = relationship(lazy="raise", viewonly=True, order_by="Job.id")
    annotations: Mapped[list[Annotation]] = relationship(
        lazy="raise", viewonly=True, order_by="Annotation.id"
    )


class File(Base):
    """An asset's place: a path under a root."""

    __tablename__ = "files"
    __table_args__ = (
        one_of("state", FILE_STATES, "state"),
        # Equality only, and no limit to a path's length (a B-tree of PostgreSQL has one).
        sa.Index(None, "folder", postgresql_using="hash"),
        sa.Index(None, "asset_id"),
        sa.Index(
            "ix_files_trouble",
            "state",
            **only("state = 'failed'"),
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    asset_id: Mapped[int | None] = mapped_column(sa.ForeignKey("assets.id"))
    root: Mapped[str]
    path: Mapped[str]
    path_digest: Mapped[str] = mapped_column(unique=True)
    folder: Mapped[str]
    size_bytes: Mapped[int]
    modified_ns: Mapped[int]
    changed_ns: Mapped[int]
    inode: Mapped[int]
    #: Of name, size and times: a folder is compared by the sum.
    fingerprint: Mapped[int] = mapped_column(server_default="0")
    sha256: Mapped[str | None]
    sha1: Mapped[str | None]
    media_type: Mapped[str | None]
    state: Mapped[str]
    error_kind: Mapped[str | None]
    error: Mapped[str | None]
    attempts: Mapped[int] = mapped_column(server_default="0")
    seen_at: Mapped[dt.datetime]
    #: When it was found to be missing.
    missing_at: Mapped[dt.datetime | None]


class Generator(Base):
    """What makes annotations: the key by which they are fresh or stale."""

    __tablename__ = "generators"
    __table_args__ = (
        sa.UniqueConstraint(
            "hook",
            "plugin",
            "plugin_revision",
            "model",
            "model_revision",
            "options_digest",
            name="uq_generators_key",
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    hook: Mapped[str]
    plugin: Mapped[str]
    plugin_revision: Mapped[str]
    #: '' where there is no model, so that the key is unique.
    model: Mapped[str]
    model_revision: Mapped[str]
    options: Mapped[Any]
    options_digest: Mapped[str]


class GeneratorItem(Base):
    """A question of a step's generator, and the generator that its answers have.

    So an answer is stale when its own question is asked otherwise, and not when another one is.
    """

    __tablename__ = "generator_items"

    generator_id: Mapped[int] = mapped_column(
        sa.ForeignKey("generators.id"), primary_key=True, autoincrement=False
    )
    item: Mapped[str] = mapped_column(primary_key=True)
    made_by: Mapped[int] = mapped_column(sa.ForeignKey("generators.id"))


class Step(Base):
    """The configuration as last run."""

    __tablename__ = "steps"

    name: Mapped[str] = mapped_column(primary_key=True)
    hook: Mapped[str]
    plugin: Mapped[str]
    model: Mapped[str]
    generator_id: Mapped[int] = mapped_column(sa.ForeignKey("generators.id"))
    options: Mapped[Any]
    priority: Mapped[int]
    #: Its place in config.yaml.
    position: Mapped[int]
    is_active: Mapped[bool]
    #: Why it fails for everyone, and until when nothing of it is claimed.
    trouble: Mapped[str | None]
    paused_until: Mapped[dt.datetime | None]


class RootState(Base):
    """What the owner of a root last said of it, and what it counted so far."""

    __tablename__ = "roots"
    __table_args__ = (one_of("state", ROOT_STATES, "state"), one_of("mode", ROOT_MODES, "mode"))

    #: Escaped, as in ``files``.
    path: Mapped[str] = mapped_column(primary_key=True)
    state: Mapped[str]
    #: Why it is offline.
    reason: Mapped[str | None]
    mode: Mapped[str | None]
    #: Its ``st_dev``, wrapped into SQL's integers.
    device: Mapped[int | None]
    #: The worker that looks after it; null once that ended as it should.
    owner: Mapped[str | None]
    folders: Mapped[int | None]
    watches: Mapped[int | None]
    events_seen: Mapped[int] = mapped_column(server_default="0")
    events_lost: Mapped[int] = mapped_column(server_default="0")
    rescued: Mapped[int] = mapped_column(server_default="0")
    scanned_at: Mapped[dt.datetime | None]
    updated_at: Mapped[dt.datetime]


class Control(Base):
    """What people switched on for every worker of the catalog; off is no row."""

    __tablename__ = "controls"

    name: Mapped[str] = mapped_column(primary_key=True)
    changed_at: Mapped[dt.datetime]


class Run(Base):
    """One process at work, from its start to its end."""

    __tablename__ = "runs"
    __table_args__ = (one_of("kind", ("run", "watch", "backfill", "retry", "api"), "kind"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    started_at: Mapped[dt.datetime]
    #: Null while it runs, and for ever if it was killed.
    ended_at: Mapped[dt.datetime | None]
    version: Mapped[str]
    host: Mapped[str]


class Job(Base):
    """One step on one asset."""

    __tablename__ = "jobs"
    __table_args__ = (
        sa.UniqueConstraint("asset_id", "step"),
        one_of("state", JOB_STATES, "state"),
        sa.Index(
            "ix_jobs_claimable",
            "priority",
            "asset_id",
            **only("state = 'pending'"),
        ),
        sa.Index(
            "ix_jobs_leased",
            "lease_expires_at",
            **only("state = 'running'"),
        ),
        sa.Index(
            "ix_jobs_trouble",
            "step",
            **only("state = 'failed'"),
        ),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    asset_id: Mapped[int] = mapped_column(sa.ForeignKey("assets.id"))
    step: Mapped[str]
    state: Mapped[str]
    #: Why it was skipped.
    reason: Mapped[str | None]
    #: Counted at the claim.
    attempts: Mapped[int]
    priority: Mapped[int]
    #: Not before this instant.
    retry_at: Mapped[dt.datetime | None]
    lease_expires_at: Mapped[dt.datetime | None]
    worker: Mapped[str | None]
    error_kind: Mapped[str | None]
    error: Mapped[str | None]
    #: The generator that last finished it.
    generator_id: Mapped[int | None] = mapped_column(sa.ForeignKey("generators.id"))
    created_at: Mapped[dt.datetime]
    updated_at: Mapped[dt.datetime]


class Annotation(Base):
    """A machine statement about an asset, with its generator.

    Current while ``superseded_at`` is null; at most one is, per asset, step, item and page.
    """

    __tablename__ = "annotations"
    __table_args__ = (
        sa.Index(
            "uq_annotations_current",
            "asset_id",
            "step",
            "item",
            "page",
            unique=True,
            **only("superseded_at IS NULL"),
        ),
        sa.Index(None, "run_id"),
        sa.Index(None, "asset_id"),
        sa.CheckConstraint("confidence >= 0 AND confidence <= 1", name="confidence"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    asset_id: Mapped[int] = mapped_column(sa.ForeignKey("assets.id"))
    step: Mapped[str]
    #: '' or the question's name.
    item: Mapped[str]
    page: Mapped[int]
    generator_id: Mapped[int] = mapped_column(sa.ForeignKey("generators.id"))
    run_id: Mapped[int] = mapped_column(sa.ForeignKey("runs.id"))
    kind: Mapped[str]
    text: Mapped[str | None]
    data: Mapped[Any | None]
    confidence: Mapped[float | None]
    language: Mapped[str | None]
    question: Mapped[str | None]
    is_empty: Mapped[bool]
    provider: Mapped[str | None]
    elapsed_ms: Mapped[float | None]
    created_at: Mapped[dt.datetime]
    superseded_at: Mapped[dt.datetime | None]

    generator: Mapped[Generator] = relationship(lazy="raise", viewonly=True)


class Tag(Base):
    """A machine label of a ``tags`` annotation."""

    __tablename__ = "tags"
    __table_args__ = (sa.Index(None, "name"), sa.Index(None, "asset_id"))

    annotation_id: Mapped[int] = mapped_column(sa.ForeignKey("annotations.id"), primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    asset_id: Mapped[int] = mapped_column(sa.ForeignKey("assets.id"))
    confidence: Mapped[float | None]


class Embedding(Base):
    """The vector of an ``embedding`` annotation: float32, little-endian, unit length."""

    __tablename__ = "embeddings"
    __table_args__ = (sa.Index(None, "generator_id"), sa.Index(None, "asset_id"))

    annotation_id: Mapped[int] = mapped_column(sa.ForeignKey("annotations.id"), primary_key=True)
    asset_id: Mapped[int] = mapped_column(sa.ForeignKey("assets.id"))
    generator_id: Mapped[int] = mapped_column(sa.ForeignKey("generators.id"))
    dimensions: Mapped[int]
    vector: Mapped[bytes]


class Counter(Base):
    """How many files or jobs are in a state, kept in the transaction that moves them.

    People look at these all the time, and counting six million jobs takes a third of a second.
    ``step`` is '' for files; ``generator_id`` is 0 unless the job is done or skipped.
    """

    __tablename__ = "counters"

    step: Mapped[str] = mapped_column(primary_key=True)
    state: Mapped[str] = mapped_column(primary_key=True)
    generator_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    value: Mapped[int]
