"""The deployment's file of benchmark sets, and the benchmark store of a job."""

from __future__ import annotations

import os
from pathlib import Path

from review_scoring.airflow.connections.engines import engine_of
from review_scoring.airflow.variables import variable
from review_scoring.concurrency.cancellation import StopFlag
from review_scoring.job import ScoringJob
from review_scoring.run.preflight import target_conn_id
from review_scoring.warehouse.evaluations.benchmark_store import BenchmarkStore

SETS = "REVIEW_SCORING_BENCHMARK_SETS"
"""Environment variable: a file with further benchmark sets, in the form of `benchmark_sets.toml`."""


def own_sets() -> Path | None:
    """Return the deployment's file of benchmark sets, from the environment or the Variable (in lower case)."""
    path = os.environ.get(SETS) or variable(SETS.lower())
    return Path(path).expanduser() if path else None


def store_of(job: ScoringJob, stop: StopFlag | None = None) -> BenchmarkStore:
    """Return the benchmark store in a job's warehouse."""
    return BenchmarkStore(engine_of(target_conn_id(job)), job.target_schema, stop or StopFlag())
