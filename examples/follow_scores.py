"""Runs after each run of the job `film_reviews` that has written scores, by the events of its asset."""

from __future__ import annotations

import logging
from datetime import datetime
from typing import Any

from airflow.sdk import DAG, Asset, task

log = logging.getLogger(__name__)

SCORES = Asset("review_scores/film_reviews")

with DAG("follow_scores", schedule=SCORES, start_date=datetime(2026, 1, 1)):

    @task
    def refresh(triggering_asset_events: Any = None) -> None:
        """Log what each run has written. A real DAG would refresh a mart or a dashboard."""
        for event in triggering_asset_events[SCORES]:
            log.info("%s: %d scored with %s", event.extra["job"], event.extra["scored"], event.extra["model"])

    refresh()
