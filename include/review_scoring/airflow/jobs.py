"""Scoring jobs that are defined in an Airflow Variable, for those who do not write DAG code."""

from __future__ import annotations

from airflow.sdk import Variable

from review_scoring.errors import ConfigurationError
from review_scoring.job import ScoringJob

JOBS_VARIABLE = "review_scoring_jobs"
"""A JSON object: job name -> settings, the parameters of `ScoringJob`."""


def job_named(name: str) -> ScoringJob:
    """Return a job of the Variable.

    :raises ConfigurationError: if the Variable, or the job in it, is missing or wrong
    """
    try:
        jobs = Variable.get(JOBS_VARIABLE, default=None, deserialize_json=True)
    except ValueError as error:
        raise ConfigurationError(f"the Airflow Variable {JOBS_VARIABLE!r} is no valid JSON: {error}") from None
    if not isinstance(jobs, dict):
        raise ConfigurationError(
            f"there is no Airflow Variable {JOBS_VARIABLE!r} with a JSON object of scoring jobs, and job {name!r} is "
            'wanted; for example {"film_reviews": {"source_conn_id": "warehouse", "source_table": "reviews"}}'
        )
    if name not in jobs:
        known = ", ".join(sorted(jobs)) or "none"
        raise ConfigurationError(f"there is no scoring job {name!r} in the Variable {JOBS_VARIABLE!r}; it has {known}")
    return ScoringJob.from_mapping(name, jobs[name])
