"""What another try of a run has to know: what it meets again, its pass over the source, and which model rejected."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import context, op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

OF_RUNS = ("met_again", "repeats_met_again")


def upgrade() -> None:
    """Add the columns. Rejects of before take their model and revision from their run."""
    schema = context.config.attributes.get("schema")
    for column in OF_RUNS:
        op.add_column("scoring_runs", sa.Column(column, sa.BigInteger, server_default="0"), schema=schema)
    op.add_column("scoring_runs", sa.Column("scan", sa.Text), schema=schema)
    op.add_column("review_rejects", sa.Column("model", sa.String(200)), schema=schema)
    op.add_column("review_rejects", sa.Column("revision", sa.String(64)), schema=schema)


def downgrade() -> None:
    """Drop the columns."""
    schema = context.config.attributes.get("schema")
    for column in (*OF_RUNS, "scan"):
        op.drop_column("scoring_runs", column, schema=schema)
    for column in ("model", "revision"):
        op.drop_column("review_rejects", column, schema=schema)
