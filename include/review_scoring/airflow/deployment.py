"""When and where a deployment's DAGs run."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from airflow.sdk import conf


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """Settings of a deployment that Airflow keeps with the DAG: environment variables of the DAG processor.

    A worker that has other ones does no harm: the scheduler takes them from the metadata. What a run does is in
    :mod:`review_scoring.airflow.run_settings`.

    :param schedule: when the job is scored
    :param pool: of the tasks that classify; a pool that does not exist makes a run wait for ever
    :param queue: of the tasks that classify; likewise
    :param import_queue: of the task that imports models; whoever classifies has to see what it keeps
    :param benchmark_schedule: when models are evaluated
    """

    schedule: str
    pool: str
    queue: str
    import_queue: str
    benchmark_schedule: str

    @classmethod
    def of(cls, environment: Mapping[str, str] = os.environ) -> Deployment:
        """Read the settings."""

        def setting(name: str, default: str) -> str:
            return environment.get(name) or default

        queue = setting("REVIEW_SCORING_QUEUE", conf.get("operators", "default_queue"))
        return cls(
            schedule=setting("REVIEW_SCORING_SCHEDULE", "0 2 * * *"),
            pool=setting("REVIEW_SCORING_POOL", "default_pool"),
            queue=queue,
            import_queue=setting("REVIEW_SCORING_IMPORT_QUEUE", queue),
            benchmark_schedule=setting("REVIEW_SCORING_BENCHMARK_SCHEDULE", "0 4 * * 0"),
        )
