"""Evaluates models on labelled reviews, every week and after each import, and fails if one got worse."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any, cast

from airflow.sdk import AssetOrTimeSchedule, CronTriggerTimetable, Param, get_current_context, task
from airflow.sdk.exceptions import AirflowFailException

from review_scoring.airflow.config import settings
from review_scoring.airflow.dags import scoring_dag
from review_scoring.airflow.operators import MODEL_STORE, BenchmarkModelOperator, LoadBenchmarkOperator
from review_scoring.airflow.operators.evaluate_models import models_to_evaluate
from review_scoring.airflow.params import long_texts_param, offered_models
from review_scoring.airflow.run_variables import benchmark_set_of_deployment
from review_scoring.evaluation.benchmark_sets import benchmark_sets
from review_scoring.evaluation.gate import failures
from review_scoring.evaluation.result import results_from_xcom
from review_scoring.evaluation.text_tables import comparison
from review_scoring.models.catalogue_entry import CHAMPION

SETTINGS = settings()
MODELS = offered_models()
SETS = benchmark_sets(settings().benchmark_sets)

PARAMS = {
    "models": Param(
        [],
        type="array",
        items={"type": "string", "enum": [CHAMPION, *MODELS]},
        examples=[CHAMPION, *MODELS],
        values_display={CHAMPION: "Champion", **{name: entry.shown for name, entry in MODELS.items()}},
        title="Models",
        description="Models to compare; empty for the champion and the models whose import triggered the run.",
    ),
    "benchmark_set": Param(
        benchmark_set_of_deployment(),
        type="string",
        enum=list(SETS),
        values_display={name: entry.shown for name, entry in SETS.items()},
        title="Benchmark set",
        description="Labelled reviews to evaluate on.",
    ),
    "limit": Param(
        None,
        type=["null", "integer"],
        minimum=1,
        title="Limit",
        description="Number of reviews to evaluate on at most; empty for all. A limited evaluation approves no model.",
    ),
    "long_texts": long_texts_param(),
}

with scoring_dag(
    "benchmark_models",
    description="Evaluate models on labelled reviews, compare them, and fail if one got worse",
    schedule=AssetOrTimeSchedule(
        timetable=CronTriggerTimetable(SETTINGS.benchmark_schedule, timezone="UTC"), assets=[MODEL_STORE]
    ),
    max_active_runs=1,
    params=PARAMS,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=1)},
    doc_md=__doc__,
) as (dag, run):
    load = LoadBenchmarkOperator(task_id="load_benchmark", job=run.job, benchmark_set="{{ params.benchmark_set }}")

    @task
    def choose_models(params: dict[str, Any] | None = None) -> list[str]:
        """Return the models to evaluate."""
        return models_to_evaluate((params or {})["models"], get_current_context())

    chosen = choose_models()
    evaluate = BenchmarkModelOperator.partial(
        task_id="evaluate_model",
        job=run.job,
        loaded=load.output,
        limit="{{ params.limit }}",
        long_texts="{{ params.long_texts }}",
        pool=SETTINGS.pool,
        queue=SETTINGS.queue,
        map_index_template="{{ task.model }}",
    ).expand(model=chosen)

    @task(trigger_rule="all_done_min_one_success")
    def compare(evaluations: Any) -> None:
        """Log a table that compares the models."""
        logging.getLogger("review_scoring").info("%s", comparison(results_from_xcom(evaluations[:])))

    @task(trigger_rule="all_done_min_one_success", retries=0)
    def gate(evaluations: Any, models: list[str]) -> None:
        """Fail the run if a model is below its published figures, worse than before or worse than chance."""
        if found := failures(results_from_xcom(evaluations[:]), len(models)):
            raise AirflowFailException("\n".join(found))

    compare(evaluate.output) >> gate(evaluate.output, cast("list[str]", chosen))
