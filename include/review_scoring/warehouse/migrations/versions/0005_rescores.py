"""Whether a run is a rescore, which daily figures exclude, and its limit, without which its total is unknown."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import context, op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

PACKAGED = "rescore_reviews"
"""The DAG whose runs of before are known to be rescores; those of others are known by the labels they changed."""


def upgrade() -> None:
    """Add the columns, and mark the rescores of before."""
    schema = context.config.attributes.get("schema")
    op.add_column("scoring_runs", sa.Column("is_rescore", sa.Boolean), schema=schema)
    op.add_column("scoring_runs", sa.Column("review_limit", sa.BigInteger), schema=schema)
    runs = sa.table(
        "scoring_runs",
        sa.column("is_rescore", sa.Boolean),
        sa.column("dag_id", sa.String),
        sa.column("relabelled", sa.BigInteger),
        schema=schema,
    )
    again = sa.or_(runs.c.dag_id == PACKAGED, runs.c.relabelled > 0)
    op.execute(sa.update(runs).where(again).values(is_rescore=sa.true()))


def downgrade() -> None:
    """Drop the columns."""
    schema = context.config.attributes.get("schema")
    for column in ("is_rescore", "review_limit"):
        op.drop_column("scoring_runs", column, schema=schema)
