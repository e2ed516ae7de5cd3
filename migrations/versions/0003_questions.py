"""The questions: each answer has a generator of its own, and is fresh or stale by itself."""

import sqlalchemy as sa
from alembic import op

from enrich.catalog.columns import Text

revision = "0003"
down_revision = "0002"

# As in 0001.
_INTEGER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

# An answer is stale if its question is asked otherwise now. One whose question is asked no more
# stays as it is; so does one of a step without questions of its own until its generator changes.
_ANSWERS = """
    SELECT a.asset_id,
        (SELECT min(f.path) FROM files f WHERE f.asset_id = a.asset_id AND f.state = 'present') AS path,
        a.item, a.question, a.text, {value} AS value, {number} AS number, a.step, g.model, a.created_at,
        coalesce(s.is_active AND coalesce(i.made_by <> a.generator_id, s.generator_id <> a.generator_id
            AND NOT EXISTS (SELECT 1 FROM generator_items o WHERE o.generator_id = s.generator_id)),
            {false}) AS is_stale
    FROM annotations a JOIN generators g ON g.id = a.generator_id LEFT JOIN steps s ON s.name = a.step
        LEFT JOIN generator_items i ON i.generator_id = s.generator_id AND i.item = a.item
    WHERE a.superseded_at IS NULL AND a.kind = 'answer' AND a.page = 0 AND NOT a.is_empty
"""

# A job is stale if a question of its step is asked otherwise now, or was not asked then.
_COVERAGE = """
    SELECT s.name AS step, {counted}, CAST(coalesce(sum(CASE
        WHEN c.state IN ('done', 'skipped') AND c.generator_id <> s.generator_id AND (
            NOT EXISTS (SELECT 1 FROM generator_items o WHERE o.generator_id = s.generator_id)
            OR EXISTS (
                SELECT 1 FROM generator_items i WHERE i.generator_id = s.generator_id AND NOT EXISTS (
                    SELECT 1 FROM generator_items o
                    WHERE o.generator_id = c.generator_id AND o.item = i.item AND o.made_by = i.made_by
                )
            )
        ) THEN c.value END), 0) AS BIGINT) AS stale
    FROM steps s LEFT JOIN counters c ON c.step = s.name
    WHERE s.is_active
    GROUP BY s.name, s.position ORDER BY s.position
"""

_COUNTED = ", ".join(
    f"CAST(coalesce(sum(CASE WHEN c.state = '{state}' THEN c.value END), 0) AS BIGINT) AS {state}"
    for state in ("pending", "running", "done", "skipped", "failed")
)

_DIALECTS = {
    "sqlite": {
        "false": "0",
        "value": "CASE json_type(a.data, '$.value') WHEN 'true' THEN 'true' WHEN 'false' THEN 'false' "
        "ELSE CAST(json_extract(a.data, '$.value') AS TEXT) END",
        "number": "CASE WHEN json_type(a.data, '$.value') IN ('integer', 'real') "
        "THEN json_extract(a.data, '$.value') END",
    },
    "postgresql": {
        "false": "false",
        "value": "a.data ->> 'value'",
        "number": "CASE WHEN jsonb_typeof(a.data -> 'value') = 'number' "
        "THEN (a.data ->> 'value')::double precision END",
    },
}


def upgrade() -> None:
    """Apply this revision."""
    op.create_table(
        "generator_items",
        sa.Column("generator_id", _INTEGER, autoincrement=False, nullable=False),
        sa.Column("item", Text(), nullable=False),
        sa.Column("made_by", _INTEGER, nullable=False),
        sa.ForeignKeyConstraint(
            ["generator_id"], ["generators.id"], name="fk_generator_items_generator_id_generators"
        ),
        sa.ForeignKeyConstraint(["made_by"], ["generators.id"], name="fk_generator_items_made_by_generators"),
        sa.PrimaryKeyConstraint("generator_id", "item", name="pk_generator_items"),
    )
    words = _DIALECTS[op.get_bind().dialect.name]
    for name, select in (("answers", _ANSWERS), ("coverage", _COVERAGE)):
        op.execute(f"DROP VIEW {name}")
        op.execute(f"CREATE VIEW {name} AS {select.format(counted=_COUNTED, **words)}")
