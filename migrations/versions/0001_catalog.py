"""The catalog: every table and view of the first release."""

import sqlalchemy as sa
from alembic import op

from enrich.catalog.columns import Json, Text, UtcDateTime

revision = "0001"
down_revision = None

# SQLite numbers rows by INTEGER keys only.
_INTEGER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


# What people query: current values only, a removed asset or superseded value never shows. A view
# of annotations has one row per asset and step unless it says otherwise; `path` is the asset's
# lowest present path. Every page counts for `texts` and `asset_tags`, the first for the others.

_PATH = "(SELECT min(f.path) FROM files f WHERE f.asset_id = a.asset_id AND f.state = 'present') AS path"
_PROVENANCE = (
    "a.step, g.model, a.created_at, "
    "coalesce(s.is_active AND s.generator_id <> a.generator_id, {false}) AS is_stale"
)
_CURRENT = (
    "FROM annotations a JOIN generators g ON g.id = a.generator_id LEFT JOIN steps s ON s.name = a.step "
    "WHERE a.superseded_at IS NULL"
)
_FIRST_OF_ASSET = (
    "(SELECT {value} FROM annotations a WHERE a.asset_id = f.asset_id AND a.superseded_at IS NULL "
    "AND a.kind = '{kind}' AND NOT a.is_empty ORDER BY a.page, a.id LIMIT 1)"
)

_JOB_STATES = ("pending", "running", "done", "skipped", "failed")
# Sums of integers are NUMERIC on PostgreSQL: made whole again.
_COUNTED = "CAST(coalesce(sum(CASE WHEN c.state = '{state}' THEN c.value END), 0) AS BIGINT) AS {state}"

_VIEWS = {
    "captions": f"""
        SELECT a.asset_id, {_PATH}, a.text, a.language, {_PROVENANCE}
        {_CURRENT} AND a.kind = 'caption' AND a.page = 0 AND NOT a.is_empty
    """,
    "answers": f"""
        SELECT a.asset_id, {_PATH}, a.item, a.question, a.text, {{value}} AS value, {{number}} AS number,
            {_PROVENANCE}
        {_CURRENT} AND a.kind = 'answer' AND a.page = 0 AND NOT a.is_empty
    """,
    "ages": f"""
        SELECT a.asset_id, {_PATH}, a.text AS age_group, {{low_years}} AS low_years,
            {{high_years}} AS high_years, a.confidence, {{persons}} AS persons, {_PROVENANCE}
        {_CURRENT} AND a.kind = 'age' AND a.page = 0 AND a.data IS NOT NULL
    """,
    "asset_tags": f"""
        SELECT a.asset_id, {_PATH}, t.name AS tag, max(t.confidence) AS confidence, {_PROVENANCE}
        {_CURRENT.replace("WHERE", "JOIN tags t ON t.annotation_id = a.id WHERE")}
        GROUP BY a.asset_id, t.name, a.step, g.model, a.created_at, s.is_active, s.generator_id,
            a.generator_id
    """,
    "texts": f"""
        SELECT a.asset_id, {_PATH}, {{joined_text}} AS text, a.step, max(g.model) AS model,
            max(a.created_at) AS created_at,
            {{any}}(coalesce(s.is_active AND s.generator_id <> a.generator_id, {{false}})) AS is_stale
        FROM (SELECT * FROM annotations WHERE kind = 'text' AND NOT is_empty ORDER BY page) a
            JOIN generators g ON g.id = a.generator_id LEFT JOIN steps s ON s.name = a.step
        WHERE a.superseded_at IS NULL
        GROUP BY a.asset_id, a.step
    """,
    "overview": f"""
        SELECT f.path, f.state, {_FIRST_OF_ASSET.format(value="a.text", kind="caption")} AS caption,
            (SELECT {{joined_tags}} FROM (
                SELECT DISTINCT t.name FROM tags t JOIN annotations a ON a.id = t.annotation_id
                WHERE t.asset_id = f.asset_id AND a.superseded_at IS NULL ORDER BY t.name
            ) n) AS tags,
            {_FIRST_OF_ASSET.format(value="a.text", kind="age")} AS age_group,
            (SELECT {{joined_text}} FROM (
                SELECT a.text, a.page FROM annotations a WHERE a.asset_id = f.asset_id
                AND a.superseded_at IS NULL AND a.kind = 'text' AND NOT a.is_empty ORDER BY a.page
            ) a) AS text,
            p.taken_at, p.camera, f.asset_id
        FROM files f LEFT JOIN assets p ON p.id = f.asset_id
    """,
    "coverage": f"""
        SELECT s.name AS step, {", ".join(_COUNTED.format(state=state) for state in _JOB_STATES)},
            CAST(coalesce(sum(CASE WHEN c.state IN ('done', 'skipped') AND c.generator_id <> s.generator_id
                THEN c.value END), 0) AS BIGINT) AS stale
        FROM steps s LEFT JOIN counters c ON c.step = s.name
        WHERE s.is_active
        GROUP BY s.name, s.position ORDER BY s.position
    """,
    "failures": """
        SELECT f.path, f.asset_id, NULL AS step, f.attempts, f.error_kind, f.error
        FROM files f WHERE f.state = 'failed'
        UNION ALL
        SELECT (SELECT min(f.path) FROM files f WHERE f.asset_id = j.asset_id AND f.state = 'present')
            AS path, j.asset_id, j.step, j.attempts, j.error_kind, j.error
        FROM jobs j WHERE j.state = 'failed'
    """,
}

_DIALECTS = {
    "sqlite": {
        "false": "0",
        "any": "max",
        "joined_text": "group_concat(a.text, char(10))",
        "joined_tags": "group_concat(n.name, ', ')",
        "value": "CASE json_type(a.data, '$.value') WHEN 'true' THEN 'true' WHEN 'false' THEN 'false' "
        "ELSE CAST(json_extract(a.data, '$.value') AS TEXT) END",
        "number": "CASE WHEN json_type(a.data, '$.value') IN ('integer', 'real') "
        "THEN json_extract(a.data, '$.value') END",
        "low_years": "CASE WHEN json_type(a.data, '$[0].low_years') IN ('integer', 'real') "
        "THEN CAST(json_extract(a.data, '$[0].low_years') AS INTEGER) END",
        "high_years": "CASE WHEN json_type(a.data, '$[0].high_years') IN ('integer', 'real') "
        "THEN CAST(json_extract(a.data, '$[0].high_years') AS INTEGER) END",
        "persons": "json_array_length(a.data)",
    },
    "postgresql": {
        "false": "false",
        "any": "bool_or",
        "joined_text": "string_agg(a.text, chr(10) ORDER BY a.page)",
        "joined_tags": "string_agg(n.name, ', ')",
        "value": "a.data ->> 'value'",
        "number": "CASE WHEN jsonb_typeof(a.data -> 'value') = 'number' "
        "THEN (a.data ->> 'value')::double precision END",
        "low_years": "CASE WHEN jsonb_typeof(a.data -> 0 -> 'low_years') = 'number' "
        "THEN trunc((a.data -> 0 ->> 'low_years')::numeric)::bigint END",
        "high_years": "CASE WHEN jsonb_typeof(a.data -> 0 -> 'high_years') = 'number' "
        "THEN trunc((a.data -> 0 ->> 'high_years')::numeric)::bigint END",
        "persons": "jsonb_array_length(a.data)",
    },
}


def upgrade() -> None:
    """Apply this revision."""
    _create_tables()
    words = _DIALECTS[op.get_bind().dialect.name]
    for name, select in _VIEWS.items():
        op.execute(f"CREATE VIEW {name} AS {select.format(**words)}")


def _create_tables() -> None:
    op.create_table(
        "assets",
        sa.Column("id", _INTEGER, nullable=False),
        sa.Column("image_hash", Text(), nullable=False),
        sa.Column("perceptual_hash", Text(), nullable=True),
        sa.Column("media_type", Text(), nullable=False),
        sa.Column("width_px", _INTEGER, nullable=False),
        sa.Column("height_px", _INTEGER, nullable=False),
        sa.Column("orientation", _INTEGER, nullable=True),
        sa.Column("pages", _INTEGER, nullable=False),
        sa.Column("taken_at", sa.DateTime(), nullable=True),
        sa.Column("taken_offset_minutes", _INTEGER, nullable=True),
        sa.Column("camera", Text(), nullable=True),
        sa.Column("latitude", sa.Double(), nullable=True),
        sa.Column("longitude", sa.Double(), nullable=True),
        sa.Column("embedded", Json(), nullable=True),
        sa.Column("ingested_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_assets"),
        sa.UniqueConstraint("image_hash", name="uq_assets_image_hash"),
    )
    op.create_table(
        "counters",
        sa.Column("step", Text(), nullable=False),
        sa.Column("state", Text(), nullable=False),
        sa.Column("generator_id", _INTEGER, autoincrement=False, nullable=False),
        sa.Column("value", _INTEGER, nullable=False),
        sa.PrimaryKeyConstraint("step", "state", "generator_id", name="pk_counters"),
    )
    op.create_table(
        "generators",
        sa.Column("id", _INTEGER, nullable=False),
        sa.Column("hook", Text(), nullable=False),
        sa.Column("plugin", Text(), nullable=False),
        sa.Column("plugin_revision", Text(), nullable=False),
        sa.Column("model", Text(), nullable=False),
        sa.Column("model_revision", Text(), nullable=False),
        sa.Column("options", Json(), nullable=False),
        sa.Column("options_digest", Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_generators"),
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
    op.create_table(
        "runs",
        sa.Column("id", _INTEGER, nullable=False),
        sa.Column("kind", Text(), nullable=False),
        sa.Column("started_at", UtcDateTime(), nullable=False),
        sa.Column("ended_at", UtcDateTime(), nullable=True),
        sa.Column("version", Text(), nullable=False),
        sa.Column("host", Text(), nullable=False),
        sa.CheckConstraint("kind IN ('run', 'watch', 'backfill', 'retry', 'api')", name="ck_runs_kind"),
        sa.PrimaryKeyConstraint("id", name="pk_runs"),
    )
    op.create_table(
        "annotations",
        sa.Column("id", _INTEGER, nullable=False),
        sa.Column("asset_id", _INTEGER, nullable=False),
        sa.Column("step", Text(), nullable=False),
        sa.Column("item", Text(), nullable=False),
        sa.Column("page", _INTEGER, nullable=False),
        sa.Column("generator_id", _INTEGER, nullable=False),
        sa.Column("run_id", _INTEGER, nullable=False),
        sa.Column("kind", Text(), nullable=False),
        sa.Column("text", Text(), nullable=True),
        sa.Column("data", Json(), nullable=True),
        sa.Column("confidence", sa.Double(), nullable=True),
        sa.Column("language", Text(), nullable=True),
        sa.Column("question", Text(), nullable=True),
        sa.Column("is_empty", sa.Boolean(), nullable=False),
        sa.Column("provider", Text(), nullable=True),
        sa.Column("elapsed_ms", sa.Double(), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("superseded_at", UtcDateTime(), nullable=True),
        sa.CheckConstraint("confidence >= 0 AND confidence <= 1", name="ck_annotations_confidence"),
        sa.ForeignKeyConstraint(["asset_id"], ["assets.id"], name="fk_annotations_asset_id_assets"),
        sa.ForeignKeyConstraint(
            ["generator_id"], ["generators.id"], name="fk_annotations_generator_id_generators"
        ),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_annotations_run_id_runs"),
        sa.PrimaryKeyConstraint("id", name="pk_annotations"),
    )
    op.create_index("ix_annotations_run_id", "annotations", ["run_id"], unique=False)
    op.create_index(
        "uq_annotations_current",
        "annotations",
        ["asset_id", "step", "item", "page"],
        unique=True,
        sqlite_where=sa.text("superseded_at IS NULL"),
        postgresql_where=sa.text("superseded_at IS NULL"),
    )
    op.create_table(
        "files",
        sa.Column("id", _INTEGER, nullable=False),
        sa.Column("asset_id", _INTEGER, nullable=True),
        sa.Column("root", Text(), nullable=False),
        sa.Column("path", Text(), nullable=False),
        sa.Column("path_digest", Text(), nullable=False),
        sa.Column("folder", Text(), nullable=False),
        sa.Column("size_bytes", _INTEGER, nullable=False),
        sa.Column("modified_ns", _INTEGER, nullable=False),
        sa.Column("changed_ns", _INTEGER, nullable=False),
        sa.Column("inode", _INTEGER, nullable=False),
        sa.Column("fingerprint", _INTEGER, server_default="0", nullable=False),
        sa.Column("sha256", Text(), nullable=True),
        sa.Column("sha1", Text(), nullable=True),
        sa.Column("media_type", Text(), nullable=True),
        sa.Column("state", Text(), nullable=False),
        sa.Column("error_kind", Text(), nullable=True),
        sa.Column("error", Text(), nullable=True),
        sa.Column("attempts", _INTEGER, server_default="0", nullable=False),
        sa.Column("seen_at", UtcDateTime(), nullable=False),
        sa.CheckConstraint("state IN ('present', 'missing', 'ignored', 'failed')", name="ck_files_state"),
        sa.ForeignKeyConstraint(["asset_id"], ["assets.id"], name="fk_files_asset_id_assets"),
        sa.PrimaryKeyConstraint("id", name="pk_files"),
        sa.UniqueConstraint("path_digest", name="uq_files_path_digest"),
    )
    op.create_index("ix_files_asset_id", "files", ["asset_id"], unique=False)
    op.create_index("ix_files_folder", "files", ["folder"], unique=False, postgresql_using="hash")
    op.create_index(
        "ix_files_trouble",
        "files",
        ["state"],
        unique=False,
        sqlite_where=sa.text("state = 'failed'"),
        postgresql_where=sa.text("state = 'failed'"),
    )
    op.create_table(
        "jobs",
        sa.Column("id", _INTEGER, nullable=False),
        sa.Column("asset_id", _INTEGER, nullable=False),
        sa.Column("step", Text(), nullable=False),
        sa.Column("state", Text(), nullable=False),
        sa.Column("reason", Text(), nullable=True),
        sa.Column("attempts", _INTEGER, nullable=False),
        sa.Column("priority", _INTEGER, nullable=False),
        sa.Column("retry_at", UtcDateTime(), nullable=True),
        sa.Column("lease_expires_at", UtcDateTime(), nullable=True),
        sa.Column("worker", Text(), nullable=True),
        sa.Column("error_kind", Text(), nullable=True),
        sa.Column("error", Text(), nullable=True),
        sa.Column("generator_id", _INTEGER, nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.CheckConstraint(
            "state IN ('pending', 'running', 'done', 'skipped', 'failed')", name="ck_jobs_state"
        ),
        sa.ForeignKeyConstraint(["asset_id"], ["assets.id"], name="fk_jobs_asset_id_assets"),
        sa.ForeignKeyConstraint(["generator_id"], ["generators.id"], name="fk_jobs_generator_id_generators"),
        sa.PrimaryKeyConstraint("id", name="pk_jobs"),
        sa.UniqueConstraint("asset_id", "step", name="uq_jobs_asset_id_step"),
    )
    op.create_index(
        "ix_jobs_claimable",
        "jobs",
        ["priority", "asset_id"],
        unique=False,
        sqlite_where=sa.text("state = 'pending'"),
        postgresql_where=sa.text("state = 'pending'"),
    )
    op.create_index(
        "ix_jobs_leased",
        "jobs",
        ["lease_expires_at"],
        unique=False,
        sqlite_where=sa.text("state = 'running'"),
        postgresql_where=sa.text("state = 'running'"),
    )
    op.create_index(
        "ix_jobs_trouble",
        "jobs",
        ["step"],
        unique=False,
        sqlite_where=sa.text("state = 'failed'"),
        postgresql_where=sa.text("state = 'failed'"),
    )
    op.create_table(
        "steps",
        sa.Column("name", Text(), nullable=False),
        sa.Column("hook", Text(), nullable=False),
        sa.Column("plugin", Text(), nullable=False),
        sa.Column("model", Text(), nullable=False),
        sa.Column("generator_id", _INTEGER, nullable=False),
        sa.Column("options", Json(), nullable=False),
        sa.Column("priority", _INTEGER, nullable=False),
        sa.Column("position", _INTEGER, nullable=False),
        sa.Column("is_active", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["generator_id"], ["generators.id"], name="fk_steps_generator_id_generators"),
        sa.PrimaryKeyConstraint("name", name="pk_steps"),
    )
    op.create_table(
        "embeddings",
        sa.Column("annotation_id", _INTEGER, nullable=False),
        sa.Column("asset_id", _INTEGER, nullable=False),
        sa.Column("generator_id", _INTEGER, nullable=False),
        sa.Column("dimensions", _INTEGER, nullable=False),
        sa.Column("vector", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["annotation_id"], ["annotations.id"], name="fk_embeddings_annotation_id_annotations"
        ),
        sa.ForeignKeyConstraint(["asset_id"], ["assets.id"], name="fk_embeddings_asset_id_assets"),
        sa.ForeignKeyConstraint(
            ["generator_id"], ["generators.id"], name="fk_embeddings_generator_id_generators"
        ),
        sa.PrimaryKeyConstraint("annotation_id", name="pk_embeddings"),
    )
    op.create_index("ix_embeddings_generator_id", "embeddings", ["generator_id"], unique=False)
    op.create_table(
        "tags",
        sa.Column("annotation_id", _INTEGER, nullable=False),
        sa.Column("name", Text(), nullable=False),
        sa.Column("asset_id", _INTEGER, nullable=False),
        sa.Column("confidence", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(
            ["annotation_id"], ["annotations.id"], name="fk_tags_annotation_id_annotations"
        ),
        sa.ForeignKeyConstraint(["asset_id"], ["assets.id"], name="fk_tags_asset_id_assets"),
        sa.PrimaryKeyConstraint("annotation_id", "name", name="pk_tags"),
    )
    op.create_index("ix_tags_asset_id", "tags", ["asset_id"], unique=False)
    op.create_index("ix_tags_name", "tags", ["name"], unique=False)
