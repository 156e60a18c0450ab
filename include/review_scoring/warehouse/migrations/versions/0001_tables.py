"""Jobs, models, runs, shards, scores, rejects, erasures, publications, benchmarks, promotions; the view of labels.

Written out rather than taken from `schema.py`: a migration describes the tables of its time, whatever the schema
becomes. How later migrations are written stands in `docs/decisions/0012-migrations-beside-running-workers.md`.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import context, op
from sqlalchemy.dialects import mysql

from review_scoring.warehouse.column_types import ByteText, UtcDateTime

revision = "0001_tables"
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
    """Create the tables and the view. There is no downgrade: it would drop every score."""
    _create_runs()
    _create_reviews()
    _create_erasures()
    _create_publications()
    _create_benchmarks()
    _create_view()


def _create_runs() -> None:
    op.create_table(
        "scoring_jobs",
        sa.Column("id", _serial(), primary_key=True),
        sa.Column("name", sa.String(200), nullable=False, unique=True),
        sa.Column("source", sa.String(500), nullable=False),
        sa.Column("id_type", sa.String(20), nullable=False),
        sa.Column("last_fencing_token", sa.BigInteger, nullable=False),
        sa.Column("uncounted_reviews", sa.BigInteger, nullable=False),
        sa.Column("cursor_seen", sa.String(500)),
        sa.Column("cursor_backlog", sa.String(500)),
        sa.Column("changes_seen", sa.String(500)),
        sa.Column("compared_at", UtcDateTime),
        sa.Column("full_pass_at", UtcDateTime),
        sa.Column("requested_by", sa.String(510)),
        sa.Column("requested_until", UtcDateTime),
        sa.Column("created_at", UtcDateTime, nullable=False),
        schema=_schema(),
        **MYSQL,
    )
    op.create_table(
        "scored_models",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("revision", sa.String(64), nullable=False),
        sa.Column("first_used_at", UtcDateTime, nullable=False),
        sa.UniqueConstraint("name", "revision", name="scored_models_revision"),
        schema=_schema(),
        **MYSQL,
    )
    op.create_table(
        "scoring_runs",
        sa.Column("id", _serial(), primary_key=True),
        sa.Column("job_id", sa.BigInteger, *_refers_to("scoring_jobs"), nullable=False),
        sa.Column("dag_id", sa.String(250), nullable=False),
        sa.Column("task_id", sa.String(250), nullable=False),
        sa.Column("dag_run_id", sa.String(250), nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("rescore", sa.String(20), nullable=False),
        sa.Column("reject_reason", sa.String(50)),
        sa.Column("key_after", ByteText(255)),
        sa.Column("key_upto", ByteText(255)),
        sa.Column("scored_since", UtcDateTime),
        sa.Column("scored_until", UtcDateTime),
        sa.Column("max_reviews", sa.BigInteger),
        sa.Column("max_minutes", sa.Integer),
        sa.Column("waiting", sa.BigInteger),
        sa.Column("waiting_is_exact", sa.Boolean),
        sa.Column("waiting_since", UtcDateTime),
        sa.Column("excluded", sa.BigInteger),
        sa.Column("excluded_is_exact", sa.Boolean),
        sa.Column("model_id", sa.Integer, *_refers_to("scored_models"), nullable=False),
        sa.Column("shards", sa.Integer, nullable=False),
        *_counts(),
        sa.Column("started_at", UtcDateTime, nullable=False),
        sa.Column("ended_at", UtcDateTime),
        sa.Column("checks", _long_text()),
        sa.UniqueConstraint("job_id", "dag_id", "task_id", "dag_run_id", name="scoring_runs_task"),
        schema=_schema(),
        **MYSQL,
    )
    op.create_table(
        "scoring_shards",
        sa.Column("id", _serial(), primary_key=True),
        sa.Column("run_id", sa.BigInteger, *_refers_to("scoring_runs"), nullable=False),
        sa.Column("map_index", sa.Integer, nullable=False),
        sa.Column("key_after", ByteText(255)),
        sa.Column("key_upto", ByteText(255)),
        sa.Column("scan", sa.Text),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("lease_until", UtcDateTime, nullable=False),
        sa.Column("fencing_token", sa.BigInteger, nullable=False),
        sa.Column("chunks", sa.BigInteger, nullable=False),
        sa.Column("ended_early", sa.Boolean, nullable=False),
        sa.Column("read_to", sa.String(500)),
        *_counts(),
        sa.Column("model_id", sa.Integer, *_refers_to("scored_models"), nullable=False),
        sa.Column("device", sa.String(100)),
        sa.Column("started_at", UtcDateTime, nullable=False),
        sa.Column("ended_at", UtcDateTime),
        sa.UniqueConstraint("run_id", "map_index", name="scoring_shards_map_index"),
        schema=_schema(),
        **MYSQL,
    )
    _create_index("scoring_shards_state", "scoring_shards", ["state"])


def _create_reviews() -> None:
    op.create_table(
        "review_scores",
        sa.Column("job_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("shard_id", sa.BigInteger, nullable=False),
        sa.Column("scored_at", UtcDateTime, nullable=False),
        sa.Column("score", sa.Double, nullable=False),
        sa.Column("model_id", sa.Integer, nullable=False),
        sa.Column("token_count", sa.Integer, nullable=False),
        sa.Column("truncated", sa.Boolean, nullable=False),
        sa.Column("review_id", ByteText(255), primary_key=True),
        sa.Column("label", sa.String(50), nullable=False),
        sa.Column("probabilities", sa.Text, nullable=False),
        sa.Column("text_hash", _hash(), nullable=False),
        sa.Column("source_updated_at", sa.String(100)),
        schema=_schema(),
        **MYSQL,
    )
    _create_index("review_scores_shard", "review_scores", ["shard_id"])
    _create_certainty_index()
    op.create_table(
        "review_rejects",
        sa.Column("job_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("shard_id", sa.BigInteger, nullable=False),
        sa.Column("first_seen", UtcDateTime, nullable=False),
        sa.Column("model_id", sa.Integer, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("review_id", ByteText(255), primary_key=True),
        sa.Column("reason", sa.String(50), nullable=False),
        sa.Column("detail", sa.String(500), nullable=False),
        sa.Column("text_hash", _hash(), nullable=False),
        sa.Column("source_updated_at", sa.String(100)),
        schema=_schema(),
        **MYSQL,
    )
    _create_index("review_rejects_shard", "review_rejects", ["shard_id"])


def _create_certainty_index() -> None:
    key, filters = ["job_id", "score", "review_id"], ["label", "truncated", "model_id", "scored_at"]
    if _dialect() in {"mysql", "mariadb"}:  # without INCLUDE, the filters stand in the key, behind what it orders by
        _create_index("review_scores_certainty_filters", "review_scores", [*key, *filters])
    else:  # DuckDB, whose dialect is PostgreSQL's child, has no INCLUDE
        included: dict[str, Any] = {} if _dialect() == "duckdb" else {"postgresql_include": filters}
        _create_index("review_scores_certainty", "review_scores", key, **included)


def _create_erasures() -> None:
    op.create_table(
        "erasures",
        sa.Column("id", _serial(), primary_key=True),
        sa.Column("job_id", sa.BigInteger, *_refers_to("scoring_jobs"), nullable=False),
        sa.Column("review_hash", _hash(), nullable=False),
        sa.Column("erased_from", sa.String(20)),
        sa.Column("shard_id", sa.BigInteger),
        sa.Column("benchmark_texts", sa.Integer, nullable=False),
        sa.Column("reason", sa.String(20), nullable=False),
        sa.Column("requested_by", sa.String(250), nullable=False),
        sa.Column("erased_in", sa.String(510), nullable=False),
        sa.Column("erased_at", UtcDateTime, nullable=False),
        schema=_schema(),
        **MYSQL,
    )
    _create_index("erasures_review", "erasures", ["review_hash"])
    _create_index("erasures_time", "erasures", ["job_id", "erased_at"])
    _create_index("erasures_shard", "erasures", ["shard_id"])


def _create_publications() -> None:
    op.create_table(
        "publications",
        sa.Column("id", _serial(), primary_key=True),
        sa.Column("job_id", sa.BigInteger, *_refers_to("scoring_jobs"), nullable=False),
        sa.Column("destination", sa.String(500), nullable=False),
        sa.Column("attempts", sa.BigInteger, nullable=False),
        sa.Column("lease_holder", sa.String(510), nullable=False),
        sa.Column("lease_until", UtcDateTime, nullable=False),
        sa.Column("published_attempt", sa.BigInteger),
        sa.Column("published_token", sa.BigInteger),
        sa.Column("published_erasure", sa.BigInteger),
        sa.Column("withheld_shards", _long_text()),
        sa.Column("table_rows", sa.BigInteger),
        sa.Column("published_in", sa.String(510)),
        sa.Column("published_at", UtcDateTime),
        sa.UniqueConstraint("job_id", "destination", name="publications_destination"),
        schema=_schema(),
        **MYSQL,
    )


def _create_benchmarks() -> None:
    op.create_table(
        "benchmark_sets",
        sa.Column("id", _serial(), primary_key=True),
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
        schema=_schema(),
        **MYSQL,
    )
    op.create_table(
        "benchmark_texts",
        sa.Column("text_hash", _hash(), primary_key=True),
        sa.Column("text", _long_text(), nullable=False),
        schema=_schema(),
        **MYSQL,
    )
    op.create_table(
        "benchmark_reviews",
        sa.Column("set_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("review_id", ByteText(255), primary_key=True),
        sa.Column("label", sa.String(50), nullable=False),
        sa.Column("text_hash", _hash()),
        schema=_schema(),
        **MYSQL,
    )
    _create_index("benchmark_reviews_text", "benchmark_reviews", ["text_hash"])
    op.create_table(
        "benchmark_runs",
        sa.Column("id", _serial(), primary_key=True),
        sa.Column("set_id", sa.BigInteger, *_refers_to("benchmark_sets"), nullable=False),
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
        sa.Column("metrics", _long_text(), nullable=False),
        sa.Column("dag_id", sa.String(250), nullable=False),
        sa.Column("task_id", sa.String(250), nullable=False),
        sa.Column("dag_run_id", sa.String(250), nullable=False),
        sa.Column("map_index", sa.Integer, nullable=False),
        sa.Column("started_at", UtcDateTime, nullable=False),
        sa.Column("ended_at", UtcDateTime, nullable=False),
        schema=_schema(),
        **MYSQL,
    )
    _create_index("benchmark_runs_model", "benchmark_runs", ["model", "revision"])
    _create_index("benchmark_runs_task", "benchmark_runs", ["dag_id", "dag_run_id"])
    op.create_table(
        "benchmark_class_metrics",
        sa.Column("benchmark_run_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("label", sa.String(50), primary_key=True),
        sa.Column("precision", sa.Double, nullable=False),
        sa.Column("recall", sa.Double, nullable=False),
        sa.Column("f1", sa.Double, nullable=False),
        sa.Column("support", sa.BigInteger, nullable=False),
        schema=_schema(),
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
        schema=_schema(),
        **MYSQL,
    )
    op.create_table(
        "promotions",
        sa.Column("id", _serial(), primary_key=True),
        sa.Column("job_id", sa.BigInteger, *_refers_to("scoring_jobs"), nullable=False),
        sa.Column("model", sa.String(200), nullable=False),
        sa.Column("revision", sa.String(64), nullable=False),
        sa.Column("benchmark_run_id", sa.BigInteger, *_refers_to("benchmark_runs")),
        sa.Column("promoted_by", sa.String(250), nullable=False),
        sa.Column("approved_by", sa.String(250)),
        sa.Column("promoted_at", UtcDateTime, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("dag_id", sa.String(250), nullable=False),
        sa.Column("dag_run_id", sa.String(250), nullable=False),
        schema=_schema(),
        **MYSQL,
    )
    _create_index("promotions_job", "promotions", ["job_id", "promoted_at"])


def _create_view() -> None:
    """Create the view for analysts: it needs neither a join nor a manual."""
    scores, jobs, models = (
        sa.table(name, *map(sa.column, columns.split()), schema=_schema())
        for name, columns in (
            ("review_scores", "job_id review_id label score model_id scored_at"),
            ("scoring_jobs", "id name"),
            ("scored_models", "id name revision"),
        )
    )
    labels = (
        sa.select(
            jobs.c.name.label("job"),
            scores.c.review_id,
            scores.c.label,
            scores.c.score,
            models.c.name.label("model"),
            models.c.revision,
            scores.c.scored_at,
        )
        .join_from(scores, jobs, jobs.c.id == scores.c.job_id)
        .join(models, models.c.id == scores.c.model_id)
    )
    # As text: SQLAlchemy 2.0, which Airflow allows, has no DDL element for a view.
    op.execute(f"CREATE VIEW {_view()} AS {labels.compile(dialect=op.get_context().dialect)}")


def _view() -> str:
    preparer = op.get_context().dialect.identifier_preparer
    return preparer.format_table(sa.Table("review_labels", sa.MetaData(), schema=_schema()))


def _schema() -> str | None:
    schema: str | None = context.config.attributes["schema"]
    return schema


def _dialect() -> str:
    dialect: str = context.config.attributes["dialect"]
    return dialect


def _serial() -> sa.types.TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _hash() -> sa.types.TypeEngine[bytes]:
    return sa.LargeBinary(32).with_variant(mysql.BINARY(32), "mysql", "mariadb")


def _long_text() -> sa.types.TypeEngine[str]:
    return sa.Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb")


def _refers_to(table: str) -> list[sa.ForeignKey]:
    """Return a foreign key; none for DuckDB, which replaces a row to update it, and refuses that where a key points."""
    if _dialect() == "duckdb":
        return []
    schema = _schema()
    return [sa.ForeignKey(f"{schema}.{table}.id" if schema else f"{table}.id")]


def _counts() -> list[sa.Column[Any]]:
    numbers = ("read", "scored", "unchanged", "rejected", "relabelled", "met_again", "repeats_met_again", "tokens")
    return [
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in numbers),
        sa.Column("device_seconds", sa.Double, nullable=False),
        sa.Column("unkeyed_rejects", sa.Text, nullable=False),
        sa.Column("label_counts", sa.Text, nullable=False),
    ]


def _create_index(name: str, table: str, columns: list[str], **options: Any) -> None:
    op.create_index(name, table, columns, schema=_schema(), **options)
