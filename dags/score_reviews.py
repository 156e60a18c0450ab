"""Scores the new reviews of a job, on a schedule (nightly by default).

resolve run -> preflight -> plan shards -> score each shard -> summarise -> check the run
"""

from __future__ import annotations

from datetime import timedelta
from typing import cast

from airflow.sdk import Param

from review_scoring.airflow.config import settings
from review_scoring.airflow.dags import scoring_dag
from review_scoring.airflow.operators import (
    CheckRunOperator,
    PlanShardsOperator,
    PreflightScoringOperator,
    ScoreReviewsOperator,
    SummariseRunOperator,
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

SETTINGS = settings()

PARAMS = {
    "dry_run": dry_run_param(),
    "model": model_param(offered_models()),
    **budget_params(of_job=True),
    "long_texts": long_texts_param(),
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
}

with scoring_dag(
    "score_reviews",
    description="New reviews in, labels and scores out, exactly once",
    schedule=SETTINGS.schedule,
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
        max_reviews="{{ params.max_reviews }}",
        max_minutes="{{ params.max_minutes }}",
        order="{{ params.order }}",
        start_after="{{ params.start_after }}",
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
        chunk_rows="{{ params.chunk_rows }}",
        long_texts="{{ params.long_texts }}",
        pool=SETTINGS.pool,
        queue=SETTINGS.queue,
        priority_weight=10,  # a pool slot that a rescore releases goes to this run first
        map_index_template="{{ task.shard['name'] }}",
    ).expand(shard=plan.output)
    summarise = SummariseRunOperator(task_id="summarise", job=run.job, shards=plan.output, results=score.output)
    check = CheckRunOperator(task_id="check_run", job=run.job, report=summarise.output)

    preflight >> plan >> score >> summarise >> check
