"""The DAG `publish_scores`: publishes the scores of a job to its tables in other databases. Triggered by hand.

The DAG of a job publishes after each run. This one publishes in between: everything, if a table is to be made anew, or
what has changed, if the publication of a run has failed.
"""

from __future__ import annotations

from airflow.sdk import DAG, Param

from review_scoring.airflow.dags.base import CHOSEN_JOB, DRY_RUN, RETRIES, scoring_dag
from review_scoring.airflow.jobs import defined_jobs, jobs_folder
from review_scoring.airflow.operators import PublishScoresOperator
from review_scoring.airflow.params import job_param


def create_publish_dag(dag_file: str) -> DAG:
    """Create the DAG, for the jobs in the folder beside a DAG file and in the Variable."""
    folder = jobs_folder(dag_file)
    params = {
        "job": job_param(defined_jobs(folder), each_job=False),
        "dry_run": Param(
            False,
            type="boolean",
            title="Dry run",
            description="Count what would be published. Write nothing.",
        ),
        "resync": Param(
            False,
            type="boolean",
            title="Publish everything",
            description="Publish all scores, also of runs whose checks failed, and remove all other rows of the job. "
            "Otherwise what has changed since the last publication.",
        ),
    }
    with scoring_dag(
        "publish_scores",
        description="Publish the scores of a job to its tables in other databases",
        schedule=None,
        resolved={"job": CHOSEN_JOB, "jobs_folder": folder},
        reports=("publish",),
        params=params,
        default_args=RETRIES,
        doc_md=__doc__,
    ) as (dag, run):
        PublishScoresOperator(
            task_id="publish",
            job=run.job_settings,
            score_task_id=None,
            resync="{{ params.resync }}",
            estimate_only=DRY_RUN,
        )
    return dag
