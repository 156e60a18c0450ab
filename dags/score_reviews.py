"""Score the new reviews of a job, every night: preflight -> score -> summarise."""

from __future__ import annotations

import logging
import os
from datetime import datetime, timedelta
from typing import cast

from airflow.sdk import DAG, Param, conf, task

from review_scoring.airflow.models import catalogue_setting
from review_scoring.airflow.operators.score_reviews import PreflightScoringOperator, ScoreReviewsOperator
from review_scoring.errors import ModelError
from review_scoring.job import Rescore
from review_scoring.models.catalogue import DEFAULT_MODEL, catalogue

# Settings of the deployment, not of a run. A pool or queue that does not exist makes a run wait for ever, so both
# default to Airflow's own.
JOB = os.environ.get("REVIEW_SCORING_JOB", "film_reviews")
SCHEDULE = os.environ.get("REVIEW_SCORING_SCHEDULE", "0 2 * * *")
POOL = os.environ.get("REVIEW_SCORING_POOL", "default_pool")
QUEUE = os.environ.get("REVIEW_SCORING_QUEUE") or conf.get("operators", "default_queue")
try:
    MODELS = catalogue(catalogue_setting().catalogue)
except ModelError as error:  # told by import_model; a typo there must not stop the night of another model
    logging.getLogger("review_scoring").warning("%s", error)
    MODELS = catalogue()

PARAMS = {
    "model": Param(
        DEFAULT_MODEL,
        type="string",
        enum=list(MODELS),
        values_display={name: entry.shown for name, entry in MODELS.items()},
        title="Model",
        description="Classifies the reviews of this run.",
    ),
    "limit": Param(
        None,
        type=["null", "integer"],
        minimum=1,
        title="Limit",
        description="Score this many reviews at most; empty for all that wait.",
    ),
    "dry_run": Param(
        False,
        type="boolean",
        title="Dry run",
        description="Tell how many reviews and tokens wait and what they would take. Nothing is written.",
    ),
    "rescore": Param(
        Rescore.NOTHING.value,
        type="string",
        enum=[choice.value for choice in Rescore],
        values_display={
            "nothing": "Nothing: new reviews only",
            "changed": "Changed texts, and new reviews",
            "all": "All reviews, with the model above",
        },
        title="Score again",
        description="Which reviews that already have a score are scored again.",
    ),
    "chunk_rows": Param(
        1000,
        type="integer",
        minimum=1,
        maximum=20_000,
        title="Chunk size",
        description="Reviews that one transaction commits. A worker that dies loses the work on one chunk.",
    ),
}

with DAG(
    "score_reviews",
    description="New reviews in, labels and scores out, exactly once",
    schedule=SCHEDULE,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    params=PARAMS,
    default_args={"retries": 3, "retry_delay": timedelta(minutes=1), "retry_exponential_backoff": True},
    tags=["review_scoring"],
    doc_md=__doc__,
) as dag:
    preflight = PreflightScoringOperator(
        task_id="preflight",
        job=JOB,
        model="{{ params.model }}",
        estimate_only="{{ params.dry_run }}",
    )
    score = ScoreReviewsOperator(
        task_id="score",
        job=JOB,
        model="{{ params.model }}",
        limit="{{ params.limit }}",
        estimate_only="{{ params.dry_run }}",
        rescore="{{ params.rescore }}",
        chunk_rows="{{ params.chunk_rows }}",
        pool=POOL,
        queue=QUEUE,
    )

    @task
    def summarise(summary: dict[str, object]) -> str:
        """Say in one line what the run did."""
        from review_scoring.summary import sentence

        logging.getLogger("review_scoring").info("%s", line := sentence(summary))
        return line

    preflight >> score
    summarise(cast("dict[str, object]", score.output))
