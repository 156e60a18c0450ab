"""The DAG `reconcile_reviews`: finds scores of deleted reviews, and changed texts of rows without a time, every week.

It erases what is recorded of deleted reviews if the job says so, and removes records of runs and predictions that are
older than the settings say. A run that names no job starts one run for each job.

resolve run -> reconcile
            -> apply retention
            -> preflight -> plan comparison -> score each shard -> summarise -> publish -> update asset
"""

from __future__ import annotations

from airflow.sdk import DAG, Param

from review_scoring.airflow.config import settings
from review_scoring.airflow.dags.base import CHOSEN_JOB, DRY_RUN, RETRIES, cron, publishes, scoring_dag
from review_scoring.airflow.dags.shard_tasks import add_shard_tasks
from review_scoring.airflow.jobs import defined_jobs, jobs_folder
from review_scoring.airflow.operators import (
    ApplyRetentionOperator,
    PlanComparisonOperator,
    PublishScoresOperator,
    ReconcileReviewsOperator,
    UpdateAssetOperator,
)
from review_scoring.airflow.params import job_param, shards_param
from review_scoring.job import OnDelete


def create_reconcile_dag(dag_file: str) -> DAG:
    """Create the DAG, for the jobs in the folder beside a DAG file and in the Variable."""
    folder = jobs_folder(dag_file)
    params = {
        "job": job_param(defined_jobs(folder), each_job=True),
        "dry_run": Param(
            False,
            type="boolean",
            title="Dry run",
            description="Count deleted and changed reviews. Erase and score nothing.",
        ),
        "on_delete": Param(
            None,
            type=["null", "string"],
            enum=[None, OnDelete.KEEP.value, OnDelete.ERASE.value],
            values_display={"keep": "Count them only", "erase": "Erase what is recorded of them"},
            title="Deleted reviews",
            description="Reviews that are no longer in the source; empty for the job's setting.",
        ),
        "max_deleted_share": Param(
            None,
            type=["null", "number"],
            minimum=0,
            maximum=1,
            title="Maximum share",
            description="Nothing is erased if a larger share of the recorded reviews is no longer in the source, from "
            "0 to 1; empty for the job's setting.",
        ),
        "shards": shards_param(),
    }
    with scoring_dag(
        "reconcile_reviews",
        description="Find scores of deleted reviews, and changed texts of rows without a time",
        schedule=cron(settings().reconcile_schedule, "UTC", key="setting 'reconcile_schedule'"),
        resolved={"job": CHOSEN_JOB, "jobs_folder": folder, "each_job": True},
        max_active_runs=1,
        reports=("reconcile", "summarise", "publish"),
        params=params,
        default_args=RETRIES,
        doc_md=__doc__,
    ) as (dag, run):
        reconcile = ReconcileReviewsOperator(
            task_id="reconcile",
            job=run.job_settings,
            on_delete="{{ params.on_delete }}",
            max_deleted_share="{{ params.max_deleted_share }}",
            estimate_only=DRY_RUN,
        )
        ApplyRetentionOperator(task_id="apply_retention", job=run.job_settings, estimate_only=DRY_RUN)
        summarise = add_shard_tasks(
            run,
            plan_with=PlanComparisonOperator,
            plan_task_id="plan_comparison",
            plan={},
            score={"yields": True},
        )
        update = UpdateAssetOperator(task_id="update_asset", report=summarise.output)
        summarise >> update
        if publishes(folder):
            publish = PublishScoresOperator(
                task_id="publish", job=run.job_settings, estimate_only=DRY_RUN, trigger_rule="none_failed"
            )
            [reconcile, summarise] >> publish >> update
    return dag
