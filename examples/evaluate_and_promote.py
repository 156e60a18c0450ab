"""Evaluate a model, and make it the champion of a job if it passes. Triggered by hand, with the model's name."""

from __future__ import annotations

from datetime import datetime

from airflow.sdk import DAG, Param

from review_scoring.airflow.operators import BenchmarkModelOperator, LoadBenchmarkOperator, PromoteModelOperator

JOB = "film_reviews"  # in the Variable review_scoring_jobs
SET = "sample"
MODEL = "{{ params.model }}"

with DAG(
    "evaluate_and_promote",
    schedule=None,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    params={"model": Param("french-reviews-small", type="string", title="Model")},
):
    load = LoadBenchmarkOperator(task_id="load_set", job=JOB, benchmark_set=SET)
    evaluate = BenchmarkModelOperator(task_id="evaluate", job=JOB, loaded=load.output, model=MODEL)
    # It refuses a model whose newest evaluation on the set has not passed.
    promote = PromoteModelOperator(
        task_id="promote", job=JOB, model=MODEL, require_benchmark=SET, reason=f"passed its evaluation on {SET}"
    )
    evaluate >> promote
