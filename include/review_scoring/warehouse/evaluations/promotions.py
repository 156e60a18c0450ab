"""Which model is a job's champion: chosen by a person, on an evaluation, for a reason. Rows are only ever added."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, Row, insert, inspect, select

from review_scoring.errors import ConfigurationError
from review_scoring.warehouse.dialects import dialect_of
from review_scoring.warehouse.engine import writing
from review_scoring.warehouse.schema import tables


@dataclass(frozen=True, kw_only=True)
class Promotion:
    """A choice of a champion.

    :param benchmark_run_id: the evaluation that it rests on; None for a model that was promoted without any
    :param promoted_by: the user who triggered the Airflow run `run_id` of `dag_id`
    """

    model: str
    revision: str
    benchmark_run_id: int | None
    promoted_by: str
    reason: str
    dag_id: str
    run_id: str


def champion(engine: Engine, schema: str | None, job: str) -> Row[Any] | None:
    """Return the last promotion of a job, or None for a job that has none (or no tables) yet."""
    owned = tables(schema)
    promotions, jobs = owned.promotions, owned.jobs
    newest = (
        select(promotions)
        .join(jobs, jobs.c.id == promotions.c.job_id)
        .where(jobs.c.name == job)
        .order_by(promotions.c.id.desc())
        .limit(1)
    )
    with engine.connect() as connection:
        if not inspect(connection).has_table(promotions.name, schema=schema):
            return None
        return connection.execute(newest).one_or_none()


def promote(engine: Engine, schema: str | None, job_id: int, promotion: Promotion) -> Promotion:
    """Record a promotion, once for an Airflow run however often that is tried, and return what is recorded.

    :raises ConfigurationError: for a run that promoted another model, or whose promotion is not the job's last any more
    """
    promotions = tables(schema).promotions
    of_job = select(promotions).where(promotions.c.job_id == job_id).order_by(promotions.c.id.desc())
    mine = of_job.where(promotions.c.dag_id == promotion.dag_id, promotions.c.run_id == promotion.run_id)
    with writing(engine).begin() as connection:
        known = connection.execute(mine.limit(1)).one_or_none()
        if known is None:
            now = dialect_of(connection).now(connection)
            connection.execute(insert(promotions).values(job_id=job_id, promoted_at=now, **vars(promotion)))
            return promotion
        last = connection.execute(of_job.limit(1)).one()
    stored = Promotion(**{name: getattr(known, name) for name in Promotion.__dataclass_fields__})
    if last.id != known.id or (stored.model, stored.revision) != (promotion.model, promotion.revision):
        raise ConfigurationError(
            f"this run already promoted {stored.model} at revision {stored.revision[:12]} on "
            f"{known.promoted_at:%Y-%m-%d}; trigger a new run to promote {promotion.model} at revision "
            f"{promotion.revision[:12]}"
        )
    return stored
