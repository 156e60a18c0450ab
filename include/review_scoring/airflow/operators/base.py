"""Base classes of the operators: job, model, preflight, cancellation, and errors that fail without a retry."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from review_scoring.airflow.compat import AirflowFailException
from review_scoring.airflow.config import settings
from review_scoring.airflow.connections.engines import engine_of, target_engine_of
from review_scoring.airflow.jobs import as_job
from review_scoring.airflow.operators.rendered import NOTHING
from review_scoring.concurrency.cancellation import StopFlag
from review_scoring.errors import ConfigurationError, ErasureRefusedError, UnaccountedError
from review_scoring.evaluation.champion import as_required, model_of_job
from review_scoring.job import ScoringJob
from review_scoring.request import RunKey
from review_scoring.run.preflight import PreparedJob, Resources, preflight
from review_scoring.run.recorded_job import RecordedJob, open_recorded_job
from review_scoring.settings import as_bool
from review_scoring.warehouse.ledger.ledger import Ledger, lookup_ledger
from review_scoring.warehouse.scoring_tables import prepare_tables

if TYPE_CHECKING:
    from airflow.sdk import Context


MAX_USER = 250
"""Length of the columns `promotions.promoted_by` and `erasures.requested_by` in characters."""


class JobOperator(BaseOperator):
    """Base class of the operators that work on a job: its tables, dry runs, cancellation."""

    # The parameter is `estimate_only`, not `dry_run` as in the forms: `dry_run` is a method of Airflow's BaseOperator.
    template_fields: Sequence[str] = ("job", "estimate_only")

    def __init__(
        self,
        *,
        job: ScoringJob | Mapping[str, Any] | str,
        estimate_only: bool | str = False,
        migrate: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.job = job
        self.estimate_only = estimate_only
        self.migrate = migrate
        self._stop = StopFlag()

    def on_kill(self) -> None:
        """Stop at the next safe point, such as between two batches. Airflow calls this in a signal handler."""
        self._stop.set()

    @property
    def is_dry_run(self) -> bool:
        """Whether the task only estimates, and writes nothing."""
        return as_bool(self.estimate_only, "estimate_only")

    def recorded_ledger(self, job: ScoringJob) -> Ledger | None:
        """Return the ledger of a job, in tables of this version; None if the job has never been scored."""
        engine = target_engine_of(job)
        ledger = lookup_ledger(engine, job, self._stop)
        if ledger is not None:
            migrate = as_bool(self.migrate, "migrate")
            prepare_tables(engine, job, self._stop, migrate_tables=migrate, dry_run=self.is_dry_run)
        return ledger


class ScoringOperator(JobOperator):
    """Base class of the operators that need a job, a model and the preflight."""

    template_fields: Sequence[str] = (*JobOperator.template_fields, "model", "require_benchmark")
    ui_color = "#e8f0fe"

    def __init__(
        self, *, model: str | Path | None = None, require_benchmark: str | bool | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.model = model
        self.require_benchmark = require_benchmark

    def prepare(self) -> PreparedJob:
        """Run the preflight, and return the source, ledger and model of the run.

        :raises PreflightError: with all problems
        """
        job = as_job(self.job)
        model = job.model if self.model is None or self.model in NOTHING else self.model
        required = job.require_benchmark if self.require_benchmark is None else self.require_benchmark
        target = partial(target_engine_of, job)
        resources = Resources(
            source=lambda: engine_of(job.source_conn_id),
            target=target,
            model=lambda: model_of_job(model, job, target, settings().models),
        )
        return preflight(
            job,
            resources,
            self._stop,
            migrate_tables=as_bool(self.migrate, "migrate"),
            dry_run=self.is_dry_run,
            benchmark=as_required(required),
        )


class ErasingOperator(JobOperator):
    """Base class of the operators that erase reviews. They need the job's databases, but no model."""

    ui_color = "#fce8e6"

    def open_job(self) -> RecordedJob | None:
        """Return the job with its databases; None if it has never been scored."""
        job = as_job(self.job)
        return open_recorded_job(
            job,
            partial(engine_of, job.source_conn_id),
            partial(target_engine_of, job),
            self._stop,
            migrate_tables=as_bool(self.migrate, "migrate"),
            dry_run=self.is_dry_run,
        )


@contextmanager
def fail_without_retry() -> Iterator[None]:
    """Fail the task without a retry if a retry would give the same error."""
    try:
        yield
    except (ConfigurationError, UnaccountedError, ErasureRefusedError) as error:
        raise AirflowFailException(str(error)) from None


def triggered_by(context: Context) -> str:
    """Return the user who triggered the run; for a scheduled run, that nobody did."""
    run: Any = context["dag_run"]
    return str(getattr(run, "triggering_user_name", None) or f"nobody ({run.run_type})")[:MAX_USER]


def run_key(context: Context) -> RunKey:
    """Return the key of the running task instance, the same for all of its tries."""
    ti = context["ti"]
    map_index = ti.map_index if ti.map_index is not None else -1
    return RunKey(ti.dag_id, ti.task_id, ti.run_id, map_index)
