"""How many labels a rescore changed, and the run that a rescore yields to."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import context, op

from review_scoring.warehouse.schema import UtcDateTime

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

COLUMNS = {
    "scoring_runs": (lambda: sa.Column("relabelled", sa.BigInteger, server_default="0"),),
    "scoring_jobs": (
        lambda: sa.Column("wanted_by", sa.String(510)),
        lambda: sa.Column("wanted_until", UtcDateTime),
    ),
}


def upgrade() -> None:
    """Add the columns."""
    schema = context.config.attributes.get("schema")
    for table, columns in COLUMNS.items():
        for column in columns:
            op.add_column(table, column(), schema=schema)


def downgrade() -> None:
    """Drop the columns."""
    schema = context.config.attributes.get("schema")
    for table, columns in COLUMNS.items():
        for column in columns:
            op.drop_column(table, column().name, schema=schema)
