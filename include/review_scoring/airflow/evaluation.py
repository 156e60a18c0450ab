"""The benchmark store of a job: benchmark sets and evaluations in its warehouse."""

from __future__ import annotations

from review_scoring.airflow.connections.engines import target_engine_of
from review_scoring.concurrency.cancellation import StopFlag
from review_scoring.job import ScoringJob
from review_scoring.warehouse.evaluations.benchmark_store import BenchmarkStore


def store_of(job: ScoringJob, stop: StopFlag | None = None) -> BenchmarkStore:
    """Return the benchmark store in a job's warehouse."""
    return BenchmarkStore(target_engine_of(job), job.target_schema, stop or StopFlag())
