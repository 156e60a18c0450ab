"""Scores reviews again (rescore), and yields to the nightly run. Triggered by hand.

resolve run -> preflight -> plan shards -> score each shard -> summarise
"""

from __future__ import annotations

from datetime import timedelta
from typing import cast

from airflow.sdk import Param

from review_scoring.airflow.config import settings
from review_scoring.airflow.dags import scoring_dag
from review_scoring.airflow.operators import (
    PlanShardsOperator,
    PreflightScoringOperator,
    ScoreReviewsOperator,
    SummariseRunOperator,
)
from review_scoring.airflow.params import (
    NARROW,
    budget_params,
    dry_run_param,
    long_texts_param,
    model_param,
    offered_models,
    shards_param,
)
from review_scoring.job import Rescore
from review_scoring.reviews import STORED_REASONS

SETTINGS = settings()

PARAMS = {
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
    **budget_params(of_job=False),
    "long_texts": long_texts_param(),
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
    "shards": shards_param(),
}

with scoring_dag(
    "rescore_reviews",
    description="Score reviews again; yields to the nightly run",
    schedule=None,
    max_active_runs=1,
    params=PARAMS,
    default_args={"retries": 3, "retry_delay": timedelta(minutes=1), "retry_exponential_backoff": True},
    doc_md=__doc__,
) as (dag, run):
    preflight = PreflightScoringOperator(
        task_id="preflight",
        job=run.job,
        model="{{ params.model }}",
        estimate_only="{{ params.dry_run }}",
        require_benchmark=run.require_benchmark,
    )
    plan = PlanShardsOperator(
        task_id="plan_shards",
        job=run.job,
        model=cast("str", preflight.output),
        estimate_only="{{ params.dry_run }}",
        rescore="{{ params.rescore }}",
        max_reviews="{{ params.max_reviews }}",
        max_minutes="{{ params.max_minutes }}",
        reject_reason="{{ params.reject_reason }}",
        above="{{ params.above }}",
        upto="{{ params.upto }}",
        scored_since="{{ params.scored_since }}",
        scored_until="{{ params.scored_until }}",
        shards="{{ params.shards }}",
        most=run.most_shards,
        yields=True,
    )
    score = ScoreReviewsOperator.partial(
        task_id="score",
        job=run.job,
        model=cast("str", preflight.output),
        require_benchmark=run.require_benchmark,
        estimate_only="{{ params.dry_run }}",
        long_texts="{{ params.long_texts }}",
        yields=True,
        pool=SETTINGS.pool,
        queue=SETTINGS.queue,
        map_index_template="{{ task.shard['name'] }}",
    ).expand(shard=plan.output)
    summarise = SummariseRunOperator(task_id="summarise", job=run.job, shards=plan.output, results=score.output)

    preflight >> plan >> score >> summarise
