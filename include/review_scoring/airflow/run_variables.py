"""The Airflow Variables that hold for all jobs: shards, required benchmark, benchmark set. A job may have its own.

They are Variables because all processes read the same ones. An environment variable belongs to one process, and each
worker parses the DAG file again: set for the DAG processor only, it would change the forms, but not the runs.
"""

from __future__ import annotations

from review_scoring.airflow.variables import variable
from review_scoring.errors import ConfigurationError
from review_scoring.evaluation.benchmark_sets import DEFAULT_SET

SHARDS = "review_scoring_shards"
REQUIRE_BENCHMARK = "review_scoring_require_benchmark"
BENCHMARK_SET = "review_scoring_benchmark_set"

RUN_VARIABLES = (SHARDS, REQUIRE_BENCHMARK, BENCHMARK_SET)
DEFAULT_SHARDS = "4"


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
