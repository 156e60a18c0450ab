"""The tasks that score in shards, which several DAGs share: preflight, plan, score each shard, summarise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from review_scoring.airflow.config import settings
from review_scoring.airflow.dags.base import DRY_RUN
from review_scoring.airflow.operators import (
    PlanShardsOperator,
    PreflightScoringOperator,
    ResolveRunOperator,
    ScoreReviewsOperator,
    SummariseRunOperator,
)


def add_shard_tasks(
    run: ResolveRunOperator,
    *,
    plan_with: type[PlanShardsOperator] = PlanShardsOperator,
    plan_task_id: str = "plan_shards",
    model: str | None = None,
    pool: str | None = None,
    queue: str | None = None,
    plan: Mapping[str, Any],
    score: Mapping[str, Any],
) -> SummariseRunOperator:
    """Add the tasks to the current DAG, and return the last one.

    :param run: the first task of the DAG
    :param plan_with: the operator that plans the shards
    :param model: the model of the run, a template; None for that of the job
    :param pool: of the tasks that classify, like `queue`; None for that of the settings
    :param plan: further arguments of the operator that plans
    :param score: further arguments of the operator that scores
    """
    deployment = settings()
    preflight = PreflightScoringOperator(
        task_id="preflight",
        job=run.job_settings,
        model=model,
        estimate_only=DRY_RUN,
        require_benchmark=run.require_benchmark,
    )
    chosen = cast("str", preflight.output)
    shards = plan_with(
        task_id=plan_task_id,
        job=run.job_settings,
        model=chosen,
        estimate_only=DRY_RUN,
        shards="{{ params.shards }}",
        most=run.most_shards,
        **plan,
    )
    scored = ScoreReviewsOperator.partial(
        task_id="score",
        job=run.job_settings,
        model=chosen,
        require_benchmark=run.require_benchmark,
        estimate_only=DRY_RUN,
        pool=pool or deployment.pool,
        queue=queue or deployment.queue,
        map_index_template="{{ task.shard['name'] }}",
        **score,
    ).expand(shard=shards.output)
    summarise = SummariseRunOperator(
        task_id="summarise", job=run.job_settings, shards=shards.output, results=scored.output
    )
    preflight >> shards >> scored >> summarise
    return summarise
