"""The project's tables as SQLAlchemy metadata: columns, types, keys, indexes. A test compares it with `migrations/`."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.dialects import mysql, postgresql
from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.types import TypeDecorator, TypeEngine

from review_scoring.reviews import MAX_ID_LENGTH, MAX_TIME_LENGTH

VERSION_TABLE = "review_scoring_version"
"""Alembic's version table, under a name that cannot clash with Airflow's or the user's."""

CERTAINTY = ("job_id", "score", "review_id")
FILTERS = ("label", "model", "truncated", "scored_at")
"""Columns by which the pages order scores, and by which they filter."""

ONLY, EXCEPT = "only", "except"
MYSQL = frozenset({"mysql", "mariadb"})
"""Keys in `info` of an index that only some databases have: which ones have it, or do not."""


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC time: `timestamptz` on PostgreSQL, a naive UTC column elsewhere, microseconds kept everywhere."""

    impl = DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[datetime]:
        """Return the column type of the database."""
        if dialect.name == "postgresql":
            return dialect.type_descriptor(DateTime(timezone=True))
        if dialect.name in {"mysql", "mariadb"}:
            return dialect.type_descriptor(mysql.DATETIME(fsp=6))
        return dialect.type_descriptor(DateTime())

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse a naive time, which is ambiguous, and convert others to UTC."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value!r} has no time zone")
        utc = value.astimezone(UTC)
        return utc if dialect.name == "postgresql" else utc.replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Return every time aware, in UTC."""
        if value is None:
            return None
        return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)


class ByteText(TypeDecorator[str]):
    """Text compared byte by byte, trailing blanks included: `a1`, `A1` and `a1 ` are three reviews."""

    impl = String
    cache_ok = True

    def __init__(self, length: int = MAX_ID_LENGTH) -> None:
        super().__init__(length)
        self.length = length

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[str]:
        """Return the type with a binary collation of the database; a `mysql://` address may lead to MariaDB."""
        if dialect.name == "postgresql":
            return dialect.type_descriptor(postgresql.VARCHAR(self.length, collation="C"))
        if dialect.name in {"mysql", "mariadb"}:
            collation = "utf8mb4_nopad_bin" if getattr(dialect, "is_mariadb", False) else "utf8mb4_0900_bin"
            return dialect.type_descriptor(mysql.VARCHAR(self.length, charset="utf8mb4", collation=collation))
        return dialect.type_descriptor(String(self.length))


def surrogate_id_type() -> TypeEngine[int]:
    """Return a 64-bit key that every database fills by itself, SQLite included."""
    return BigInteger().with_variant(Integer(), "sqlite")


def long_text_type() -> TypeEngine[str]:
    """Return a text type long enough for any review."""
    return Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb")


class Tables:
    """The tables in one schema of the target database (None: the connection's default schema)."""

    def __init__(self, schema: str | None = None) -> None:
        self.schema = schema
        self.metadata = MetaData(schema=schema)
        prefix = f"{schema}." if schema else ""
        self.jobs = Table(
            "scoring_jobs",
            self.metadata,
            Column("id", surrogate_id_type(), primary_key=True),
            Column("name", String(200), nullable=False, unique=True),
            Column("source", String(500), nullable=False),
            Column("id_type", String(20), nullable=False),
            Column("last_fencing_token", BigInteger, nullable=False, default=0),
            Column("cursor_seen", String(500)),
            Column("full_pass_at", UtcDateTime),
            Column("created_at", UtcDateTime, nullable=False),
            Column("wanted_by", String(510)),
            Column("wanted_until", UtcDateTime),
        )
        self.runs = Table(
            "scoring_runs",
            self.metadata,
            Column("id", surrogate_id_type(), primary_key=True),
            Column("job_id", BigInteger, ForeignKey(f"{prefix}scoring_jobs.id"), nullable=False),
            Column("dag_id", String(250), nullable=False),
            Column("task_id", String(250), nullable=False),
            Column("run_id", String(250), nullable=False),
            Column("map_index", Integer, nullable=False),
            Column("range_from", ByteText()),
            Column("range_to", ByteText()),
            Column("state", String(20), nullable=False),
            Column("lease_until", UtcDateTime, nullable=False),
            Column("fencing_token", BigInteger, nullable=False),
            Column("chunks", BigInteger, nullable=False),
            Column("read", BigInteger, nullable=False),
            Column("scored", BigInteger, nullable=False),
            Column("unchanged", BigInteger, nullable=False),
            Column("rejected", BigInteger, nullable=False),
            Column("unkeyed_rejects", Text, nullable=False),
            Column("label_counts", Text),
            Column("tokens", BigInteger, nullable=False),
            Column("device_seconds", Double, nullable=False),
            Column("model", String(200), nullable=False),
            Column("revision", String(64), nullable=False),
            Column("device", String(100)),
            Column("started_at", UtcDateTime, nullable=False),
            Column("ended_at", UtcDateTime),
            Column("relabelled", BigInteger, server_default="0"),
            Column("is_rescore", Boolean),
            Column("review_limit", BigInteger),
            Column("met_again", BigInteger, server_default="0"),
            Column("repeats_met_again", BigInteger, server_default="0"),
            Column("scan", Text),
            UniqueConstraint("job_id", "dag_id", "task_id", "run_id", "map_index", name="scoring_runs_task_key"),
            Index("scoring_runs_job_state", "job_id", "state"),
        )
        # The two tables below have no foreign keys: PostgreSQL would check them for every row, and every commit
        # already locks the run's row, whose own foreign key names the job.
        self.scores = Table(
            "review_scores",
            self.metadata,
            Column("job_id", BigInteger, primary_key=True, autoincrement=False),
            Column("review_id", ByteText(), primary_key=True),
            Column("label", String(50), nullable=False),
            Column("score", Double, nullable=False),
            Column("probabilities", Text, nullable=False),
            Column("model", String(200), nullable=False),
            Column("revision", String(64), nullable=False),
            Column("text_hash", String(64), nullable=False),
            Column("source_updated_at", String(MAX_TIME_LENGTH)),
            Column("token_count", Integer, nullable=False),
            Column("truncated", Boolean, nullable=False),
            Column("scored_at", UtcDateTime, nullable=False),
            Column("run_id", BigInteger, nullable=False),
            Index("review_scores_run", "run_id"),
            # Least certain reviews first, under any filter: the index includes the columns of the filters.
            Index("review_scores_certainty", *CERTAINTY, postgresql_include=FILTERS, info={EXCEPT: MYSQL}),
            Index("review_scores_certainty_filters", *CERTAINTY, *FILTERS, info={ONLY: MYSQL}),
        )
        self.rejects = Table(
            "review_rejects",
            self.metadata,
            Column("job_id", BigInteger, primary_key=True, autoincrement=False),
            Column("review_id", ByteText(), primary_key=True),
            Column("reason", String(50), nullable=False),
            Column("detail", String(500), nullable=False),
            Column("text_hash", String(64), nullable=False),
            Column("source_updated_at", String(MAX_TIME_LENGTH)),
            Column("first_seen", UtcDateTime, nullable=False),
            Column("attempts", Integer, nullable=False),
            Column("run_id", BigInteger, nullable=False),
            Column("model", String(200)),
            Column("revision", String(64)),
            Index("review_rejects_run", "run_id"),
        )
        self._add_benchmarks(prefix)

    def _add_benchmarks(self, prefix: str) -> None:
        """Add the tables of benchmark sets, evaluations and promotions."""
        # A benchmark set whose content changed under its name is a new row, which refers to the previous one.
        self.benchmark_sets = Table(
            "benchmark_sets",
            self.metadata,
            Column("id", surrogate_id_type(), primary_key=True),
            Column("name", String(200), nullable=False),
            Column("content_hash", String(64), nullable=False),
            Column("source", String(500), nullable=False),
            Column("sample_of", String(200)),
            Column("reviews", BigInteger, nullable=False),
            Column("negative", BigInteger, nullable=False),
            Column("positive", BigInteger, nullable=False),
            Column("replaces_id", BigInteger),
            Column("loaded_at", UtcDateTime, nullable=False),
            UniqueConstraint("name", "content_hash", name="benchmark_sets_content"),
        )
        self.benchmark_reviews = Table(
            "benchmark_reviews",
            self.metadata,
            Column("set_id", BigInteger, primary_key=True, autoincrement=False),
            Column("review_id", ByteText(), primary_key=True),
            Column("text", long_text_type()),
            Column("label", String(50), nullable=False),
        )
        self.benchmark_runs = Table(
            "benchmark_runs",
            self.metadata,
            Column("id", surrogate_id_type(), primary_key=True),
            Column("set_id", BigInteger, ForeignKey(f"{prefix}benchmark_sets.id"), nullable=False),
            Column("model", String(200), nullable=False),
            Column("revision", String(64), nullable=False),
            Column("row_limit", BigInteger),
            Column("reviews", BigInteger, nullable=False),
            Column("rejected", BigInteger, nullable=False),
            Column("accuracy", Double, nullable=False),
            Column("macro_f1", Double, nullable=False),
            Column("loss", Double, nullable=False),
            Column("samples_per_second", Double, nullable=False),
            Column("tokens_per_second", Double, nullable=False),
            Column("device", String(100), nullable=False),
            Column("precision", String(20), nullable=False),
            Column("reference_verdict", String(20), nullable=False),
            Column("last_run_verdict", String(20), nullable=False),
            Column("compared_with", BigInteger),
            Column("passed", Boolean, nullable=False),
            Column("explanation", Text, nullable=False),
            Column("figures", long_text_type(), key="metrics", nullable=False),
            Column("dag_id", String(250), nullable=False),
            Column("task_id", String(250), nullable=False),
            Column("run_id", String(250), nullable=False),
            Column("map_index", Integer, nullable=False),
            Column("started_at", UtcDateTime, nullable=False),
            Column("ended_at", UtcDateTime, nullable=False),
            Index("benchmark_runs_model", "model", "revision"),
            Index("benchmark_runs_task", "dag_id", "run_id"),
        )
        self.benchmark_class_metrics = Table(
            "benchmark_class_metrics",
            self.metadata,
            Column("benchmark_run_id", BigInteger, primary_key=True, autoincrement=False),
            Column("label", String(50), primary_key=True),
            Column("precision", Double, nullable=False),
            Column("recall", Double, nullable=False),
            Column("f1", Double, nullable=False),
            Column("support", BigInteger, nullable=False),
        )
        # `predicted` is neg or pos, as it is compared; `label` is the model's own label, such as `neu`; both are NULL
        # for a reject.
        self.benchmark_predictions = Table(
            "benchmark_predictions",
            self.metadata,
            Column("benchmark_run_id", BigInteger, primary_key=True, autoincrement=False),
            Column("review_id", ByteText(), primary_key=True),
            Column("expected", String(50), nullable=False),
            Column("predicted", String(50)),
            Column("label", String(50)),
            Column("score", Double),
            Column("token_count", Integer),
            Column("truncated", Boolean),
            Column("reject_reason", String(50)),
        )
        self.promotions = Table(
            "promotions",
            self.metadata,
            Column("id", surrogate_id_type(), primary_key=True),
            Column("job_id", BigInteger, ForeignKey(f"{prefix}scoring_jobs.id"), nullable=False),
            Column("model", String(200), nullable=False),
            Column("revision", String(64), nullable=False),
            Column("benchmark_run_id", BigInteger, ForeignKey(f"{prefix}benchmark_runs.id")),
            Column("promoted_by", String(250), nullable=False),
            Column("promoted_at", UtcDateTime, nullable=False),
            Column("reason", Text, nullable=False),
            Column("dag_id", String(250), nullable=False),
            Column("run_id", String(250), nullable=False),
            Index("promotions_job", "job_id", "promoted_at"),
        )


@lru_cache
def tables(schema: str | None = None) -> Tables:
    """Return the tables of a schema, made once."""
    return Tables(schema)
