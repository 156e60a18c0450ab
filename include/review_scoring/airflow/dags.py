"""`scoring_dag`, which all DAGs of this project are built with: start date, task timeout, params, first task."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from airflow.sdk import DAG

from review_scoring.airflow.config import refuse_unknown_environment
from review_scoring.airflow.operators.resolve_run import ResolveRunOperator

TASK_TIMEOUT = timedelta(hours=24)
"""Celery redelivers a task after its visibility timeout of one day, so tasks end before. A retry continues the work."""

RESOLVE = "resolve_run"
"""Id of the first task of every DAG."""


@contextmanager
def scoring_dag(
    dag_id: str, *, schedule: Any, params: Mapping[str, Any], uses_job: bool = True, **settings: Any
) -> Iterator[tuple[DAG, ResolveRunOperator]]:
    """Create a DAG with the tasks of the `with` block, which receives the DAG and its first task.

    The first task refuses a conf with unknown keys before any other task runs, and passes what it resolves to the other
    tasks: `run.job`, `run.most_shards`, `run.require_benchmark`.

    :param params: the fields of the form, which are the allowed keys of a conf
    :param uses_job: False for a DAG that does not use a scoring job
    :param settings: further arguments of the DAG
    :raises ConfigurationError: for environment variables that look like a setting but are not read
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
        run = ResolveRunOperator(task_id=RESOLVE, uses_job=uses_job)
        yield dag, run
        for root in list(dag.roots):
            if root is not run:
                run >> root
