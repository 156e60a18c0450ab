"""The DAG `score_<job>` of each job: scores its new reviews, on a schedule (nightly by default).

resolve run -> preflight -> plan shards -> score each shard -> summarise -> check the run -> publish -> update asset
-> notify
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, Asset, AssetAll, AssetAny, Param, get_parsing_context

from review_scoring.airflow.compat import AssetOrTimeSchedule
from review_scoring.airflow.config import settings
from review_scoring.airflow.dags.base import RETRIES, create_failing_dag, cron, scoring_dag
from review_scoring.airflow.dags.shard_tasks import add_shard_tasks
from review_scoring.airflow.jobs import JOBS_VARIABLE, defined_jobs, jobs_folder, score_dag_id
from review_scoring.airflow.notifiers import deadline_alerts, notifier_class, require_modules
from review_scoring.airflow.operators import (
    CheckRunOperator,
    NotifyOperator,
    PublishScoresOperator,
    UpdateAssetOperator,
)
from review_scoring.airflow.params import (
    RARELY,
    budget_params,
    dry_run_param,
    long_texts_param,
    model_param,
    offered_models,
    order_params,
    shards_param,
)
from review_scoring.errors import ConfigurationError
from review_scoring.job_definition import AssetsMode, DagSettings, Event, JobDag, JobDefinition

REPORTS = ("summarise", "publish")
"""Tasks whose reports notifications quote."""


def create_score_dags(dag_file: str) -> None:
    """Create the DAG of each job in the folder beside a DAG file, and in the Variable.

    A job whose definition is wrong gets a DAG that fails with the problem, and the other jobs are not affected.

    :param dag_file: `__file__` of the DAG file
    """
    jobs = defined_jobs(jobs_folder(dag_file))
    wanted = get_parsing_context().dag_id  # a task needs only its own DAG
    for name in jobs:
        dag_id = score_dag_id(name)
        if wanted not in {None, dag_id}:
            continue
        try:
            create_score_dag(jobs.definition(name))
        except ConfigurationError as error:
            create_failing_dag(dag_id, str(error))
    if jobs.variable_problem:
        create_failing_dag(JOBS_VARIABLE, jobs.variable_problem)


def create_score_dag(definition: JobDefinition) -> DAG:
    """Create the DAG of a job.

    :raises ConfigurationError: for a schedule or a notifier that does not exist
    """
    job, dag_settings, models = definition.job, definition.dag, offered_models()
    require_modules(dag_settings)
    deadline = deadline_alerts(dag_settings)
    with scoring_dag(
        score_dag_id(job.name),
        description=f"New reviews of {job.source_table} in, labels and scores out, exactly once",
        schedule=schedule_of(dag_settings),
        resolved={"job": job.serialize(), "shards": dag_settings.shards},
        max_active_runs=1,
        params={
            "dry_run": dry_run_param(),
            "model": model_param(models, definition),
            **budget_params(definition),
            "long_texts": long_texts_param(definition),
            **order_params(),
            "shards": shards_param(),
            "chunk_rows": Param(
                1000,
                type="integer",
                minimum=1,
                maximum=20_000,
                title="Chunk size",
                section=RARELY,
                description="Reviews per transaction. A worker that dies loses the work on one chunk.",
            ),
        },
        tags=dag_settings.tags,
        default_args={
            **RETRIES,
            "retries": dag_settings.retries,
            "owner": dag_settings.owner,
            "execution_timeout": timedelta(minutes=dag_settings.timeout_minutes),
        },
        doc_md=__doc__,
        deadline=deadline or None,
    ) as (dag, run):
        summarise = add_shard_tasks(
            run,
            model="{{ params.model }}",
            pool=dag_settings.pool,
            queue=dag_settings.queue,
            plan={
                "max_reviews": "{{ params.max_reviews }}",
                "max_minutes": "{{ params.max_minutes }}",
                "order": "{{ params.order }}",
                "start_after": "{{ params.start_after }}",
            },
            score={
                "chunk_rows": "{{ params.chunk_rows }}",
                "long_texts": "{{ params.long_texts }}",
                "priority_weight": dag_settings.priority,
            },
        )
        check = CheckRunOperator(task_id="check_run", job=run.job_settings, report=summarise.output)
        update = UpdateAssetOperator(task_id="update_asset", job_name=job.name, report=summarise.output)
        summarise >> check >> update
        if job.publish:
            check >> PublishScoresOperator(task_id="publish", job=run.job_settings) >> update
        own = [each for each in dag_settings.notifications if JobDag.SCORE in each.dags]
        sent = [each for each in own if set(each.on) != {Event.DEADLINE}]
        if sent:
            notify = NotifyOperator(task_id="notify", job_name=job.name, notifications=sent, reports=REPORTS)
            update >> notify.as_teardown()
    return dag


def check_definition(definition: JobDefinition) -> str:
    """Check what only Airflow can: the schedule and the notifiers. Return a line about the DAG.

    :raises ConfigurationError: for a schedule or a notifier that does not exist
    """
    schedule = schedule_of(definition.dag)
    for notification in definition.dag.notifications:
        notifier_class(notification.notifier)
    deadline_alerts(definition.dag)
    expression = getattr(getattr(schedule, "timetable", schedule), "expression", None)
    starts = [f"{expression} {definition.dag.timezone}"] if expression else []
    starts += [f"assets {', '.join(definition.dag.assets)}"] if definition.dag.assets else []
    return f"DAG {score_dag_id(definition.name)}, {' or '.join(starts) or 'no schedule'}"


def schedule_of(dag: DagSettings) -> Any:
    """Return the schedule of a job's DAG: a timetable, assets, both, or None.

    :raises ConfigurationError: if the cron expression is not valid
    """
    refs = [Asset.ref(uri=each) if "://" in each else Asset.ref(name=each) for each in dag.assets]
    assets = AssetAny(*refs) if dag.assets_mode is AssetsMode.ANY else AssetAll(*refs)
    if dag.schedule is None:
        return assets if refs else cron(settings().schedule, dag.timezone, key="setting 'schedule'")
    timetable = cron(dag.schedule, dag.timezone, key="key 'dag.schedule'")
    if timetable is None or not refs:
        return assets if refs else timetable
    return AssetOrTimeSchedule(timetable=timetable, assets=assets)
