"""What a later version of the package may do to large tables while runs commit: an index, in a migration of its own."""

from __future__ import annotations

from review_scoring.warehouse.migrations.concurrent_index import create_index, drop_index

revision = "0003_example"
down_revision = "0002_example_column"
branch_labels = None
depends_on = None

TABLE, INDEX = "review_scores", "review_scores_example"


def upgrade() -> None:
    """Create it."""
    create_index(INDEX, TABLE, ["token_count", "job_id"])


def downgrade() -> None:
    """Drop it."""
    drop_index(INDEX, TABLE)
