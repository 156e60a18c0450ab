"""The DAG `benchmark_models`: evaluates models on labelled reviews, and fails if one got worse.

It runs every week and after each import. A run that names no job starts one run for each job; jobs with the same
scoring tables, benchmark set and champion share one.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any, cast

from airflow.sdk import DAG, Param, get_current_context, task

from review_scoring.airflow.assets import MODEL_STORE
from review_scoring.airflow.compat import AirflowFailException, AssetOrTimeSchedule
from review_scoring.airflow.config import settings
from review_scoring.airflow.dags.base import CHOSEN_JOB, cron, scoring_dag
from review_scoring.airflow.jobs import defined_jobs, jobs_folder
from review_scoring.airflow.operators import BenchmarkModelOperator, LoadBenchmarkOperator
from review_scoring.airflow.operators.evaluate_models import ResolveEvaluationOperator, models_to_evaluate
from review_scoring.airflow.params import job_param, long_texts_param, offered_models
from review_scoring.evaluation.benchmark_sets import benchmark_sets
from review_scoring.evaluation.gate import failures, paragraph_of
from review_scoring.evaluation.result import results_from_xcom
from review_scoring.evaluation.text_tables import comparison
from review_scoring.job import CHAMPION


def create_benchmark_dag(dag_file: str) -> DAG:
    """Create the DAG, for the jobs in the folder beside a DAG file and in the Variable."""
    deployment, folder = settings(), jobs_folder(dag_file)
    timetable = cron(deployment.benchmark_schedule, "UTC", key="setting 'benchmark_schedule'")
    with scoring_dag(
        "benchmark_models",
        description="Evaluate models on labelled reviews, compare them, and fail if one got worse",
        schedule=AssetOrTimeSchedule(timetable=timetable, assets=[MODEL_STORE]) if timetable else [MODEL_STORE],
        resolve=ResolveEvaluationOperator,
        resolved={"job": CHOSEN_JOB, "jobs_folder": folder, "each_job": True},
        max_active_runs=1,
        reports=("gate",),
        params=_params(defined_jobs(folder)),
        default_args={"retries": 2, "retry_delay": timedelta(minutes=1)},
        doc_md=__doc__,
    ) as (dag, run):
        load = LoadBenchmarkOperator(
            task_id="load_benchmark", job=run.job_settings, benchmark_set="{{ params.benchmark_set }}"
        )

        @task
        def choose_models(params: dict[str, Any] | None = None) -> list[str]:
            """Return the models to evaluate."""
            return models_to_evaluate((params or {})["models"], get_current_context())

        chosen = choose_models()
        evaluate = BenchmarkModelOperator.partial(
            task_id="evaluate_model",
            job=run.job_settings,
            loaded=load.output,
            limit="{{ params.limit }}",
            long_texts="{{ params.long_texts }}",
            pool=deployment.pool,
            queue=deployment.queue,
            map_index_template="{{ task.model }}",
        ).expand(model=chosen)

        @task(trigger_rule="all_done_min_one_success")
        def compare(evaluations: Any) -> None:
            """Log a table that compares the models."""
            logging.getLogger("review_scoring").info("%s", comparison(results_from_xcom(evaluations[:])))

        @task(trigger_rule="all_done_min_one_success", retries=0)
        def gate(evaluations: Any, models: list[str], ti: Any = None) -> None:
            """Fail the run if a model is below its published figures, worse than before or worse than chance."""
            results = results_from_xcom(evaluations[:])
            found = failures(results, len(models))
            ti.xcom_push(key="paragraph", value=paragraph_of(results, found))
            if found:
                raise AirflowFailException("\n".join(found))

        compare(evaluate.output) >> gate(evaluate.output, cast("list[str]", chosen))
    return dag


def _params(jobs: Any) -> dict[str, Param]:
    models, sets = offered_models(), benchmark_sets(settings().benchmark_sets)
    return {
        "job": job_param(jobs, each_job=True),
        "models": Param(
            [],
            type="array",
            items={"type": "string", "anyOf": [{"enum": [CHAMPION, *models]}, {"pattern": "@"}]},
            examples=[CHAMPION, *models],
            values_display={CHAMPION: "Champion", **{name: entry.shown for name, entry in models.items()}},
            title="Models",
            description="Models to compare; empty for the champion and the models whose import triggered the run.",
        ),
        "benchmark_set": Param(
            None,
            type=["null", "string"],
            enum=[None, *sets],
            values_display={name: entry.shown for name, entry in sets.items()},
            title="Benchmark set",
            description="Labelled reviews to evaluate on; empty for the job's set.",
        ),
        "limit": Param(
            None,
            type=["null", "integer"],
            minimum=1,
            title="Limit",
            description="Number of reviews to evaluate on at most; empty for all. A limited evaluation approves no "
            "model.",
        ),
        "long_texts": long_texts_param(),
    }
