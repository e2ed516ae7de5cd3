"""The HTTP API: keys, what they used and sent, their tasks, and the outbox of webhooks."""

import sqlalchemy as sa
from alembic import op

from enrich.catalog.columns import Json, Text, UtcDateTime

revision = "0004"
down_revision = "0003"

# As in 0001.
_INTEGER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

# A row per key and day of UTC; what was asked without a key is a key without a name.
_KEY_USAGE = """
    SELECT u.key_id, k.name, {day} AS day, count(*) AS requests,
        CAST(sum(CASE WHEN u.status = 'success' THEN 0 ELSE 1 END) AS BIGINT) AS failed,
        CAST(sum(CASE WHEN u.is_cached THEN 1 ELSE 0 END) AS BIGINT) AS cached,
        CAST(sum(u.pictures) AS BIGINT) AS pictures, CAST(sum(u.prompt_tokens) AS BIGINT) AS prompt_tokens,
        CAST(sum(u.completion_tokens) AS BIGINT) AS completion_tokens, sum(u.cost) AS cost
    FROM usage u LEFT JOIN api_keys k ON k.id = u.key_id
    GROUP BY u.key_id, k.name, {day}
"""

# No address: it may hold a token.
_WEBHOOKS = """
    SELECT d.id, k.name AS key_name, d.host, CASE WHEN d.delivered_at IS NOT NULL THEN 'delivered'
            WHEN d.failed_at IS NOT NULL THEN 'failed' ELSE 'pending' END AS state,
        d.attempts, d.error, d.created_at,
        CASE WHEN d.delivered_at IS NULL AND d.failed_at IS NULL THEN d.next_at END AS next_at,
        coalesce(d.delivered_at, d.failed_at) AS ended_at, d.task_id, d.asset_id
    FROM deliveries d LEFT JOIN api_keys k ON k.id = d.key_id
"""

_DIALECTS = {
    "sqlite": {"day": "substr(u.at, 1, 10)"},
    "postgresql": {"day": "to_char(u.at AT TIME ZONE 'UTC', 'YYYY-MM-DD')"},
}


def upgrade() -> None:
    """Apply this revision."""
    _create_keys()
    _create_uploads()
    _create_tasks()
    _create_deliveries()
    words = _DIALECTS[op.get_bind().dialect.name]
    for name, select in (("key_usage", _KEY_USAGE), ("webhooks", _WEBHOOKS)):
        op.execute(f"CREATE VIEW {name} AS {select.format(**words)}")


def _create_keys() -> None:
    op.create_table(
        "api_keys",
        sa.Column("id", _INTEGER, nullable=False),
        sa.Column("name", Text(), nullable=False),
        sa.Column("prefix", Text(), nullable=False),
        sa.Column("secret_sha256", Text(), nullable=False),
        sa.Column("scopes", Json(), nullable=False),
        sa.Column("minute_limit", _INTEGER, nullable=True),
        sa.Column("hour_limit", _INTEGER, nullable=True),
        sa.Column("credits", sa.Double(), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("revoked_at", UtcDateTime(), nullable=True),
        sa.CheckConstraint("credits >= 0", name="ck_api_keys_credits"),
        sa.PrimaryKeyConstraint("id", name="pk_api_keys"),
        sa.UniqueConstraint("name", name="uq_api_keys_name"),
        sa.UniqueConstraint("prefix", name="uq_api_keys_prefix"),
    )
    op.create_table(
        "usage",
        sa.Column("id", _INTEGER, nullable=False),
        sa.Column("key_id", _INTEGER, nullable=True),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("dialect", Text(), nullable=False),
        sa.Column("kind", Text(), nullable=False),
        sa.Column("model", Text(), nullable=False),
        sa.Column("pictures", _INTEGER, nullable=False),
        sa.Column("prompt_tokens", _INTEGER, nullable=False),
        sa.Column("completion_tokens", _INTEGER, nullable=False),
        sa.Column("cost", sa.Double(), nullable=False),
        sa.Column("status", Text(), nullable=False),
        sa.Column("is_cached", sa.Boolean(), nullable=False),
        sa.Column("elapsed_ms", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["key_id"], ["api_keys.id"], name="fk_usage_key_id_api_keys"),
        sa.PrimaryKeyConstraint("id", name="pk_usage"),
    )
    op.create_index("ix_usage_key_id_at", "usage", ["key_id", "at"])


def _create_uploads() -> None:
    op.create_table(
        "uploads",
        sa.Column("id", _INTEGER, nullable=False),
        sa.Column("uuid", Text(), nullable=False),
        sa.Column("key_id", _INTEGER, nullable=True),
        sa.Column("path", Text(), nullable=False),
        sa.Column("file_name", Text(), nullable=False),
        sa.Column("media_type", Text(), nullable=False),
        sa.Column("size_bytes", _INTEGER, nullable=False),
        sa.Column("sha256", Text(), nullable=False),
        sa.Column("sha1", Text(), nullable=False),
        sa.Column("asset_id", _INTEGER, nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("expires_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["asset_id"], ["assets.id"], name="fk_uploads_asset_id_assets"),
        sa.ForeignKeyConstraint(["key_id"], ["api_keys.id"], name="fk_uploads_key_id_api_keys"),
        sa.PrimaryKeyConstraint("id", name="pk_uploads"),
        sa.UniqueConstraint("uuid", name="uq_uploads_uuid"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_uploads_key_id", "uploads", ["key_id"])
    op.create_index("ix_uploads_asset_id", "uploads", ["asset_id"])
    op.create_index("ix_uploads_sha256", "uploads", ["sha256"])
    _create_partial_index("ix_uploads_expires_at", "uploads", "expires_at", "expires_at IS NOT NULL")


def _create_tasks() -> None:
    op.create_table(
        "api_tasks",
        sa.Column("id", _INTEGER, nullable=False),
        sa.Column("key_id", _INTEGER, nullable=True),
        sa.Column("task_uuid", Text(), nullable=False),
        sa.Column("task_key", Text(), nullable=False),
        sa.Column("task_type", Text(), nullable=False),
        sa.Column("body_digest", Text(), nullable=False),
        sa.Column("body", Json(), nullable=True),
        sa.Column("state", Text(), nullable=False),
        sa.Column("result", Json(), nullable=True),
        sa.Column("cost", sa.Double(), nullable=True),
        sa.Column("is_async", sa.Boolean(), nullable=False),
        sa.Column("webhook_url", Text(), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("finished_at", UtcDateTime(), nullable=True),
        sa.Column("expires_at", UtcDateTime(), nullable=True),
        sa.Column("attempts", _INTEGER, nullable=False),
        sa.Column("lease_expires_at", UtcDateTime(), nullable=True),
        sa.Column("worker", Text(), nullable=True),
        sa.CheckConstraint("state IN ('accepted', 'running', 'success', 'error')", name="ck_api_tasks_state"),
        sa.ForeignKeyConstraint(["key_id"], ["api_keys.id"], name="fk_api_tasks_key_id_api_keys"),
        sa.PrimaryKeyConstraint("id", name="pk_api_tasks"),
        sa.UniqueConstraint("key_id", "task_key", name="uq_api_tasks_key_id_task_key"),
        sqlite_autoincrement=True,
    )
    _create_partial_index("uq_api_tasks_keyless", "api_tasks", "task_key", "key_id IS NULL", unique=True)
    _create_partial_index("ix_api_tasks_open", "api_tasks", "id", "state IN ('accepted', 'running')")
    _create_partial_index("ix_api_tasks_expires_at", "api_tasks", "expires_at", "expires_at IS NOT NULL")
    op.create_table(
        "task_uploads",
        sa.Column("task_id", _INTEGER, autoincrement=False, nullable=False),
        sa.Column("upload_id", _INTEGER, autoincrement=False, nullable=False),
        sa.ForeignKeyConstraint(["task_id"], ["api_tasks.id"], name="fk_task_uploads_task_id_api_tasks"),
        sa.ForeignKeyConstraint(["upload_id"], ["uploads.id"], name="fk_task_uploads_upload_id_uploads"),
        sa.PrimaryKeyConstraint("task_id", "upload_id", name="pk_task_uploads"),
    )
    op.create_index("ix_task_uploads_upload_id", "task_uploads", ["upload_id"])


def _create_deliveries() -> None:
    op.create_table(
        "deliveries",
        sa.Column("id", _INTEGER, nullable=False),
        sa.Column("key_id", _INTEGER, nullable=True),
        sa.Column("task_id", _INTEGER, nullable=True),
        sa.Column("asset_id", _INTEGER, nullable=True),
        sa.Column("url", Text(), nullable=False),
        sa.Column("host", Text(), nullable=False),
        sa.Column("body", Text(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("attempts", _INTEGER, nullable=False),
        sa.Column("next_at", UtcDateTime(), nullable=False),
        sa.Column("delivered_at", UtcDateTime(), nullable=True),
        sa.Column("failed_at", UtcDateTime(), nullable=True),
        sa.Column("error", Text(), nullable=True),
        sa.ForeignKeyConstraint(["asset_id"], ["assets.id"], name="fk_deliveries_asset_id_assets"),
        sa.ForeignKeyConstraint(["key_id"], ["api_keys.id"], name="fk_deliveries_key_id_api_keys"),
        sa.ForeignKeyConstraint(["task_id"], ["api_tasks.id"], name="fk_deliveries_task_id_api_tasks"),
        sa.PrimaryKeyConstraint("id", name="pk_deliveries"),
        sqlite_autoincrement=True,
    )
    _create_partial_index(
        "ix_deliveries_due", "deliveries", "next_at", "delivered_at IS NULL AND failed_at IS NULL"
    )
    op.create_index("ix_deliveries_task_id", "deliveries", ["task_id"])
    op.create_index("ix_deliveries_asset_id", "deliveries", ["asset_id"])


def _create_partial_index(name: str, table: str, column: str, where: str, *, unique: bool = False) -> None:
    condition = sa.text(where)
    op.create_index(name, table, [column], unique=unique, sqlite_where=condition, postgresql_where=condition)
