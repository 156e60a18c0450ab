"""Preemption: a run with new reviews requests its job, and rescores of the job yield to it between two chunks.

The request stands in the job's row, which has room for one. A run records its own where there is none, or one that has
expired, and renews it with its lease: the request of a living run stays however long a shard takes, the end of one run
withdraws no other's, and a run that found the place taken has it soon after the other has ended.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, and_, or_, select, update

from review_scoring.request import RunKey
from review_scoring.warehouse.dialects import dialect_of
from review_scoring.warehouse.ledger.jobs import JobRecord
from review_scoring.warehouse.ledger.transactions import JobTransactions

REQUEST_S = 3600
"""Seconds that a request holds after its run last renewed it; the end of the run withdraws it."""


class Preemption(JobTransactions):
    """The request of a job, made and withdrawn in transactions of their own."""

    def request(self, key: RunKey) -> None:
        """Have rescores of the job yield to this run, until it ends or is silent for :data:`REQUEST_S` seconds.

        While the request of another run holds, nothing is written: rescores stay away for that one.
        """
        self._write("requesting the job", lambda c: request_job(c, self.job, key.dag_run, dialect_of(c).now(c)))

    def withdraw(self, key: RunKey) -> None:
        """Let rescores continue, unless another run has requested the job."""
        self._write("withdrawing the request for the job", lambda c: self._withdraw(c, key.dag_run))

    def is_requested(self) -> bool:
        """Return whether a run with new reviews requests the job."""
        return self._read("looking up who requests the job", self._is_requested)

    def _withdraw(self, connection: Connection, dag_run: str) -> None:
        jobs = self.job.tables.jobs
        lock_job(connection, self.job)  # a renewal on its way may be writing the request that is withdrawn
        mine = and_(jobs.c.id == self.job.id, jobs.c.requested_by == dag_run)
        connection.execute(update(jobs).where(mine).values(requested_by=None, requested_until=None))

    def _is_requested(self, connection: Connection) -> bool:
        jobs = self.job.tables.jobs
        row = connection.execute(select(jobs).where(jobs.c.id == self.job.id)).one()
        return holds(row, dialect_of(connection).now(connection))


def request_job(connection: Connection, job: JobRecord, dag_run: str, now: datetime) -> None:
    """Record that a run of a DAG requests the job, unless the request of another one still holds."""
    jobs = job.tables.jobs
    free = or_(jobs.c.requested_by.is_(None), jobs.c.requested_until <= now, jobs.c.requested_by == dag_run)
    request = {"requested_by": dag_run, "requested_until": now + timedelta(seconds=REQUEST_S)}
    connection.execute(update(jobs).where(jobs.c.id == job.id, free).values(request))


def holds(job: Row[Any], now: datetime) -> bool:
    """Return whether a job's row has a request that has not expired."""
    return job.requested_until is not None and bool(job.requested_until > now)


def lock_job(connection: Connection, job: JobRecord) -> Row[Any]:
    """Lock a job's row until the transaction ends, and return it."""
    jobs = job.tables.jobs
    return connection.execute(dialect_of(connection).locked(select(jobs).where(jobs.c.id == job.id))).one()
