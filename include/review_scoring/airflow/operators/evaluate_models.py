"""Operators that load a benchmark set and evaluate models on it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from review_scoring.airflow.assets import MODEL_STORE
from review_scoring.airflow.config import settings
from review_scoring.airflow.connections.engines import engine_of, target_engine_of
from review_scoring.airflow.evaluation import store_of
from review_scoring.airflow.jobs import DefinedJobs, as_job
from review_scoring.airflow.operators.base import fail_without_retry, run_key
from review_scoring.airflow.operators.rendered import NOTHING, as_int
from review_scoring.airflow.operators.resolve_run import ResolveRunOperator
from review_scoring.airflow.run_variables import benchmark_set_of_deployment
from review_scoring.concurrency.cancellation import StopFlag
from review_scoring.errors import ConfigurationError, ModelNotImportedError
from review_scoring.evaluation.benchmark_sets import find_set
from review_scoring.evaluation.champion import model_of_job
from review_scoring.evaluation.evaluate import EvaluationRequest, evaluate_model
from review_scoring.evaluation.load_set import load_set
from review_scoring.evaluation.result import SkippedModel
from review_scoring.job import CHAMPION, ScoringJob, target_conn_id
from review_scoring.models.catalogue import readable_entries
from review_scoring.settings import as_bool
from review_scoring.warehouse.scoring_tables import prepare_tables

if TYPE_CHECKING:
    from airflow.sdk import Context

log = logging.getLogger(__name__)


class LoadBenchmarkOperator(BaseOperator):
    """Load a benchmark set into the warehouse of a job, unless it has the same content already.

    :param job: a :class:`ScoringJob`, its settings, or its name (templated)
    :param benchmark_set: name of a benchmark set; None for that of the job or the Variable (templated)
    :param migrate: False if a DBA creates the tables: they are only checked
    """

    template_fields: Sequence[str] = ("job", "benchmark_set")
    ui_color = "#fef7e0"

    def __init__(
        self,
        *,
        job: ScoringJob | Mapping[str, Any] | str,
        benchmark_set: str | None = None,
        migrate: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.job = job
        self.benchmark_set = benchmark_set
        self.migrate = migrate

    def execute(self, context: Context) -> dict[str, Any]:
        """Load the set, and return its id, name, content hash and number of reviews, and whether it has changed."""
        del context
        with fail_without_retry():
            job = as_job(self.job)
            name = (
                set_of_job(job) if self.benchmark_set is None or self.benchmark_set in NOTHING else self.benchmark_set
            )
            store = store_of(job)
            prepare_tables(store.engine, job, store.stop, migrate_tables=as_bool(self.migrate, "migrate"))
            stored = load_set(find_set(name, settings().benchmark_sets), store, engine_of)
        return {
            "id": stored.id,
            "name": stored.name,
            "content_hash": stored.content_hash,
            "reviews": stored.reviews,
            "changed": stored.changed,
        }


class BenchmarkModelOperator(BaseOperator):
    """Evaluate a model on a loaded benchmark set, and record metrics, verdicts and predictions in the warehouse.

    The classifier and its settings are those of :class:`ScoreReviewsOperator`. A model of the catalogue that has not
    been imported is reported and skipped.

    :param job: a :class:`ScoringJob`, its settings, or its name (templated).
        Evaluations are recorded in its warehouse, and its champion is meant by `champion`
    :param loaded: the return value of :class:`LoadBenchmarkOperator` (templated)
    :param model: name or alias of a model, `name@revision` or `champion` (templated); in DAG code also a folder
    :param limit: number of reviews to evaluate on at most, the same ones each time; None for all (templated)
    :param device: `auto`, `cuda`, `mps`, `cpu` or a torch device such as `cuda:1` (templated)
    :param precision: `auto`, `float32`, `bfloat16` or `float16` (templated)
    :param long_texts: `truncate` or `windows`, as in the scoring runs; None for the job's setting (templated)
    :param fused: False to use transformers' own modules
    """

    template_fields: Sequence[str] = ("job", "loaded", "model", "limit", "device", "precision", "long_texts")
    ui_color = "#fef7e0"

    def __init__(
        self,
        *,
        job: ScoringJob | Mapping[str, Any] | str,
        loaded: Mapping[str, Any] | Any,
        model: str | Path = CHAMPION,
        limit: int | str | None = None,
        device: str = "auto",
        precision: str = "auto",
        long_texts: str | None = None,
        fused: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.job = job
        self.loaded = loaded
        self.model = model
        self.limit = limit
        self.device = device
        self.precision = precision
        self.long_texts = long_texts
        self.fused = fused
        self._stop = StopFlag()

    def on_kill(self) -> None:
        """Stop the evaluation after the current batch. Airflow calls this as a signal handler."""
        self._stop.set()

    def execute(self, context: Context) -> dict[str, Any]:
        """Evaluate the model, and return its result for the comparison and the gate."""
        with fail_without_retry():
            job = as_job(self.job)
            store, configured = store_of(job, self._stop), settings().models
            limit = None if self.limit in {None, "", "None"} else as_int(self.limit, "limit")
            if limit is not None and limit < 1:
                raise ConfigurationError(f"limit is {limit}; it must be at least 1, or None for all")
            try:
                model = model_of_job(self.model, job, lambda: store.engine, configured)
            except ModelNotImportedError as error:
                log.warning("%s", error)
                return SkippedModel(str(self.model), str(error)).as_xcom()

            long_texts = job.long_texts.value if self.long_texts in NOTHING else self.long_texts
            loaded_with: dict[str, Any] = {"long_texts": long_texts, "fused": self.fused}

            def load() -> Any:
                from review_scoring.inference.classifier import Classifier

                return Classifier.load(model, device=self.device, precision=self.precision, **loaded_with)

            def peak(device: Any) -> int:
                from review_scoring.inference.memory import peak_memory

                return peak_memory(device)

            request = EvaluationRequest(
                set_id=int(self.loaded["id"]),
                model=model,
                entry=readable_entries(configured.catalogue).usable.get(model.name),
                key=run_key(context),
                limit=limit,
                settings=loaded_with,
            )
            found = evaluate_model(store, request, load_classifier=load, peak_memory=peak, stop=self._stop)
            return found.as_xcom()


class ResolveEvaluationOperator(ResolveRunOperator):
    """As :class:`ResolveRunOperator`, but jobs for which the same would be evaluated share one run."""

    def runs_of(self, jobs: DefinedJobs, context: Context) -> list[dict[str, Any]]:
        """Return the conf of a run for each combination of scoring tables, benchmark set and model."""
        params = dict(context["params"])
        params["models"] = models_to_evaluate(params.get("models"), context)
        runs: dict[object, dict[str, Any]] = {}
        for name in jobs:
            runs.setdefault(_evaluated(name, jobs, params), {**params, "job": name})
        return list(runs.values())


def _evaluated(name: str, jobs: DefinedJobs, params: Mapping[str, Any]) -> object:
    """Return what a run for a job evaluates, to find jobs that share it; its name if this cannot be determined."""
    try:
        job = jobs.definition(name).job
        model = model_of_job(CHAMPION, job, lambda: target_engine_of(job), settings().models)
    except Exception as error:  # noqa: BLE001 its own run fails with it
        log.warning("job %s gets a run of its own (%s)", name, type(error).__name__)
        return name
    chosen = params.get("benchmark_set") or set_of_job(job)
    return target_conn_id(job), job.target_schema, chosen, job.long_texts, model.name, model.revision


def set_of_job(job: ScoringJob) -> str:
    """Return the name of the benchmark set of a job."""
    return job.benchmark_set or benchmark_set_of_deployment()


def models_to_evaluate(chosen: Sequence[str] | None, context: Context) -> list[str]:
    """Return the models to evaluate: the chosen ones, otherwise the champion and what was just imported."""
    if chosen:
        return list(dict.fromkeys(chosen))
    events = (context.get("triggering_asset_events") or {}).get(MODEL_STORE) or ()
    imported = [f"{event.extra['name']}@{event.extra['revision']}" for event in events if "revision" in event.extra]
    return list(dict.fromkeys([CHAMPION, *imported]))
