"""${message}

House rules: additive first (a column, then its data, then its constraint); the same statements on
SQLite and PostgreSQL; a view that changes is dropped and created whole; no downgrade.
"""

import sqlalchemy as sa
from alembic import op
${imports if imports else ""}
revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}


def upgrade() -> None:
    """Apply this revision."""
    ${upgrades if upgrades else "pass"}
