"""The DAG `forget_reviews`: erases scores, rejects and benchmark texts of given reviews, at once. Triggered by hand.

Airflow's metadata database keeps the ids, in the conf of this run and the fields of its task. The command
`review-scoring forget --file` leaves none there.
"""

from __future__ import annotations

from airflow.sdk import DAG, Param

from review_scoring.airflow.dags.base import CHOSEN_JOB, DRY_RUN, publishes, scoring_dag
from review_scoring.airflow.jobs import defined_jobs, jobs_folder
from review_scoring.airflow.operators import ForgetReviewsOperator, PublishScoresOperator
from review_scoring.airflow.params import job_param


def create_forget_dag(dag_file: str) -> DAG:
    """Create the DAG, for the jobs in the folder beside a DAG file and in the Variable."""
    folder = jobs_folder(dag_file)
    params = {
        "job": job_param(defined_jobs(folder), each_job=False),
        "ids": Param(
            type="array",
            minItems=1,
            title="Ids",
            description="Ids of the reviews, one per line.",
        ),
        "dry_run": Param(
            False,
            type="boolean",
            title="Dry run",
            description="Count what would be erased, and erase nothing.",
        ),
        "even_if_in_source": Param(
            False,
            type="boolean",
            title="Even if in the source",
            description="Erase reviews that the source still has, and that are scored again.",
        ),
    }
    with scoring_dag(
        "forget_reviews",
        description="Erase what is recorded of given reviews",
        schedule=None,
        resolved={"job": CHOSEN_JOB, "jobs_folder": folder},
        reports=("forget", "publish"),
        params=params,
        doc_md=__doc__,
    ) as (dag, run):
        forget = ForgetReviewsOperator(
            task_id="forget",
            job=run.job_settings,
            ids="{{ params.ids | join('\n') }}",
            even_if_in_source="{{ params.even_if_in_source }}",
            estimate_only=DRY_RUN,
        )
        if publishes(folder):
            forget >> PublishScoresOperator(task_id="publish", job=run.job_settings, estimate_only=DRY_RUN)
    return dag
