"""Promote a model to champion of a job: check its evaluation, record who promoted it and why."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from review_scoring.concurrency.cancellation import StopFlag
from review_scoring.errors import ConfigurationError, NotApprovedError
from review_scoring.evaluation.champion import ANY_SET, newest_evaluations, require_benchmark
from review_scoring.job import ScoringJob
from review_scoring.models.catalogue import find_entry, find_model
from review_scoring.models.folder import ModelFolder
from review_scoring.models.settings import ModelSettings
from review_scoring.warehouse.evaluations.benchmark_store import BenchmarkStore
from review_scoring.warehouse.evaluations.past_evaluations import find_evaluation
from review_scoring.warehouse.evaluations.promotions import Promotion
from review_scoring.warehouse.evaluations.records import StoredEvaluation
from review_scoring.warehouse.ledger.ledger import open_ledger
from review_scoring.warehouse.scoring_tables import prepare_tables
from review_scoring.warehouse.source.opening import checked_source

if TYPE_CHECKING:
    from sqlalchemy import Engine


@dataclass(frozen=True, kw_only=True)
class PromotionRequest:
    """Which model to promote, on which evaluation, by whom and why.

    :param model: name or alias of a model of the catalogue, or `name@revision`
    :param evaluation: id of the evaluation that the promotion rests on, whose revision is promoted; None for the newest
        revision, and its newest evaluation
    :param required: the benchmark set that the model must have passed on, or `any`: each that it was evaluated on
    :param without_passing: promote the model even if it has no passing evaluation
    :param dag_run_id: the Airflow run of `dag_id` that `promoted_by` triggered
    """

    model: str
    evaluation: int | None
    required: str
    without_passing: bool
    reason: str
    promoted_by: str
    dag_id: str
    dag_run_id: str


def promote_model(
    job: ScoringJob,
    store: BenchmarkStore,
    request: PromotionRequest,
    *,
    source_engine: Callable[[], Engine],
    settings: ModelSettings,
    migrate_tables: bool = True,
) -> Promotion:
    """Promote a model to champion of a job, and return what is recorded.

    :param source_engine: returns the engine of the job's source
    :param migrate_tables: False if a DBA creates the tables: they are only checked
    :raises ConfigurationError: for an unknown model, for a promotion without a reason, and for a run that promoted
        another model before, or whose promotion others followed
    :raises NotApprovedError: for a model that has not passed, unless `without_passing`
    """
    if not request.reason.strip():
        raise ConfigurationError("a promotion needs a reason; it is kept in the table `promotions`")
    prepare_tables(store.engine, job, store.stop, migrate_tables=migrate_tables)
    if request.evaluation is None:
        found = find_model(request.model, settings)
        rests_on = _newest(store, found, request)
    else:
        name = find_entry(request.model.partition("@")[0], settings.catalogue).name
        revision = _evaluated_revision(store, name, request.evaluation, request)
        found = find_model(f"{name}@{revision}", settings)
        rests_on = request.evaluation
    ledger = open_ledger(store.engine, job, checked_source(source_engine(), job, StopFlag()))
    assert ledger is not None
    promotion = Promotion(
        model=found.name,
        revision=found.revision,
        benchmark_run_id=rests_on,
        promoted_by=request.promoted_by,
        reason=request.reason.strip(),
        dag_id=request.dag_id,
        dag_run_id=request.dag_run_id,
    )
    return store.promote(ledger.job.id, promotion)


def _newest(store: BenchmarkStore, model: ModelFolder, request: PromotionRequest) -> int | None:
    """Return the id of the newest evaluation of a model's revision, if it has one."""
    try:
        return require_benchmark(store, model, request.required)
    except NotApprovedError as error:
        if not request.without_passing:
            raise NotApprovedError(_refusal(str(error))) from None
        newest = newest_evaluations(store, model)
        return newest[-1].id if newest else None


def _evaluated_revision(store: BenchmarkStore, name: str, evaluation: int, request: PromotionRequest) -> str:
    """Return the revision that an evaluation is of, if the evaluation allows its promotion.

    :param name: the model's name in the catalogue, where `request.model` may be an alias
    """
    with store.engine.connect() as connection:
        found = find_evaluation(connection, store.tables, evaluation=evaluation)
    asked_revision = request.model.partition("@")[2]
    if found is None or found.model != name or not found.revision.startswith(asked_revision):
        what = "does not exist" if found is None else f"is of {found.model} at revision {found.revision[:12]}"
        raise ConfigurationError(
            f"evaluation {evaluation} {what}, and {request.model} is to be promoted; leave the field empty for the "
            "newest evaluation of the model"
        )
    if not request.without_passing:
        _check_passed(found, request.required)
    return found.revision


def _check_passed(found: StoredEvaluation, required: str) -> None:
    if found.row_limit is not None:
        raise NotApprovedError(_refusal(f"evaluation {found.id} is limited to {found.row_limit} reviews"))
    if required not in {ANY_SET, found.set_name}:
        raise NotApprovedError(
            _refusal(f"evaluation {found.id} is on benchmark set {found.set_name!r}, and {required!r} is required")
        )
    if not found.passed:
        raise NotApprovedError(_refusal(f"evaluation {found.id} did not pass: {found.explanation}"))


def _refusal(why: str) -> str:
    return f"not promoted: {why}. To promote it anyway, tick 'Promote without passing' in the form"
