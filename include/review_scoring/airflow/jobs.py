"""Scoring jobs in the Airflow Variable `review_scoring_jobs` (JSON), for users who do not write DAG code."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from review_scoring.airflow.variables import variable
from review_scoring.errors import ConfigurationError, NoSuchJobError
from review_scoring.job import ScoringJob

JOBS_VARIABLE = "review_scoring_jobs"
"""A JSON object: job name -> the parameters of `ScoringJob`."""

EXAMPLE = '{"film_reviews": {"source_conn_id": "warehouse", "source_table": "reviews"}}'


def as_job(job: ScoringJob | Mapping[str, Any] | str) -> ScoringJob:
    """Return a scoring job.

    :param job: the job, its settings as returned by :meth:`ScoringJob.as_settings`, or its name in the Variable
    :raises ConfigurationError: if there is no such job, or its settings are wrong
    """
    if isinstance(job, ScoringJob):
        return job
    if isinstance(job, Mapping):
        settings = dict(job)
        return ScoringJob.from_mapping(settings.pop("name"), settings)
    return job_named(job)


def job_named(name: str) -> ScoringJob:
    """Return a job of the Variable.

    :raises ConfigurationError: if the Variable, or the job in it, is missing or wrong
    """
    jobs = defined_jobs()
    if not jobs:
        raise NoSuchJobError(f"job {name!r} is not defined: {no_jobs()}")
    if name not in jobs:
        raise NoSuchJobError(
            f"there is no scoring job {name!r} in the Variable {JOBS_VARIABLE!r}; it has {', '.join(sorted(jobs))}"
        )
    return ScoringJob.from_mapping(name, jobs[name])


def no_jobs() -> str:
    """Return the error message for a missing job definition, with an example."""
    return (
        f"there is no Airflow Variable {JOBS_VARIABLE!r} with a scoring job in it; set it to a JSON object of jobs, "
        f"for example {EXAMPLE}"
    )


def defined_jobs() -> Mapping[str, object]:
    """Return the jobs in the Variable, name -> settings, unchecked; an empty mapping if it is not set.

    The JSON is parsed here, because Airflow treats a Variable with invalid JSON as not set.

    :raises ConfigurationError: if the Variable is not a JSON object
    """
    text = variable(JOBS_VARIABLE)
    if text is None:
        return {}
    try:
        jobs = json.loads(text)
    except ValueError as error:
        raise ConfigurationError(
            f"the Airflow Variable {JOBS_VARIABLE!r} is not valid JSON: {error}; correct it under Admin > Variables"
        ) from None
    if not isinstance(jobs, dict):
        raise ConfigurationError(
            f"the Airflow Variable {JOBS_VARIABLE!r} is a JSON {_kind(jobs)}; it must be an object of scoring jobs, "
            f"for example {EXAMPLE}"
        )
    return jobs


def _kind(value: object) -> str:
    kinds: dict[type, str] = {list: "array", str: "string", bool: "boolean", type(None): "null"}
    return kinds.get(type(value), "number")
