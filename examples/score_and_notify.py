"""Score new reviews, and send what the run did by mail, or which task failed."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from airflow.providers.smtp.notifications.smtp import send_smtp_notification
from airflow.sdk import DAG, task

from review_scoring.airflow.operators import ScoreReviewsOperator

MAIL: dict[str, Any] = {
    "from_email": "airflow@example.org",
    "to": "reviews@example.org",
    "smtp_conn_id": "smtp_default",
}

with DAG(
    "score_and_notify",
    schedule="0 2 * * *",
    start_date=datetime(2026, 1, 1),
    catchup=False,
    default_args={
        "on_failure_callback": send_smtp_notification(
            **MAIL,
            subject="Scoring failed",
            html_content="{{ ti.task_id }} of {{ dag.dag_id }} failed. What was committed stays. Log: {{ ti.log_url }}",
        )
    },
):
    score = ScoreReviewsOperator(task_id="score", job="film_reviews")

    @task(
        on_success_callback=send_smtp_notification(
            **MAIL, subject="Reviews scored", html_content="{{ ti.xcom_pull(task_ids='notify') }}"
        )
    )
    def notify(report: Any) -> str:
        """Return the text of the mail."""
        return str(report["paragraph"])

    notify(score.output)
