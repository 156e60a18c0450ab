"""Promotions: which model and revision is the champion of a job, on which evaluation, by whom and why."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from sqlalchemy import Connection, Row, insert, inspect, select

from review_scoring.errors import ConfigurationError
from review_scoring.warehouse.dialects import dialect_of
from review_scoring.warehouse.evaluations.records import field_names
from review_scoring.warehouse.schema import Tables


@dataclass(frozen=True, kw_only=True)
class Promotion:
    """The promotion of a model to champion: a row of `promotions`, which are only ever added.

    :param benchmark_run_id: the evaluation that it rests on; None for a model that was promoted without one
    :param promoted_by: the user who triggered the Airflow run `dag_run_id` of `dag_id`
    :param approved_by: the user who approved the promotion of a model that had not passed; None for one that had
    """

    model: str
    revision: str
    benchmark_run_id: int | None
    promoted_by: str
    approved_by: str | None = None
    reason: str
    dag_id: str
    dag_run_id: str


@dataclass(frozen=True, kw_only=True)
class StoredPromotion(Promotion):
    """A promotion in the warehouse."""

    id: int
    promoted_at: datetime

    @classmethod
    def from_row(cls, row: Row[Any]) -> Self:
        """Return the promotion of a row of `promotions`."""
        return cls(**{name: getattr(row, name) for name in field_names(cls)})

    def without_time(self) -> Promotion:
        """Return the promotion without id and time."""
        return Promotion(**{name: getattr(self, name) for name in field_names(Promotion)})


def champion(connection: Connection, tables: Tables, *, job: str) -> StoredPromotion | None:
    """Return the last promotion of a job, or None for a job that has none (or no tables) yet.

    :param job: the job's name
    """
    promotions, jobs = tables.promotions, tables.jobs
    if not inspect(connection).has_table(promotions.name, schema=promotions.schema):
        return None
    newest = (
        select(promotions)
        .join(jobs, jobs.c.id == promotions.c.job_id)
        .where(jobs.c.name == job)
        .order_by(promotions.c.id.desc())
        .limit(1)
    )
    row = connection.execute(newest).one_or_none()
    return None if row is None else StoredPromotion.from_row(row)


def record_promotion(connection: Connection, tables: Tables, *, job_id: int, promotion: Promotion) -> Promotion:
    """Record a promotion, once for an Airflow run however often it is tried, and return what is recorded.

    :raises ConfigurationError: for a run that promoted another model, or whose promotion others followed
    """
    promotions = tables.promotions
    of_job = select(promotions).where(promotions.c.job_id == job_id).order_by(promotions.c.id.desc())
    of_run = of_job.where(promotions.c.dag_id == promotion.dag_id, promotions.c.dag_run_id == promotion.dag_run_id)
    row = connection.execute(of_run.limit(1)).one_or_none()
    if row is None:
        now = dialect_of(connection).now(connection)
        connection.execute(insert(promotions).values(job_id=job_id, promoted_at=now, **vars(promotion)))
        return promotion
    known, last = StoredPromotion.from_row(row), connection.execute(of_job.limit(1)).one()
    if last.id != known.id or (known.model, known.revision) != (promotion.model, promotion.revision):
        raise ConfigurationError(
            f"this run already promoted {known.model} at revision {known.revision[:12]} on "
            f"{known.promoted_at:%Y-%m-%d}; trigger a new run to promote {promotion.model} at revision "
            f"{promotion.revision[:12]}"
        )
    return known.without_time()
