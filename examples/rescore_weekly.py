"""Score again, every Saturday, what another model or revision has scored. Nightly runs of the job go first."""

from __future__ import annotations

from datetime import datetime

from airflow.sdk import DAG

from review_scoring import Rescore
from review_scoring.airflow.operators import PlanShardsOperator, ScoreReviewsOperator, SummariseRunOperator

JOB = "film_reviews"  # in the Variable review_scoring_jobs

with DAG(
    "rescore_films",
    schedule="0 8 * * 6",
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 3},
):
    plan = PlanShardsOperator(task_id="plan_shards", job=JOB, rescore=Rescore.REVISION, most=8, yields=True)
    score = ScoreReviewsOperator.partial(task_id="score", job=JOB, yields=True).expand(shard=plan.output)
    SummariseRunOperator(task_id="summarise", job=JOB, shards=plan.output, results=score.output)
