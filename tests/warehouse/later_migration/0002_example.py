"""What a later version of the package may do to large tables while runs commit: a column and an index."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import context, op

from review_scoring.warehouse.migrations.concurrent_index import create_index, drop_index

revision = "0002_example"
down_revision = "0001_tables"
branch_labels = None
depends_on = None

TABLE, INDEX = "review_scores", "review_scores_example"


def upgrade() -> None:
    """Add both."""
    op.add_column(TABLE, sa.Column("example", sa.Integer), schema=context.config.attributes["schema"])
    create_index(INDEX, TABLE, ["token_count", "job_id"])


def downgrade() -> None:
    """Drop both. DuckDB drops no column that an index stands behind."""
    drop_index(INDEX, TABLE)
    if context.config.attributes["dialect"] == "duckdb":
        return
    op.drop_column(TABLE, "example", schema=context.config.attributes["schema"])
