"""The lease that a task holds: commits and heartbeats renew it; the task gives it back at its end, or it expires.

Every change checks in its own transaction that the shard's row still carries the lease's fencing token.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, exists, or_, select, update

from review_scoring.errors import LeaseLostError
from review_scoring.warehouse.dialects import dialect_of
from review_scoring.warehouse.ledger import preemption
from review_scoring.warehouse.ledger.counts import Counts
from review_scoring.warehouse.ledger.jobs import JobRecord
from review_scoring.warehouse.ledger.runs import add_up, lock_run
from review_scoring.warehouse.schema import RUNNING, Tables
from review_scoring.warehouse.source.stretches import ReadTo

LEASE_S = 120
"""Seconds after its last heartbeat that a run is taken for dead, and that it may take between two shards."""


def in_progress(tables: Tables, now: datetime) -> ColumnElement[bool]:
    """Return the condition that a row of `scoring_runs` is of a run in progress.

    One of its shards holds its lease, or the run has not ended, and less than :data:`LEASE_S` ago it was planned for
    the first time or a shard of it ended: the next shard may wait for a worker, and the counts for their comparison.
    """
    runs, shards = tables.runs, tables.shards.alias("of_run")  # the statement around it may read the shards, too
    lately = now - timedelta(seconds=LEASE_S)
    of_run = exists().where(shards.c.run_id == runs.c.id)
    is_alive = of_run.where(shards.c.state == RUNNING, shards.c.lease_until > now)
    is_between = or_(runs.c.started_at > lately, of_run.where(shards.c.ended_at > lately))
    return or_(is_alive, and_(runs.c.state == RUNNING, is_between))


@dataclass(frozen=True)
class Lease:
    """A run's right to score, and its progress: `chunks` commits, which counted `counts`.

    `requested_by` is the DAG run to which rescores yield meanwhile; None for a run that yields itself. What the run
    writes was read from the source after `taken_at`.
    """

    shard_id: int
    run_id: int
    fencing_token: int
    chunks: int
    counts: Counts
    model_id: int
    requested_by: str | None
    taken_at: datetime

    def after(self, counts: Counts) -> Lease:
        """Return the lease as it is after one more chunk."""
        return replace(self, chunks=self.chunks + 1, counts=self.counts + counts)


def lock_shard(connection: Connection, job: JobRecord, lease: Lease) -> None:
    """Lock the shard's row until the transaction ends, whoever holds its lease now."""
    connection.execute(dialect_of(connection).locked(_state(job, lease))).all()


def advance(
    connection: Connection,
    job: JobRecord,
    before: Lease,
    after: Lease,
    now: datetime,
    *,
    device: str,
    read_to: ReadTo | None = None,
) -> bool:
    """Move a shard on by one chunk; False if an earlier try of the same commit, whose answer was lost, has done it.

    :param device: what classified the chunk; empty for a chunk without texts to classify
    :param read_to: how far the shard has been read now; None if that is not known
    :raises LeaseLostError: if another run has taken over
    """
    done = _held(connection, job, before)
    if done == after.chunks:
        return False
    if done != before.chunks:
        raise LeaseLostError(
            f"shard {before.shard_id} is at chunk {done}, not {before.chunks}: another process has changed it"
        )
    known: dict[str, Any] = {"device": device} if device else {}
    if read_to is not None:
        known["read_to"] = read_to.as_text()
    _set(connection, job, before, now, chunks=after.chunks, **known, **after.counts.as_columns())
    return True


def as_committed(connection: Connection, job: JobRecord, lease: Lease) -> Lease:
    """Return the lease as an earlier try of the same commit has left it, which may have had more reviews."""
    shards = job.tables.shards
    row = connection.execute(select(shards).where(shards.c.id == lease.shard_id)).one()
    return replace(lease, chunks=row.chunks, counts=Counts.from_row(row))


def renew(connection: Connection, job: JobRecord, lease: Lease, now: datetime) -> None:
    """Renew the lease.

    :raises LeaseLostError: if another run has taken over
    """
    _held(connection, job, lease)
    _set(connection, job, lease, now)


def renew_request(connection: Connection, job: JobRecord, lease: Lease, now: datetime) -> None:
    """Renew a run's request for the job, as long as it holds its lease.

    A transaction of its own, which locks the job alone: taking a lease locks the job before the shard, and
    :func:`renew` holds the shard. The run's end is written before its request is withdrawn, and that waits for the job
    too: so either the end is seen here, or what is written here is withdrawn.
    """
    if lease.requested_by is not None:
        preemption.lock_job(connection, job)
        if _holds(connection.execute(_state(job, lease)).one_or_none(), lease):
            preemption.request_job(connection, job, lease.requested_by, now)


def end(
    connection: Connection, job: JobRecord, lease: Lease, now: datetime, state: str, ended_early: bool = False
) -> None:
    """Give the lease back; nothing, if an earlier try, whose answer was lost, has done it.

    :raises LeaseLostError: if another run has taken over
    """
    shards = job.tables.shards
    lock_run(connection, job, lease.run_id)
    ended = (shards.c.id == lease.shard_id, shards.c.fencing_token == lease.fencing_token, shards.c.state == state)
    if connection.execute(select(shards.c.id).where(*ended)).one_or_none() is not None:
        return
    _held(connection, job, lease)
    _set(connection, job, lease, now, state=state, ended_at=now, ended_early=ended_early)
    add_up(connection, job, lease.run_id, now)


def _held(connection: Connection, job: JobRecord, lease: Lease) -> int:
    """Lock the shard's row, check that it still carries the lease's token, and return how many chunks it has."""
    row = connection.execute(dialect_of(connection).locked(_state(job, lease))).one_or_none()
    if row is None or not _holds(row, lease):
        raise LeaseLostError(
            f"shard {lease.shard_id} no longer holds the lease of its job: another run has taken over. "
            "Its commits stay, and the other run does the rest."
        )
    return int(row.chunks)


def _state(job: JobRecord, lease: Lease) -> Select[Any]:
    shards = job.tables.shards
    return select(shards.c.chunks, shards.c.fencing_token, shards.c.state).where(shards.c.id == lease.shard_id)


def _holds(row: Row[Any] | None, lease: Lease) -> bool:
    return row is not None and row.fencing_token == lease.fencing_token and row.state == RUNNING


def lease_until(now: datetime) -> dict[str, datetime]:
    """Return the column of the time until which a lease holds that is taken or renewed now."""
    return {"lease_until": now + timedelta(seconds=LEASE_S)}


def _set(connection: Connection, job: JobRecord, lease: Lease, now: datetime, **values: Any) -> None:
    shards = job.tables.shards
    connection.execute(update(shards).where(shards.c.id == lease.shard_id).values(**values, **lease_until(now)))
