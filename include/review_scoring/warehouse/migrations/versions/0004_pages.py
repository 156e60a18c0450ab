"""What the pages in Airflow read: labels by run, and the least certain reviews first."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import context, op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column and the index. Runs of before have no labels counted, and are charted without."""
    schema = context.config.attributes.get("schema")
    op.add_column("scoring_runs", sa.Column("label_counts", sa.Text), schema=schema)
    # DuckDB, whose dialect is PostgreSQL's child, knows no INCLUDE.
    is_duckdb = context.config.attributes["dialect"] == "duckdb"
    included: dict[str, Any] = {} if is_duckdb else {"postgresql_include": ["label", "model", "truncated", "scored_at"]}
    op.create_index(
        "review_scores_certainty", "review_scores", ["job_id", "score", "review_id"], schema=schema, **included
    )


def downgrade() -> None:
    """Take both away."""
    schema = context.config.attributes.get("schema")
    op.drop_index("review_scores_certainty", "review_scores", schema=schema)
    op.drop_column("scoring_runs", "label_counts", schema=schema)
