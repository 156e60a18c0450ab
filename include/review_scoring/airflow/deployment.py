"""What a deployment decides for its DAGs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from airflow.sdk import conf

from review_scoring.benchmark.sets import DEFAULT_SET
from review_scoring.errors import ConfigurationError


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """Settings of a deployment, not of a run: environment variables of the DAG processor and the workers.

    :param job: the job of the Variable `review_scoring_jobs` that the DAGs are about
    :param schedule: when it is scored
    :param pool: of the tasks that classify; a pool that does not exist makes a run wait for ever
    :param queue: of the tasks that classify; likewise
    :param import_queue: of the task that imports models; whoever classifies has to see what it keeps
    :param shards: among how many tasks a large night is shared at most: as many as score side by side
    :param require_benchmark: the benchmark set that a model must have passed before it may score; None for none
    :param benchmark_schedule: when models are evaluated
    :param benchmark_set: on what, unless a form says otherwise
    """

    job: str
    schedule: str
    pool: str
    queue: str
    import_queue: str
    shards: int
    require_benchmark: str | None
    benchmark_schedule: str
    benchmark_set: str

    @classmethod
    def of(cls, environment: Mapping[str, str] = os.environ) -> Deployment:
        """Read the settings.

        :raises ConfigurationError: for a number of shards that is none
        """

        def setting(name: str, default: str) -> str:
            return environment.get(name) or default

        queue = setting("REVIEW_SCORING_QUEUE", conf.get("operators", "default_queue"))
        shards = setting("REVIEW_SCORING_SHARDS", "4")
        if not shards.isdecimal() or int(shards) < 1:
            raise ConfigurationError(f"REVIEW_SCORING_SHARDS is {shards!r}; it must be a whole number of at least 1")
        return cls(
            job=setting("REVIEW_SCORING_JOB", "film_reviews"),
            schedule=setting("REVIEW_SCORING_SCHEDULE", "0 2 * * *"),
            pool=setting("REVIEW_SCORING_POOL", "default_pool"),
            queue=queue,
            import_queue=setting("REVIEW_SCORING_IMPORT_QUEUE", queue),
            shards=int(shards),
            require_benchmark=environment.get("REVIEW_SCORING_REQUIRE_BENCHMARK"),
            benchmark_schedule=setting("REVIEW_SCORING_BENCHMARK_SCHEDULE", "0 4 * * 0"),
            benchmark_set=setting("REVIEW_SCORING_BENCHMARK_SET", DEFAULT_SET),
        )
