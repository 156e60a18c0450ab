"""The Airflow Variables that decide what a run does: job, shards, required benchmark, benchmark set.

They are Variables because all processes read the same ones. An environment variable belongs to one process, and each
worker parses the DAG file again: set for the DAG processor only, it would change the forms, but not the runs.
"""

from __future__ import annotations

from collections.abc import Mapping

from review_scoring.airflow.jobs import JOBS_VARIABLE, no_jobs
from review_scoring.airflow.variables import variable
from review_scoring.errors import ConfigurationError, NoSuchJobError
from review_scoring.evaluation.benchmark_sets import DEFAULT_SET

JOB = "review_scoring_job"
SHARDS = "review_scoring_shards"
REQUIRE_BENCHMARK = "review_scoring_require_benchmark"
BENCHMARK_SET = "review_scoring_benchmark_set"

RUN_VARIABLES = (JOB, SHARDS, REQUIRE_BENCHMARK, BENCHMARK_SET)
DEFAULT_SHARDS = "4"


def job_of_deployment(jobs: Mapping[str, object]) -> str:
    """Return the name of the job that the DAGs score: the one in the Variable, or the only one that is defined.

    :param jobs: the result of :func:`review_scoring.airflow.jobs.defined_jobs`
    :raises NoSuchJobError: if no job is defined, or several are and the Variable is not set
    """
    if (chosen := variable(JOB)) is not None:
        return chosen
    if not jobs:
        raise NoSuchJobError(no_jobs())
    if len(jobs) > 1:
        raise NoSuchJobError(
            f"the Variable {JOBS_VARIABLE!r} has {len(jobs)} scoring jobs ({', '.join(jobs)}), and none is selected: "
            f"set the Variable {JOB!r} to the name of the job that the DAGs score"
        )
    return next(iter(jobs))


def most_shards() -> int:
    """Return the maximum number of shards of a run.

    :raises ConfigurationError: if the Variable is not a positive whole number
    """
    text = variable(SHARDS) or DEFAULT_SHARDS
    if not text.strip().isdecimal() or int(text) < 1:
        raise ConfigurationError(f"the Variable {SHARDS!r} is {text!r}; it must be a whole number of at least 1")
    return int(text)


def required_benchmark() -> str:
    """Return the benchmark that a model must pass before it scores, as a value for `require_benchmark`."""
    return variable(REQUIRE_BENCHMARK) or "none"


def benchmark_set_of_deployment() -> str:
    """Return the default benchmark set."""
    return variable(BENCHMARK_SET) or DEFAULT_SET
