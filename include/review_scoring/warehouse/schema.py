"""The project's tables as SQLAlchemy metadata: columns, types, keys, indexes. A test compares it with `migrations/`."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
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

from review_scoring.reviews import MAX_TIME_LENGTH
from review_scoring.warehouse.column_types import ByteText, UtcDateTime, hash_type, long_text_type, surrogate_id_type

VERSION_TABLE = "review_scoring_version"
"""Alembic's version table, under a name that cannot clash with Airflow's or the user's."""

LABELS_VIEW = "review_labels"
"""The view for analysts: one row for each scored review, with the job's name and the model's."""

RUNNING, SUCCESS, FAILED, YIELDED, ABANDONED = "running", "success", "failed", "yielded", "abandoned"
"""States of a shard; a run has all but the last. A shard that was running is abandoned if another run takes over after
its lease has expired, or if its run is planned again without it."""

SCORE, REJECT = "score", "reject"
"""Values of `erasures.erased_from`."""

SUPERSEDED = "superseded"
"""The value of `erasures.reason` whose ids are those within a benchmark set, and not the job's."""

CERTAINTY = ("job_id", "score", "review_id")
FILTERS = ("label", "truncated", "model_id", "scored_at")
"""Columns by which the pages order scores, and by which they filter."""

ONLY, EXCEPT = "only", "except"
MYSQL = frozenset({"mysql", "mariadb"})
"""An index that not all databases have names them in its `info`: those that have it, or those that do not."""


class Tables:
    """The tables in one schema of the target database (None: the connection's default schema)."""

    def __init__(self, schema: str | None = None) -> None:
        self.schema = schema
        self.metadata = MetaData(schema=schema)
        self._add_runs()
        self._add_reviews()
        self._add_erasures()
        self._add_publications()
        self._add_benchmarks()

    def _add_runs(self) -> None:
        """Add the tables of jobs, models, runs and shards."""
        # `uncounted_reviews` are those for which no row of `scoring_runs` accounts: the reviews of removed runs. Erased
        # reviews are subtracted, so it may be negative.
        self.jobs = Table(
            "scoring_jobs",
            self.metadata,
            Column("id", surrogate_id_type(), primary_key=True),
            Column("name", String(200), nullable=False, unique=True),
            Column("source", String(500), nullable=False),
            Column("id_type", String(20), nullable=False),
            Column("last_fencing_token", BigInteger, nullable=False, default=0),
            Column("uncounted_reviews", BigInteger, nullable=False, default=0),
            Column("cursor_seen", String(500)),
            Column("cursor_backlog", String(500)),
            Column("changes_seen", String(500)),
            Column("compared_at", UtcDateTime),
            Column("full_pass_at", UtcDateTime),
            Column("requested_by", String(510)),
            Column("requested_until", UtcDateTime),
            Column("created_at", UtcDateTime, nullable=False),
        )
        # A model and revision that has scored. Rows refer to it by a number: two texts in each of many million rows
        # would take more space than all other columns.
        self.models = Table(
            "scored_models",
            self.metadata,
            Column("id", Integer, primary_key=True),
            Column("name", String(200), nullable=False),
            Column("revision", String(64), nullable=False),
            Column("first_used_at", UtcDateTime, nullable=False),
            UniqueConstraint("name", "revision", name="scored_models_revision"),
        )
        # `dag_run_id` is Airflow's name of the DAG run. The counts are the sum over the shards; they are written
        # whenever a shard ends, and while one is running its own row is ahead of them.
        self.runs = Table(
            "scoring_runs",
            self.metadata,
            Column("id", surrogate_id_type(), primary_key=True),
            Column("job_id", BigInteger, self._refers_to("scoring_jobs"), nullable=False),
            Column("dag_id", String(250), nullable=False),
            Column("task_id", String(250), nullable=False),
            Column("dag_run_id", String(250), nullable=False),
            Column("state", String(20), nullable=False),
            Column("rescore", String(20), nullable=False),
            Column("reject_reason", String(50)),
            Column("key_after", ByteText()),
            Column("key_upto", ByteText()),
            Column("scored_since", UtcDateTime),
            Column("scored_until", UtcDateTime),
            Column("max_reviews", BigInteger),
            Column("max_minutes", Integer),
            Column("waiting", BigInteger),
            Column("waiting_is_exact", Boolean),
            Column("waiting_since", UtcDateTime),
            Column("excluded", BigInteger),
            Column("excluded_is_exact", Boolean),
            Column("model_id", Integer, self._refers_to("scored_models"), nullable=False),
            Column("shards", Integer, nullable=False),
            *_counts(),
            Column("started_at", UtcDateTime, nullable=False),
            Column("ended_at", UtcDateTime),
            Column("checks", long_text_type()),
            UniqueConstraint("job_id", "dag_id", "task_id", "dag_run_id", name="scoring_runs_task"),
        )
        self.shards = Table(
            "scoring_shards",
            self.metadata,
            Column("id", surrogate_id_type(), primary_key=True),
            Column("run_id", BigInteger, self._refers_to("scoring_runs"), nullable=False),
            Column("map_index", Integer, nullable=False),
            Column("key_after", ByteText()),
            Column("key_upto", ByteText()),
            Column("scan", Text),
            Column("state", String(20), nullable=False),
            Column("lease_until", UtcDateTime, nullable=False),
            Column("fencing_token", BigInteger, nullable=False),
            Column("chunks", BigInteger, nullable=False),
            Column("ended_early", Boolean, nullable=False),
            Column("read_to", String(500)),
            *_counts(),
            Column("model_id", Integer, self._refers_to("scored_models"), nullable=False),
            Column("device", String(100)),
            Column("started_at", UtcDateTime, nullable=False),
            Column("ended_at", UtcDateTime),
            UniqueConstraint("run_id", "map_index", name="scoring_shards_map_index"),
            Index("scoring_shards_state", "state"),
        )

    def _add_reviews(self) -> None:
        """Add the tables with a row for each review.

        They have no foreign keys: PostgreSQL would check them for every row, and every commit already locks the shard's
        row, which has foreign keys to its run and its model. Columns of a fixed width come first: PostgreSQL then needs
        no padding to align them.
        """
        self.scores = Table(
            "review_scores",
            self.metadata,
            Column("job_id", BigInteger, primary_key=True, autoincrement=False),
            Column("shard_id", BigInteger, nullable=False),
            Column("scored_at", UtcDateTime, nullable=False),
            Column("score", Double, nullable=False),
            Column("model_id", Integer, nullable=False),
            Column("token_count", Integer, nullable=False),
            Column("truncated", Boolean, nullable=False),
            Column("review_id", ByteText(), primary_key=True),
            Column("label", String(50), nullable=False),
            Column("probabilities", Text, nullable=False),
            Column("text_hash", hash_type(), nullable=False),
            Column("source_updated_at", String(MAX_TIME_LENGTH)),
            Index("review_scores_shard", "shard_id"),
            # Least certain reviews first, under any filter: the index includes the columns of the filters.
            Index("review_scores_certainty", *CERTAINTY, postgresql_include=FILTERS, info={EXCEPT: MYSQL}),
            Index("review_scores_certainty_filters", *CERTAINTY, *FILTERS, info={ONLY: MYSQL}),
        )
        self.rejects = Table(
            "review_rejects",
            self.metadata,
            Column("job_id", BigInteger, primary_key=True, autoincrement=False),
            Column("shard_id", BigInteger, nullable=False),
            Column("first_seen", UtcDateTime, nullable=False),
            Column("model_id", Integer, nullable=False),
            Column("attempts", Integer, nullable=False),
            Column("review_id", ByteText(), primary_key=True),
            Column("reason", String(50), nullable=False),
            Column("detail", String(500), nullable=False),
            Column("text_hash", hash_type(), nullable=False),
            Column("source_updated_at", String(MAX_TIME_LENGTH)),
            Index("review_rejects_shard", "shard_id"),
        )

    def _add_erasures(self) -> None:
        """Add the table of what was erased."""
        # A row for each erased review, with neither its id nor its text. `erased_from` is NULL if only texts of
        # benchmark sets were erased, or nothing was stored. By `shard_id`, the counts of an old run still add up.
        self.erasures = Table(
            "erasures",
            self.metadata,
            Column("id", surrogate_id_type(), primary_key=True),
            Column("job_id", BigInteger, self._refers_to("scoring_jobs"), nullable=False),
            Column("review_hash", hash_type(), nullable=False),
            Column("erased_from", String(20)),
            Column("shard_id", BigInteger),
            Column("benchmark_texts", Integer, nullable=False),
            Column("reason", String(20), nullable=False),
            Column("requested_by", String(250), nullable=False),
            Column("erased_in", String(510), nullable=False),
            Column("erased_at", UtcDateTime, nullable=False),
            Index("erasures_review", "review_hash"),
            Index("erasures_time", "job_id", "erased_at"),
            Index("erasures_shard", "shard_id"),
        )

    def _add_publications(self) -> None:
        """Add the table of what was published where."""
        # `attempts` counts publications that have begun, `published_attempt` is the last one that has succeeded. Of
        # that one are the other columns: the highest fencing token of the shards and the highest erasure that it has
        # published, the shards up to there that it has left out (JSON), and the number of rows of the job afterwards.
        self.publications = Table(
            "publications",
            self.metadata,
            Column("id", surrogate_id_type(), primary_key=True),
            Column("job_id", BigInteger, self._refers_to("scoring_jobs"), nullable=False),
            Column("destination", String(500), nullable=False),
            Column("attempts", BigInteger, nullable=False),
            Column("lease_holder", String(510), nullable=False),
            Column("lease_until", UtcDateTime, nullable=False),
            Column("published_attempt", BigInteger),
            Column("published_token", BigInteger),
            Column("published_erasure", BigInteger),
            Column("withheld_shards", long_text_type()),
            Column("table_rows", BigInteger),
            Column("published_in", String(510)),
            Column("published_at", UtcDateTime),
            UniqueConstraint("job_id", "destination", name="publications_destination"),
        )

    def _add_benchmarks(self) -> None:
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
        # Each text once, however many sets contain it: deleting its row erases it, and labels and predictions stay.
        self.benchmark_texts = Table(
            "benchmark_texts",
            self.metadata,
            Column("text_hash", hash_type(), primary_key=True),
            Column("text", long_text_type(), nullable=False),
        )
        self.benchmark_reviews = Table(
            "benchmark_reviews",
            self.metadata,
            Column("set_id", BigInteger, primary_key=True, autoincrement=False),
            Column("review_id", ByteText(), primary_key=True),
            Column("label", String(50), nullable=False),
            Column("text_hash", hash_type()),
            Index("benchmark_reviews_text", "text_hash"),
        )
        self.benchmark_runs = Table(
            "benchmark_runs",
            self.metadata,
            Column("id", surrogate_id_type(), primary_key=True),
            Column("set_id", BigInteger, self._refers_to("benchmark_sets"), nullable=False),
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
            Column("metrics", long_text_type(), nullable=False),
            Column("dag_id", String(250), nullable=False),
            Column("task_id", String(250), nullable=False),
            Column("dag_run_id", String(250), nullable=False),
            Column("map_index", Integer, nullable=False),
            Column("started_at", UtcDateTime, nullable=False),
            Column("ended_at", UtcDateTime, nullable=False),
            Index("benchmark_runs_model", "model", "revision"),
            Index("benchmark_runs_task", "dag_id", "dag_run_id"),
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
            Column("job_id", BigInteger, self._refers_to("scoring_jobs"), nullable=False),
            Column("model", String(200), nullable=False),
            Column("revision", String(64), nullable=False),
            Column("benchmark_run_id", BigInteger, self._refers_to("benchmark_runs")),
            Column("promoted_by", String(250), nullable=False),
            Column("approved_by", String(250)),
            Column("promoted_at", UtcDateTime, nullable=False),
            Column("reason", Text, nullable=False),
            Column("dag_id", String(250), nullable=False),
            Column("dag_run_id", String(250), nullable=False),
            Index("promotions_job", "job_id", "promoted_at"),
        )

    def _refers_to(self, table: str) -> ForeignKey:
        return ForeignKey(f"{self.schema}.{table}.id" if self.schema else f"{table}.id")


def _counts() -> list[Column[Any]]:
    """Return the columns of :class:`~review_scoring.warehouse.ledger.counts.Counts`."""
    numbers = ("read", "scored", "unchanged", "rejected", "relabelled", "met_again", "repeats_met_again", "tokens")
    return [
        *(Column(name, BigInteger, nullable=False) for name in numbers),
        Column("device_seconds", Double, nullable=False),
        Column("unkeyed_rejects", Text, nullable=False),
        Column("label_counts", Text, nullable=False),
    ]


@lru_cache
def tables(schema: str | None = None) -> Tables:
    """Return the tables of a schema, made once."""
    return Tables(schema)
