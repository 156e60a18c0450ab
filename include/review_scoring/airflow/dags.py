"""What all our DAGs have in common."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from airflow.sdk import DAG

from review_scoring.airflow.config import refuse_unknown_environment
from review_scoring.airflow.operators.resolve_run import ResolveRunOperator

TASK_TIMEOUT = timedelta(hours=24)
"""After this, Celery hands a task to another worker; no task waits for anything that long. A retry goes on."""

RESOLVE = "resolve_run"
"""Id of the task that each of our runs begins with."""


@contextmanager
def scoring_dag(
    dag_id: str, *, schedule: Any, params: Mapping[str, Any], about_a_job: bool = True, **settings: Any
) -> Iterator[tuple[DAG, ResolveRunOperator]]:
    """Make a DAG of the tasks in the `with` block, which gets the DAG and the task that all others come after.

    That task refuses a conf with unknown keys before anything else runs, and hands on what the run is about:
    `run.job` and the like.

    :param params: the fields of the form, which are the keys that a conf may have
    :param about_a_job: False for a DAG that is not about a scoring job
    :param settings: more of the DAG's own
    :raises ConfigurationError: for an environment variable that would decide what a run does
    """
    refuse_unknown_environment()
    default_args = {"execution_timeout": TASK_TIMEOUT, **settings.pop("default_args", {})}
    with DAG(
        dag_id,
        schedule=schedule,
        start_date=datetime(2026, 1, 1),
        catchup=False,
        params=dict(params),
        tags=["review_scoring"],
        default_args=default_args,
        **settings,
    ) as dag:
        run = ResolveRunOperator(task_id=RESOLVE, about_a_job=about_a_job)
        yield dag, run
        for root in list(dag.roots):
            if root is not run:
                run >> root
