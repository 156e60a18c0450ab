"""Benchmark sets, evaluations and promotions.

Written out rather than taken from `schema.py`: a migration keeps the tables of its time, however the schema changes.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import context, op
from sqlalchemy.dialects import mysql

from review_scoring.warehouse.schema import ByteText, UtcDateTime

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


# Names and states, too, are compared byte by byte; transactions need InnoDB, whatever the server's default is.
MYSQL: dict[str, Any] = {
    f"{dialect}_{option}": value
    for dialect in ("mysql", "mariadb")
    for option, value in (("engine", "InnoDB"), ("charset", "utf8mb4"), ("collate", "utf8mb4_bin"))
}


def _long_text() -> sa.types.TypeEngine[str]:
    return sa.Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb")


def _points_at(table: str) -> list[sa.ForeignKey]:
    """Return a foreign key, but for DuckDB, which replaces a row to update it, and refuses that where a key points."""
    schema = context.config.attributes.get("schema")
    if context.config.attributes["dialect"] == "duckdb":
        return []
    return [sa.ForeignKey(f"{schema}.{table}.id" if schema else f"{table}.id")]


def upgrade() -> None:
    """Create the tables."""
    schema = context.config.attributes.get("schema")
    serial = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "benchmark_sets",
        sa.Column("id", serial, primary_key=True),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("content_hash", sa.String(64), nullable=False),
        sa.Column("source", sa.String(500), nullable=False),
        sa.Column("sample_of", sa.String(200)),
        sa.Column("reviews", sa.BigInteger, nullable=False),
        sa.Column("negative", sa.BigInteger, nullable=False),
        sa.Column("positive", sa.BigInteger, nullable=False),
        sa.Column("replaces_id", sa.BigInteger),
        sa.Column("loaded_at", UtcDateTime, nullable=False),
        sa.UniqueConstraint("name", "content_hash", name="benchmark_sets_content"),
        schema=schema,
        **MYSQL,
    )
    op.create_table(
        "benchmark_reviews",
        sa.Column("set_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("review_id", ByteText(255), primary_key=True),
        sa.Column("text", _long_text()),
        sa.Column("label", sa.String(50), nullable=False),
        schema=schema,
        **MYSQL,
    )
    op.create_table(
        "benchmark_runs",
        sa.Column("id", serial, primary_key=True),
        sa.Column("set_id", sa.BigInteger, *_points_at("benchmark_sets"), nullable=False),
        sa.Column("model", sa.String(200), nullable=False),
        sa.Column("revision", sa.String(64), nullable=False),
        sa.Column("row_limit", sa.BigInteger),
        sa.Column("reviews", sa.BigInteger, nullable=False),
        sa.Column("rejected", sa.BigInteger, nullable=False),
        sa.Column("accuracy", sa.Double, nullable=False),
        sa.Column("macro_f1", sa.Double, nullable=False),
        sa.Column("loss", sa.Double, nullable=False),
        sa.Column("samples_per_second", sa.Double, nullable=False),
        sa.Column("tokens_per_second", sa.Double, nullable=False),
        sa.Column("device", sa.String(100), nullable=False),
        sa.Column("precision", sa.String(20), nullable=False),
        sa.Column("reference_verdict", sa.String(20), nullable=False),
        sa.Column("last_run_verdict", sa.String(20), nullable=False),
        sa.Column("compared_with", sa.BigInteger),
        sa.Column("passed", sa.Boolean, nullable=False),
        sa.Column("explanation", sa.Text, nullable=False),
        sa.Column("figures", _long_text(), nullable=False),
        sa.Column("dag_id", sa.String(250), nullable=False),
        sa.Column("task_id", sa.String(250), nullable=False),
        sa.Column("run_id", sa.String(250), nullable=False),
        sa.Column("map_index", sa.Integer, nullable=False),
        sa.Column("started_at", UtcDateTime, nullable=False),
        sa.Column("ended_at", UtcDateTime, nullable=False),
        schema=schema,
        **MYSQL,
    )
    op.create_index("benchmark_runs_model", "benchmark_runs", ["model", "revision"], schema=schema)
    op.create_index("benchmark_runs_task", "benchmark_runs", ["dag_id", "run_id"], schema=schema)
    op.create_table(
        "benchmark_class_metrics",
        sa.Column("benchmark_run_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("label", sa.String(50), primary_key=True),
        sa.Column("precision", sa.Double, nullable=False),
        sa.Column("recall", sa.Double, nullable=False),
        sa.Column("f1", sa.Double, nullable=False),
        sa.Column("support", sa.BigInteger, nullable=False),
        schema=schema,
        **MYSQL,
    )
    op.create_table(
        "benchmark_predictions",
        sa.Column("benchmark_run_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("review_id", ByteText(255), primary_key=True),
        sa.Column("expected", sa.String(50), nullable=False),
        sa.Column("predicted", sa.String(50)),
        sa.Column("label", sa.String(50)),
        sa.Column("score", sa.Double),
        sa.Column("token_count", sa.Integer),
        sa.Column("truncated", sa.Boolean),
        sa.Column("reject_reason", sa.String(50)),
        schema=schema,
        **MYSQL,
    )
    op.create_table(
        "promotions",
        sa.Column("id", serial, primary_key=True),
        sa.Column("job_id", sa.BigInteger, *_points_at("scoring_jobs"), nullable=False),
        sa.Column("model", sa.String(200), nullable=False),
        sa.Column("revision", sa.String(64), nullable=False),
        sa.Column("benchmark_run_id", sa.BigInteger, *_points_at("benchmark_runs")),
        sa.Column("promoted_by", sa.String(250), nullable=False),
        sa.Column("promoted_at", UtcDateTime, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("dag_id", sa.String(250), nullable=False),
        sa.Column("run_id", sa.String(250), nullable=False),
        schema=schema,
        **MYSQL,
    )
    op.create_index("promotions_job", "promotions", ["job_id", "promoted_at"], schema=schema)


def downgrade() -> None:
    """Drop the tables, and with them every evaluation and promotion."""
    schema = context.config.attributes.get("schema")
    for table in (
        "promotions",
        "benchmark_predictions",
        "benchmark_class_metrics",
        "benchmark_runs",
        "benchmark_reviews",
        "benchmark_sets",
    ):
        op.drop_table(table, schema=schema)
