"""The champion: the promoted model of a job, which scores its new reviews, and the evaluation that it must pass."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from review_scoring.errors import ConfigurationError, NotApprovedError
from review_scoring.job import CHAMPION, ScoringJob
from review_scoring.models.catalogue import DEFAULT_MODEL, find_model
from review_scoring.models.folder import ModelFolder
from review_scoring.models.settings import ModelSettings
from review_scoring.settings import truth
from review_scoring.warehouse.evaluations.benchmark_store import BenchmarkStore
from review_scoring.warehouse.evaluations.past_evaluations import newest_by_set
from review_scoring.warehouse.evaluations.promotions import champion
from review_scoring.warehouse.evaluations.records import StoredEvaluation
from review_scoring.warehouse.schema import tables

if TYPE_CHECKING:
    from sqlalchemy import Engine

log = logging.getLogger(__name__)

ANY_SET = "any"
"""A model must have passed on every benchmark set that its revision was evaluated on, and on at least one."""


def model_of_job(
    model: str | Path, job: ScoringJob, target: Callable[[], Engine], settings: ModelSettings
) -> ModelFolder:
    """Return the files of a model; `champion` is the model that was promoted last for the job.

    Until a model is promoted, the champion is the bundled model.

    :param target: returns the engine of the job's warehouse; called for the champion only
    :raises ModelError: for an unknown model, or one without files
    """
    if model != CHAMPION:
        return find_model(model, settings)
    with target().connect() as connection:
        promoted = champion(connection, tables(job.target_schema), job=job.name)
    if promoted is None:
        log.info("no model has been promoted for job %s: its champion is %s", job.name, DEFAULT_MODEL)
        return find_model(DEFAULT_MODEL, settings)
    return find_model(f"{promoted.model}@{promoted.revision}", settings)


def require_benchmark(store: BenchmarkStore, model: ModelFolder, required: str) -> int:
    """Require that a model's revision has passed its newest evaluation, and return the evaluation's id.

    :param required: the benchmark set that it must have passed on, or `any`: each that it was evaluated on
    :raises NotApprovedError: with the evaluation that is missing or did not pass
    """
    newest = newest_evaluations(store, model)
    relevant = newest if required == ANY_SET else [row for row in newest if row.set_name == required]
    name = f"model {model.name!r} at revision {model.revision[:12]}"
    if not relevant:
        on = "any benchmark set" if required == ANY_SET else f"benchmark set {required!r}"
        raise NotApprovedError(
            f"{name} has no evaluation on {on}, and a passing one is required (require_benchmark): evaluate it with "
            "the DAG benchmark_models, without a limit"
        )
    if failed := [row for row in relevant if not row.passed]:
        worst = failed[-1]
        raise NotApprovedError(
            f"{name} has not passed evaluation {worst.id} on benchmark set {worst.set_name!r}, and a passing one is "
            f"required (require_benchmark): {worst.explanation}"
        )
    return relevant[-1].id


def newest_evaluations(store: BenchmarkStore, model: ModelFolder) -> list[StoredEvaluation]:
    """Return the newest evaluation of a model's revision on each whole benchmark set, the newest of all last."""
    with store.engine.connect() as connection:
        return newest_by_set(connection, store.tables, model=model.name, revision=model.revision)


def as_required(value: str | bool | None) -> str | None:
    """Return the benchmark set that a setting requires: its name, `any` (also for a value that is on), or None.

    :raises ConfigurationError: for a value of another type
    """
    if value is None or isinstance(value, bool):
        return ANY_SET if value else None
    if not isinstance(value, str):
        raise ConfigurationError(f"require_benchmark is {value!r}; it must be a set's name, `any`, True or False")
    on = truth(value)
    if on is None:
        return ANY_SET if value.strip().lower() == ANY_SET else value.strip()
    return ANY_SET if on else None
