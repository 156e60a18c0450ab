"""The Airflow Variables that decide what a run does: job, shards, required benchmark, benchmark set.

An environment variable is each process's own, and the worker parses the DAG file again: set for the DAG processor
alone, it would change what the forms show and not what a run does. Variables are the same for every process.
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
    """Return the name of the job that the DAGs are about: the one that the Variable names, or the only one there is.

    :param jobs: what :func:`review_scoring.airflow.jobs.defined_jobs` returns
    :raises NoSuchJobError: where none is defined, or nothing says which of several
    """
    if (chosen := variable(JOB)) is not None:
        return chosen
    if not jobs:
        raise NoSuchJobError(no_jobs())
    if len(jobs) > 1:
        raise NoSuchJobError(
            f"the Variable {JOBS_VARIABLE!r} has {len(jobs)} scoring jobs ({', '.join(jobs)}), and nothing says which "
            f"one the DAGs are about: set the Variable {JOB!r} to its name"
        )
    return next(iter(jobs))


def most_shards() -> int:
    """Return among how many tasks a large run is shared at most.

    :raises ConfigurationError: for what is not a positive whole number
    """
    text = variable(SHARDS) or DEFAULT_SHARDS
    if not text.strip().isdecimal() or int(text) < 1:
        raise ConfigurationError(f"the Variable {SHARDS!r} is {text!r}; it must be a whole number of at least 1")
    return int(text)


def required_benchmark() -> str:
    """Return what a model must have passed before it may score, as `require_benchmark` of the operators takes it."""
    return variable(REQUIRE_BENCHMARK) or "none"


def benchmark_set_of_deployment() -> str:
    """Return the benchmark set of runs that name none."""
    return variable(BENCHMARK_SET) or DEFAULT_SET
