"""On MySQL and MariaDB, what one filters by in the index of the least certain reviews, as PostgreSQL has it."""

from __future__ import annotations

from alembic import context, op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

TABLE, NARROW, WIDE = "review_scores", "review_scores_certainty", "review_scores_certainty_filters"
KEY = ["job_id", "score", "review_id"]
FILTERS = ["label", "model", "truncated", "scored_at"]


def upgrade() -> None:
    """Replace the index by a wider one. Without INCLUDE, the filters stand in the key, behind what it orders by."""
    _replace(NARROW, WIDE, [*KEY, *FILTERS])


def downgrade() -> None:
    """Replace it by the narrow one."""
    _replace(WIDE, NARROW, KEY)


def _replace(old: str, new: str, columns: list[str]) -> None:
    """Make the new one first, under a name of its own: an upgrade that dies in between is then finished by the next."""
    if context.config.attributes["dialect"] in {"mysql", "mariadb"}:
        schema = context.config.attributes.get("schema")
        op.create_index(new, TABLE, columns, schema=schema)
        op.drop_index(old, TABLE, schema=schema)
