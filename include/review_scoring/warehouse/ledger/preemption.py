"""Who gives way: a run with new reviews says in its job's row that it wants the job, and rescores look there.

There is room for one wish. A run writes its own where there is none, or one that has run out, and says it again with
every sign of life: so the wish of a run that lives goes on however long a shard takes, the end of one run erases no
other's, and a run that found the place taken has it soon after the other has ended.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, and_, or_, select, update

from review_scoring.warehouse.dialects import dialect_of
from review_scoring.warehouse.schema import Tables

WANTED_S = 3600
"""Seconds for which runs that give way keep away after the last sign of one that wants the job; its end ends that."""


def want(connection: Connection, owned: Tables, job_id: int, dag_run: str, now: datetime) -> None:
    """Say that a run of a DAG wants the job, unless another one's wish still holds."""
    jobs = owned.jobs
    free = or_(jobs.c.wanted_by.is_(None), jobs.c.wanted_until <= now, jobs.c.wanted_by == dag_run)
    wish = {"wanted_by": dag_run, "wanted_until": now + timedelta(seconds=WANTED_S)}
    connection.execute(update(jobs).where(jobs.c.id == job_id, free).values(wish))


def no_longer_want(connection: Connection, owned: Tables, job_id: int, dag_run: str) -> None:
    """Let a rescore go on, unless it is another run that wants the job."""
    jobs = owned.jobs
    # Locked first: a sign of life that is on its way may be writing the wish that is to end.
    connection.execute(dialect_of(connection).locked(select(jobs).where(jobs.c.id == job_id)))
    mine = and_(jobs.c.id == job_id, jobs.c.wanted_by == dag_run)
    connection.execute(update(jobs).where(mine).values(wanted_by=None, wanted_until=None))


def is_wanted(connection: Connection, owned: Tables, job_id: int) -> bool:
    """Say whether a run with new reviews wants the job."""
    job = connection.execute(select(owned.jobs).where(owned.jobs.c.id == job_id)).one()
    return holds(job, dialect_of(connection).now(connection))


def holds(job: Row[Any], now: datetime) -> bool:
    """Say whether a job's row has a wish that has not run out."""
    return job.wanted_until is not None and bool(job.wanted_until > now)
