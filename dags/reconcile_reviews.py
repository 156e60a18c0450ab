"""Finds scores of deleted reviews, and changed texts of rows without a time, every week. Erases if the job says so.

It also removes records of runs and predictions that are older than the settings say.

resolve run -> reconcile
            -> apply retention
            -> preflight -> plan comparison -> score each shard -> summarise
"""

from __future__ import annotations

from datetime import timedelta
from typing import cast

from airflow.sdk import Param

from review_scoring.airflow.config import settings
from review_scoring.airflow.dags import scoring_dag
from review_scoring.airflow.operators import (
    ApplyRetentionOperator,
    PlanComparisonOperator,
    PreflightScoringOperator,
    ReconcileReviewsOperator,
    ScoreReviewsOperator,
    SummariseRunOperator,
)
from review_scoring.airflow.params import shards_param
from review_scoring.job import OnDelete

SETTINGS = settings()

PARAMS = {
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
        description="Nothing is erased if a larger share of the recorded reviews is no longer in the source, from 0 to "
        "1; empty for the job's setting.",
    ),
    "shards": shards_param(),
}

with scoring_dag(
    "reconcile_reviews",
    description="Find scores of deleted reviews, and changed texts of rows without a time",
    schedule=SETTINGS.reconcile_schedule,
    max_active_runs=1,
    params=PARAMS,
    default_args={"retries": 3, "retry_delay": timedelta(minutes=1), "retry_exponential_backoff": True},
    doc_md=__doc__,
) as (dag, run):
    ReconcileReviewsOperator(
        task_id="reconcile",
        job=run.job,
        on_delete="{{ params.on_delete }}",
        max_deleted_share="{{ params.max_deleted_share }}",
        estimate_only="{{ params.dry_run }}",
    )
    preflight = PreflightScoringOperator(
        task_id="preflight",
        job=run.job,
        estimate_only="{{ params.dry_run }}",
        require_benchmark=run.require_benchmark,
    )
    plan = PlanComparisonOperator(
        task_id="plan_comparison",
        job=run.job,
        model=cast("str", preflight.output),
        estimate_only="{{ params.dry_run }}",
        shards="{{ params.shards }}",
        most=run.most_shards,
    )
    score = ScoreReviewsOperator.partial(
        task_id="score",
        job=run.job,
        model=cast("str", preflight.output),
        require_benchmark=run.require_benchmark,
        estimate_only="{{ params.dry_run }}",
        yields=True,
        pool=SETTINGS.pool,
        queue=SETTINGS.queue,
        map_index_template="{{ task.shard['name'] }}",
    ).expand(shard=plan.output)
    summarise = SummariseRunOperator(task_id="summarise", job=run.job, shards=plan.output, results=score.output)

    ApplyRetentionOperator(task_id="apply_retention", job=run.job, estimate_only="{{ params.dry_run }}")

    preflight >> plan >> score >> summarise
