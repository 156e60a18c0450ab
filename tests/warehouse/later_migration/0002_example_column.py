"""What a later version of the package may do to large tables while runs commit: a column."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import context, op

revision = "0002_example_column"
down_revision = "0001_tables"
branch_labels = None
depends_on = None

TABLE = "review_scores"


def upgrade() -> None:
    """Add it."""
    op.add_column(TABLE, sa.Column("example", sa.Integer), schema=context.config.attributes["schema"])


def downgrade() -> None:
    """Drop it. DuckDB drops no column that an index stands behind."""
    if context.config.attributes["dialect"] == "duckdb":
        return
    op.drop_column(TABLE, "example", schema=context.config.attributes["schema"])
