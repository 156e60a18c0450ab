"""The DAG `rescore_reviews`: scores reviews of a job again (rescore), and yields to its nightly run.

resolve run -> preflight -> plan shards -> score each shard -> summarise -> publish -> update asset
"""

from __future__ import annotations

from airflow.sdk import DAG, Param

from review_scoring.airflow.dags.base import CHOSEN_JOB, DRY_RUN, RETRIES, publishes, scoring_dag
from review_scoring.airflow.dags.shard_tasks import add_shard_tasks
from review_scoring.airflow.jobs import defined_jobs, jobs_folder
from review_scoring.airflow.operators import PublishScoresOperator, UpdateAssetOperator
from review_scoring.airflow.params import (
    NARROW,
    budget_params,
    dry_run_param,
    job_param,
    long_texts_param,
    model_param,
    offered_models,
    shards_param,
)
from review_scoring.job import Rescore
from review_scoring.reviews import STORED_REASONS

FILTER = {
    "reject_reason": Param(
        None,
        type=["null", "string"],
        enum=[None, *STORED_REASONS],
        title="Reject reason",
        section=NARROW,
        description="With rejected reviews: only those with this reason.",
    ),
    "above": Param(
        None,
        type=["null", "string"],
        title="Above id",
        section=NARROW,
        description="Only reviews with ids above this one.",
    ),
    "upto": Param(
        None,
        type=["null", "string"],
        title="Up to id",
        section=NARROW,
        description="Only reviews with ids up to this one.",
    ),
    "scored_since": Param(
        None,
        type=["null", "string"],
        format="date-time",
        title="Scored since",
        section=NARROW,
        description="Only reviews that were scored, or first rejected, at or after this time.",
    ),
    "scored_until": Param(
        None,
        type=["null", "string"],
        format="date-time",
        title="Scored before",
        section=NARROW,
        description="Only reviews that were scored, or first rejected, before this time.",
    ),
}


def create_rescore_dag(dag_file: str) -> DAG:
    """Create the DAG, for the jobs in the folder beside a DAG file and in the Variable."""
    folder = jobs_folder(dag_file)
    params = {
        "job": job_param(defined_jobs(folder), each_job=False),
        "dry_run": dry_run_param(),
        "rescore": Param(
            Rescore.CHANGED.value,
            type="string",
            enum=[Rescore.CHANGED.value, Rescore.REVISION.value, Rescore.REJECTS.value, Rescore.ALL.value],
            values_display={
                "changed": "Changed texts",
                "revision": "Reviews scored by another model or revision",
                "rejects": "Rejected reviews",
                "all": "All reviews",
            },
            title="Rescore",
            description='Which reviews to score again, among those that match "Filter".',
        ),
        "model": model_param(offered_models()),
        **budget_params(),
        "long_texts": long_texts_param(),
        **FILTER,
        "shards": shards_param(),
    }
    with scoring_dag(
        "rescore_reviews",
        description="Score reviews again; yields to the nightly run",
        schedule=None,
        resolved={"job": CHOSEN_JOB, "jobs_folder": folder},
        reports=("summarise", "publish"),
        params=params,
        default_args=RETRIES,
        doc_md=__doc__,
    ) as (dag, run):
        summarise = add_shard_tasks(
            run,
            model="{{ params.model }}",
            plan={
                "rescore": "{{ params.rescore }}",
                "max_reviews": "{{ params.max_reviews }}",
                "max_minutes": "{{ params.max_minutes }}",
                **{name: f"{{{{ params.{name} }}}}" for name in FILTER},
                "yields": True,
            },
            score={"long_texts": "{{ params.long_texts }}", "yields": True},
        )
        update = UpdateAssetOperator(task_id="update_asset", report=summarise.output)
        summarise >> update
        if publishes(folder):
            summarise >> PublishScoresOperator(task_id="publish", job=run.job_settings, estimate_only=DRY_RUN) >> update
    return dag
