"""The daemon: its roots and steps, when files went missing, the switches of people, and to forget."""

import sqlalchemy as sa
from alembic import op

from enrich.catalog.columns import Text, UtcDateTime

revision = "0002"
down_revision = "0001"

# As in 0001.
_INTEGER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Apply this revision."""
    op.add_column("files", sa.Column("missing_at", UtcDateTime(), nullable=True))
    op.add_column("steps", sa.Column("trouble", Text(), nullable=True))
    op.add_column("steps", sa.Column("paused_until", UtcDateTime(), nullable=True))
    op.create_table(
        "roots",
        sa.Column("path", Text(), nullable=False),
        sa.Column("state", Text(), nullable=False),
        sa.Column("reason", Text(), nullable=True),
        sa.Column("mode", Text(), nullable=True),
        sa.Column("device", _INTEGER, nullable=True),
        sa.Column("owner", Text(), nullable=True),
        sa.Column("folders", _INTEGER, nullable=True),
        sa.Column("watches", _INTEGER, nullable=True),
        sa.Column("events_seen", _INTEGER, server_default="0", nullable=False),
        sa.Column("events_lost", _INTEGER, server_default="0", nullable=False),
        sa.Column("rescued", _INTEGER, server_default="0", nullable=False),
        sa.Column("scanned_at", UtcDateTime(), nullable=True),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.CheckConstraint("state IN ('online', 'offline')", name="ck_roots_state"),
        sa.CheckConstraint("mode IN ('events', 'poll')", name="ck_roots_mode"),
        sa.PrimaryKeyConstraint("path", name="pk_roots"),
    )
    op.create_table(
        "controls",
        sa.Column("name", Text(), nullable=False),
        sa.Column("changed_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_controls"),
    )
    # To erase an asset, its rows are looked for by their asset, and its foreign keys are.
    op.create_index("ix_annotations_asset_id", "annotations", ["asset_id"])
    op.create_index("ix_embeddings_asset_id", "embeddings", ["asset_id"])
    if op.get_bind().dialect.name == "sqlite":
        _number_once("assets", "jobs")


def _number_once(*tables: str) -> None:
    """Let SQLite give no number again that a forgotten asset or job had: a late result is for nobody.

    PostgreSQL does so from the start. SQLite changes a key only by making the table anew; see "Making
    Other Kinds Of Table Schema Changes" in sqlite.org/lang_altertable.html. Whoever calls has switched
    foreign keys off, which is impossible inside a transaction.
    """
    made = sa.text(
        "SELECT name, sql FROM sqlite_master WHERE type = :type AND tbl_name = :name AND sql <> ''"
    )
    connection = op.get_bind()
    views = connection.execute(sa.text("SELECT name, sql FROM sqlite_master WHERE type = 'view'")).all()
    for view, _ in views:  # renaming a table looks at all of them, and they name one that is not there
        op.execute(f"DROP VIEW {view}")
    for table in tables:
        (_, of_table), *_ = connection.execute(made, {"type": "table", "name": table}).all()
        indexes = connection.execute(made, {"type": "index", "name": table}).all()
        of_table = of_table.replace(f"CREATE TABLE {table} (", f"CREATE TABLE {table}_anew (", 1)
        of_table = of_table.replace(
            "\tid INTEGER NOT NULL,", "\tid INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,", 1
        )
        of_table = of_table.replace(f"CONSTRAINT pk_{table} PRIMARY KEY (id), ", "", 1)
        connection.exec_driver_sql(of_table)
        op.execute(f"INSERT INTO {table}_anew SELECT * FROM {table}")
        op.execute(f"DROP TABLE {table}")
        op.execute(f"ALTER TABLE {table}_anew RENAME TO {table}")
        for _, of_index in indexes:
            connection.exec_driver_sql(of_index)
    for _, of_view in views:
        connection.exec_driver_sql(of_view)
    if broken := connection.execute(sa.text("PRAGMA foreign_key_check")).first():
        raise RuntimeError(f"a row of {broken[0]} belongs to no row of {broken[2]}; nothing was changed")
