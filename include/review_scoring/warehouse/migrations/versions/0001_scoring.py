"""Jobs, runs, scores and rejects.

Written out rather than taken from `schema.py`: a migration keeps the tables of its time, however the schema changes.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import context, op

from review_scoring.warehouse.schema import ByteText, UtcDateTime

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# Names and states, too, are compared byte by byte; transactions need InnoDB, whatever the server's default is.
MYSQL: dict[str, Any] = {
    f"{dialect}_{option}": value
    for dialect in ("mysql", "mariadb")
    for option, value in (("engine", "InnoDB"), ("charset", "utf8mb4"), ("collate", "utf8mb4_bin"))
}


def upgrade() -> None:
    """Create the tables."""
    schema = context.config.attributes.get("schema")
    serial = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "scoring_jobs",
        sa.Column("id", serial, primary_key=True),
        sa.Column("name", sa.String(200), nullable=False, unique=True),
        sa.Column("source", sa.String(500), nullable=False),
        sa.Column("id_type", sa.String(20), nullable=False),
        sa.Column("last_fencing_token", sa.BigInteger, nullable=False),
        sa.Column("cursor_seen", sa.String(500)),
        sa.Column("full_pass_at", UtcDateTime),
        sa.Column("created_at", UtcDateTime, nullable=False),
        schema=schema,
        **MYSQL,
    )
    jobs = f"{schema}.scoring_jobs.id" if schema else "scoring_jobs.id"
    # DuckDB updates a row by replacing it, and refuses that while a foreign key points at it.
    keys = [] if context.config.attributes["dialect"] == "duckdb" else [sa.ForeignKey(jobs)]
    op.create_table(
        "scoring_runs",
        sa.Column("id", serial, primary_key=True),
        sa.Column("job_id", sa.BigInteger, *keys, nullable=False),
        sa.Column("dag_id", sa.String(250), nullable=False),
        sa.Column("task_id", sa.String(250), nullable=False),
        sa.Column("run_id", sa.String(250), nullable=False),
        sa.Column("map_index", sa.Integer, nullable=False),
        sa.Column("range_from", ByteText(255)),
        sa.Column("range_to", ByteText(255)),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("lease_until", UtcDateTime, nullable=False),
        sa.Column("fencing_token", sa.BigInteger, nullable=False),
        sa.Column("chunks", sa.BigInteger, nullable=False),
        sa.Column("read", sa.BigInteger, nullable=False),
        sa.Column("scored", sa.BigInteger, nullable=False),
        sa.Column("unchanged", sa.BigInteger, nullable=False),
        sa.Column("rejected", sa.BigInteger, nullable=False),
        sa.Column("unkeyed_rejects", sa.Text, nullable=False),
        sa.Column("tokens", sa.BigInteger, nullable=False),
        sa.Column("device_seconds", sa.Double, nullable=False),
        sa.Column("model", sa.String(200), nullable=False),
        sa.Column("revision", sa.String(64), nullable=False),
        sa.Column("device", sa.String(100)),
        sa.Column("started_at", UtcDateTime, nullable=False),
        sa.Column("ended_at", UtcDateTime),
        sa.UniqueConstraint("job_id", "dag_id", "task_id", "run_id", "map_index", name="scoring_runs_task_key"),
        schema=schema,
        **MYSQL,
    )
    op.create_index("scoring_runs_job_state", "scoring_runs", ["job_id", "state"], schema=schema)
    op.create_table(
        "review_scores",
        sa.Column("job_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("review_id", ByteText(255), primary_key=True),
        sa.Column("label", sa.String(50), nullable=False),
        sa.Column("score", sa.Double, nullable=False),
        sa.Column("probabilities", sa.Text, nullable=False),
        sa.Column("model", sa.String(200), nullable=False),
        sa.Column("revision", sa.String(64), nullable=False),
        sa.Column("text_hash", sa.String(64), nullable=False),
        sa.Column("source_updated_at", sa.String(100)),
        sa.Column("token_count", sa.Integer, nullable=False),
        sa.Column("truncated", sa.Boolean, nullable=False),
        sa.Column("scored_at", UtcDateTime, nullable=False),
        sa.Column("run_id", sa.BigInteger, nullable=False),
        schema=schema,
        **MYSQL,
    )
    op.create_index("review_scores_run", "review_scores", ["run_id"], schema=schema)
    op.create_table(
        "review_rejects",
        sa.Column("job_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("review_id", ByteText(255), primary_key=True),
        sa.Column("reason", sa.String(50), nullable=False),
        sa.Column("detail", sa.String(500), nullable=False),
        sa.Column("text_hash", sa.String(64), nullable=False),
        sa.Column("source_updated_at", sa.String(100)),
        sa.Column("first_seen", UtcDateTime, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("run_id", sa.BigInteger, nullable=False),
        schema=schema,
        **MYSQL,
    )
    op.create_index("review_rejects_run", "review_rejects", ["run_id"], schema=schema)


def downgrade() -> None:
    """Drop the tables, and with them every score."""
    schema = context.config.attributes.get("schema")
    for table in ("review_rejects", "review_scores", "scoring_runs", "scoring_jobs"):
        op.drop_table(table, schema=schema)
