"""Make a model the champion of a job: a deliberate choice, on an evaluation, for a reason."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from review_scoring.concurrency.cancellation import StopFlag
from review_scoring.errors import ConfigurationError, NotApprovedError
from review_scoring.evaluation.champion import ANY_SET, require_benchmark
from review_scoring.job import ScoringJob
from review_scoring.models.catalogue import find_entry, find_model
from review_scoring.models.folder import ModelFolder
from review_scoring.models.settings import ModelSettings
from review_scoring.warehouse import migrate
from review_scoring.warehouse.evaluations.promotions import Promotion, promote
from review_scoring.warehouse.evaluations.store import BenchmarkStore
from review_scoring.warehouse.ledger.ledger import open_ledger
from review_scoring.warehouse.source.opening import checked_source

if TYPE_CHECKING:
    from sqlalchemy import Engine


def promote_model(
    job: ScoringJob,
    store: BenchmarkStore,
    *,
    source_engine: Callable[[], Engine],
    model: str,
    settings: ModelSettings,
    evaluation: int | None,
    required: str,
    without_passing: bool,
    reason: str,
    promoted_by: str,
    dag_id: str,
    run_id: str,
) -> Promotion:
    """Record a promotion, and return what is recorded.

    :param source_engine: gives the engine of the job's reviews, by which a job is known
    :param evaluation: id of the evaluation that it rests on, whose revision is promoted; None for the newest revision,
        and its newest evaluation
    :param required: the name of the set that a model has to have passed on, or `any`: each that it was evaluated on
    :param without_passing: promote a model that has no passing evaluation all the same
    :param dag_id: of the Airflow run by which it is done; `run_id` is the run's own
    :raises ConfigurationError: for a model that is not there, for a promotion without a reason, and for a run that
        promoted another model before, or whose promotion others followed
    :raises NotApprovedError: for a model that has not passed, unless `without_passing`
    """
    if not reason.strip():
        raise ConfigurationError("a promotion needs a reason: whoever asks later reads it in the table `promotions`")
    migrate.upgrade(store.engine, store.schema)
    if evaluation is None:
        found = find_model(model, settings)
        rests_on = _newest(store, found, required, without_passing=without_passing)
    else:
        wanted = find_entry(model.partition("@")[0], settings.catalogue).name
        revision = _evaluated(store, model, wanted, evaluation, None if without_passing else required)
        found = find_model(f"{wanted}@{revision}", settings)
        rests_on = evaluation
    ledger = open_ledger(store.engine, job, checked_source(source_engine(), job, StopFlag()))
    assert ledger is not None
    promotion = Promotion(
        model=found.name,
        revision=found.revision,
        benchmark_run_id=rests_on,
        promoted_by=promoted_by,
        reason=reason.strip(),
        dag_id=dag_id,
        run_id=run_id,
    )
    return promote(store.engine, store.schema, ledger.job.id, promotion)


def _newest(store: BenchmarkStore, model: ModelFolder, required: str, *, without_passing: bool) -> int | None:
    """Return the newest evaluation of a model's revision, if it has one."""
    try:
        return require_benchmark(store, model, required)
    except NotApprovedError as error:
        if not without_passing:
            raise NotApprovedError(_refusal(str(error))) from None
        newest = store.newest(model.name, model.revision)
        return int(newest[-1].id) if newest else None


def _evaluated(store: BenchmarkStore, asked: str, model: str, evaluation: int, required: str | None) -> str:
    """Return the revision that an evaluation is of.

    :param asked: the model as it was asked for; `model` is its name in the catalogue
    :param required: what it has to have passed on; None if it need not have passed
    """
    row = store.find(evaluation)
    if row is None or row.model != model or not row.revision.startswith(asked.partition("@")[2]):
        found = "not there" if row is None else f"of {row.model} at revision {row.revision[:12]}"
        raise ConfigurationError(
            f"evaluation {evaluation} is {found}, and {asked} is to be promoted; leave the field empty for the newest "
            "evaluation of the model"
        )
    if required is not None:
        if row.row_limit is not None:
            raise NotApprovedError(_refusal(f"evaluation {evaluation} is limited to {row.row_limit} reviews"))
        if required not in {ANY_SET, row.set_name}:
            raise NotApprovedError(
                _refusal(f"evaluation {evaluation} is on benchmark set {row.set_name!r}, and {required!r} is required")
            )
        if not row.passed:
            raise NotApprovedError(_refusal(f"evaluation {evaluation} did not pass: {row.explanation}"))
    return str(row.revision)


def _refusal(why: str) -> str:
    return f"not promoted: {why}. If you want it all the same, say so in the form ('Promote without passing')"
