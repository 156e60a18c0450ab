"""The Airflow assets of this project: the scores of each job, and the model store."""

from __future__ import annotations

from airflow.sdk import Asset, AssetAlias

MODEL_STORE = Asset(name="review_scoring_models", uri="x-review-scoring://models")
"""Has an event for each imported model; the extra of an event has name and revision."""

ANY_SCORES = AssetAlias("review_scores")
"""Stands for the scores of the job that is chosen when a run starts."""


def scores_of(job: str) -> Asset:
    """Return the asset of a job's scores.

    It has an event for each nightly run that has written something and whose checks have passed, and for each rescore
    and comparison of texts that has written something. The extra of an event has the run, its counts and label counts,
    the model with its revision, and how many reviews wait.
    """
    return Asset(f"review_scores/{job}")
