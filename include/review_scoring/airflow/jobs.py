"""Scoring jobs that are defined in an Airflow Variable, for those who do not write DAG code."""

from __future__ import annotations

from collections.abc import Mapping

from airflow.sdk import Variable

from review_scoring.errors import ConfigurationError, NoSuchJobError
from review_scoring.job import ScoringJob

JOBS_VARIABLE = "review_scoring_jobs"
"""A JSON object: job name -> settings, the parameters of `ScoringJob`."""


def job_named(name: str) -> ScoringJob:
    """Return a job of the Variable.

    :raises ConfigurationError: if the Variable, or the job in it, is missing or wrong
    """
    jobs = defined_jobs()
    if not jobs:
        raise NoSuchJobError(
            f"there is no Airflow Variable {JOBS_VARIABLE!r} with a JSON object of scoring jobs, and job {name!r} is "
            'wanted; for example {"film_reviews": {"source_conn_id": "warehouse", "source_table": "reviews"}}'
        )
    if name not in jobs:
        known = ", ".join(sorted(jobs)) or "none"
        raise NoSuchJobError(f"there is no scoring job {name!r} in the Variable {JOBS_VARIABLE!r}; it has {known}")
    return ScoringJob.from_mapping(name, jobs[name])


def defined_jobs() -> Mapping[str, object]:
    """Return the jobs of the Variable, name -> settings, unchecked; none where there is no such object.

    :raises ConfigurationError: if the Variable is no JSON
    """
    try:
        jobs = Variable.get(JOBS_VARIABLE, default=None, deserialize_json=True)
    except ValueError as error:
        raise ConfigurationError(f"the Airflow Variable {JOBS_VARIABLE!r} is no valid JSON: {error}") from None
    return jobs if isinstance(jobs, dict) else {}
