"""The tables that this project owns, as SQLAlchemy sees them. A test holds them and `migrations/` together."""

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
"""Alembic's own table, under a name that cannot clash with Airflow's or the user's."""


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC time: `timestamptz` on PostgreSQL, a naive UTC column elsewhere, microseconds kept everywhere."""

    impl = DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[datetime]:
        """Pick the column type of the database at hand."""
        if dialect.name == "postgresql":
            return dialect.type_descriptor(DateTime(timezone=True))
        if dialect.name in {"mysql", "mariadb"}:
            return dialect.type_descriptor(mysql.DATETIME(fsp=6))
        return dialect.type_descriptor(DateTime())

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse a naive time, which could mean anything, and turn the rest into UTC."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value!r} has no time zone")
        utc = value.astimezone(UTC)
        return utc if dialect.name == "postgresql" else utc.replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Give every time back aware, in UTC."""
        if value is None:
            return None
        return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)


def review_id_type() -> TypeEngine[str]:
    """Return a text type compared byte by byte, trailing blanks included: `a1`, `A1` and `a1 ` are three reviews."""
    return (
        String(MAX_ID_LENGTH)
        .with_variant(postgresql.VARCHAR(MAX_ID_LENGTH, collation="C"), "postgresql")
        .with_variant(mysql.VARCHAR(MAX_ID_LENGTH, charset="utf8mb4", collation="utf8mb4_nopad_bin"), "mariadb")
        .with_variant(mysql.VARCHAR(MAX_ID_LENGTH, charset="utf8mb4", collation="utf8mb4_0900_bin"), "mysql")
    )


def surrogate_id_type() -> TypeEngine[int]:
    """Return a 64-bit key that SQLite, too, fills by itself."""
    return BigInteger().with_variant(Integer(), "sqlite")


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
            Column("range_from", review_id_type()),
            Column("range_to", review_id_type()),
            Column("state", String(20), nullable=False),
            Column("lease_until", UtcDateTime, nullable=False),
            Column("fencing_token", BigInteger, nullable=False),
            Column("chunks", BigInteger, nullable=False),
            Column("read", BigInteger, nullable=False),
            Column("scored", BigInteger, nullable=False),
            Column("unchanged", BigInteger, nullable=False),
            Column("rejected", BigInteger, nullable=False),
            Column("unkeyed_rejects", Text, nullable=False),
            Column("tokens", BigInteger, nullable=False),
            Column("device_seconds", Double, nullable=False),
            Column("model", String(200), nullable=False),
            Column("revision", String(64), nullable=False),
            Column("device", String(100)),
            Column("started_at", UtcDateTime, nullable=False),
            Column("ended_at", UtcDateTime),
            UniqueConstraint("job_id", "dag_id", "task_id", "run_id", "map_index", name="scoring_runs_task_key"),
            Index("scoring_runs_job_state", "job_id", "state"),
        )
        # No foreign keys on the two tables below: PostgreSQL would look both up for every row, and every commit
        # already holds the run's row locked, whose own foreign key names the job.
        self.scores = Table(
            "review_scores",
            self.metadata,
            Column("job_id", BigInteger, primary_key=True, autoincrement=False),
            Column("review_id", review_id_type(), primary_key=True),
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
        )
        self.rejects = Table(
            "review_rejects",
            self.metadata,
            Column("job_id", BigInteger, primary_key=True, autoincrement=False),
            Column("review_id", review_id_type(), primary_key=True),
            Column("reason", String(50), nullable=False),
            Column("detail", String(500), nullable=False),
            Column("text_hash", String(64), nullable=False),
            Column("source_updated_at", String(MAX_TIME_LENGTH)),
            Column("first_seen", UtcDateTime, nullable=False),
            Column("attempts", Integer, nullable=False),
            Column("run_id", BigInteger, nullable=False),
            Index("review_rejects_run", "run_id"),
        )


@lru_cache
def tables(schema: str | None = None) -> Tables:
    """Return the tables of a schema, made once."""
    return Tables(schema)
