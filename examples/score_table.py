"""Score the new reviews of a table every night: one task, with the job defined in the DAG file."""

from __future__ import annotations

from datetime import datetime

from airflow.sdk import DAG

from review_scoring import ScoringJob
from review_scoring.airflow.operators import ScoreReviewsOperator

FILMS = ScoringJob(
    name="film_reviews",
    source_conn_id="warehouse",
    source_table="reviews",
    text_column="body",
    updated_at_column="updated_at",
)

with DAG("score_films", schedule="0 2 * * *", start_date=datetime(2026, 1, 1), catchup=False, max_active_runs=1):
    ScoreReviewsOperator(task_id="score", job=FILMS, model="french-reviews-small", retries=3, queue="gpu")
