"""Promote a model to champion of a job: check its evaluation, record who promoted it and why."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from review_scoring.concurrency.cancellation import StopFlag
from review_scoring.errors import ConfigurationError, NotApprovedError
from review_scoring.evaluation.champion import ANY_SET, newest_evaluations, require_benchmark
from review_scoring.job import ScoringJob
from review_scoring.models.catalogue import find_entry, find_model
from review_scoring.models.settings import ModelSettings
from review_scoring.warehouse.evaluations.benchmark_store import BenchmarkStore
from review_scoring.warehouse.evaluations.past_evaluations import find_evaluation
from review_scoring.warehouse.evaluations.promotions import Promotion, champion
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
    :param approved_by: who has approved the promotion of a model without a passing evaluation; None for nobody
    :param dag_run_id: the Airflow run of `dag_id` that `promoted_by` triggered
    """

    model: str
    evaluation: int | None
    required: str
    without_passing: bool
    reason: str
    promoted_by: str
    approved_by: str | None = None
    dag_id: str
    dag_run_id: str


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """The revision that a request would promote.

    :param benchmark_run_id: the evaluation that the promotion rests on, if there is one
    :param problem: why the revision has not passed; empty if it has
    :param champion: `model@revision` of the present champion; empty for a job that has none
    """

    model: str
    revision: str
    benchmark_run_id: int | None
    problem: str = ""
    champion: str = ""

    @property
    def name(self) -> str:
        """Model and revision, as a request may name them."""
        return f"{self.model}@{self.revision}"


def find_candidate(
    job: ScoringJob,
    store: BenchmarkStore,
    request: PromotionRequest,
    settings: ModelSettings,
    *,
    migrate_tables: bool = True,
) -> Candidate:
    """Return the revision that a request would promote, and whether it has passed.

    :param migrate_tables: False if a DBA creates the tables: they are only checked
    :raises ConfigurationError: for an unknown model, an evaluation that is not of the model, and a request without a
        reason
    :raises NotApprovedError: for a model that has not passed, unless `without_passing`
    """
    if not request.reason.strip():
        raise ConfigurationError("a promotion needs a reason; it is kept in the table `promotions`")
    prepare_tables(store.engine, job, store.stop, migrate_tables=migrate_tables)
    found = _newest(store, request, settings) if request.evaluation is None else _evaluated(store, request, settings)
    if found.problem and not request.without_passing:
        raise NotApprovedError(
            f"not promoted: {found.problem}. To promote it anyway, tick 'Promote without passing' in the form"
        )
    with store.engine.connect() as connection:
        present = champion(connection, store.tables, job=job.name)
    return replace(found, champion=f"{present.model}@{present.revision}" if present else "")


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
    :raises ConfigurationError: as :func:`find_candidate` does, and for a run that promoted another model before, or
        whose promotion others followed
    :raises NotApprovedError: for a model that has not passed, unless `without_passing`
    """
    candidate = find_candidate(job, store, request, settings, migrate_tables=migrate_tables)
    ledger = open_ledger(store.engine, job, checked_source(source_engine(), job, StopFlag()))
    assert ledger is not None
    promotion = Promotion(
        model=candidate.model,
        revision=candidate.revision,
        benchmark_run_id=candidate.benchmark_run_id,
        promoted_by=request.promoted_by,
        approved_by=request.approved_by,
        reason=request.reason.strip(),
        dag_id=request.dag_id,
        dag_run_id=request.dag_run_id,
    )
    return store.promote(ledger.job.id, promotion)


def _newest(store: BenchmarkStore, request: PromotionRequest, settings: ModelSettings) -> Candidate:
    """Return the newest revision of a model, with its newest evaluation if it has one."""
    found = find_model(request.model, settings)
    try:
        passed = require_benchmark(store, found, request.required)
        return Candidate(model=found.name, revision=found.revision, benchmark_run_id=passed)
    except NotApprovedError as error:
        newest = newest_evaluations(store, found)
        evaluation = newest[-1].id if newest else None
        return Candidate(model=found.name, revision=found.revision, benchmark_run_id=evaluation, problem=str(error))


def _evaluated(store: BenchmarkStore, request: PromotionRequest, settings: ModelSettings) -> Candidate:
    """Return the revision that the evaluation of a request is of."""
    asked, _, asked_revision = request.model.partition("@")
    name = find_entry(asked, settings.catalogue).name  # which may be given as an alias
    assert request.evaluation is not None
    with store.engine.connect() as connection:
        found = find_evaluation(connection, store.tables, evaluation=request.evaluation)
    if found is None or found.model != name or not found.revision.startswith(asked_revision):
        what = "does not exist" if found is None else f"is of {found.model} at revision {found.revision[:12]}"
        raise ConfigurationError(
            f"evaluation {request.evaluation} {what}, and {request.model} is to be promoted; leave the field empty for "
            "the newest evaluation of the model"
        )
    revision = find_model(f"{name}@{found.revision}", settings).revision
    problem = _problem(found, request.required)
    return Candidate(model=name, revision=revision, benchmark_run_id=found.id, problem=problem)


def _problem(found: StoredEvaluation, required: str) -> str:
    """Return why an evaluation does not count as passed; empty if it does."""
    if found.row_limit is not None:
        return f"evaluation {found.id} is limited to {found.row_limit} reviews"
    if required not in {ANY_SET, found.set_name}:
        return f"evaluation {found.id} is on benchmark set {found.set_name!r}, and {required!r} is required"
    return "" if found.passed else f"evaluation {found.id} did not pass: {found.explanation}"
