"""The benchmark sets that Airflow offers, and the warehouse that a job's evaluations are kept in."""

from __future__ import annotations

from pathlib import Path

from review_scoring.airflow.config import settings
from review_scoring.airflow.connections.engines import engine_of
from review_scoring.job import ScoringJob
from review_scoring.run.preflight import target_conn_id
from review_scoring.warehouse.evaluations.store import BenchmarkStore


def own_sets() -> Path | None:
    """Return the deployment's file of sets."""
    return settings().benchmark_sets


def store_of(job: ScoringJob) -> BenchmarkStore:
    """Return the benchmark tables beside a job's scores."""
    return BenchmarkStore(engine_of(target_conn_id(job)), job.target_schema)
