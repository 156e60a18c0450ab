"""Leases: takes the right to score a key range of a job, waits for other runs, takes over expired ones; fencing tokens.

A lease is a time in the database's clock until which other runs stay away, and a fencing token that grows with every
lease of the job. Every commit checks in its own transaction that the shard's row still carries its token, so a worker
that was given up for dead and comes back cannot write.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, and_, insert, select, update

from review_scoring.errors import JobBusyError, YieldedError
from review_scoring.request import KeyRange, NativeId, RunKey, RunRequest
from review_scoring.reviews import canonical_id
from review_scoring.warehouse.dialects import dialect_of
from review_scoring.warehouse.ledger import preemption
from review_scoring.warehouse.ledger.counts import Counts
from review_scoring.warehouse.ledger.held_lease import LEASE_S, Lease, end, lease_until, renew, renew_request
from review_scoring.warehouse.ledger.jobs import JobRecord
from review_scoring.warehouse.ledger.models import ScoredModels
from review_scoring.warehouse.ledger.runs import add_up, begin_run, lock_run, of_task
from review_scoring.warehouse.ledger.transactions import JobTransactions
from review_scoring.warehouse.schema import ABANDONED, RUNNING
from review_scoring.warehouse.source.rows import parse_id

BUSY_POLL_S = 2.0
"""Seconds between two attempts to take a lease that another run holds."""


class Leases(JobTransactions):
    """Leases of a job: taken, renewed by heartbeats, and given back."""

    def take(
        self,
        request: RunRequest,
        *,
        scan: str | None = None,
        is_planned: bool = False,
        overlap: Callable[[KeyRange, KeyRange], bool] = lambda one, other: True,
        reads_nothing: Callable[[Counts], bool] = lambda done: False,
    ) -> Lease:
        """Take the lease of a range of the job, waiting up to `request.wait_s` seconds for other runs to end.

        A run that yields stays away from a job that another run requests. One that does not yield requests the job
        while it waits.

        :param request: its selection is the range that this task works on
        :param scan: the pass over the source that the run makes, for another try of it
        :param is_planned: the task works on a shard of a plan, which has no review in common with its other shards
        :param overlap: returns whether two ranges have an id in common
        :param reads_nothing: returns whether a try after these counts reads no rows, and so counts none again
        :raises JobBusyError: if another run still holds the lease then
        :raises ScoringInterruptedError: if the run is cancelled while it waits
        """
        deadline = time.monotonic() + request.wait_s
        model_id = ScoredModels(self.engine, self.job, self.stop).id_of(request.model, request.revision)

        def clashes(other: Row[Any]) -> bool:
            is_sibling = (other.dag_id, other.task_id, other.dag_run_id) == request.key.task
            if is_planned and is_sibling:
                return False
            keys = KeyRange(self._native(other.key_after), self._native(other.key_upto))
            return overlap(request.selection.keys, keys)

        while True:
            try:
                return self._write(
                    "taking the lease", lambda c: _take(c, self.job, request, model_id, scan, clashes, reads_nothing)
                )
            except JobBusyError:
                if request.wait_s and not request.yields:
                    preemption.Preemption(self.engine, self.job, self.stop).request(request.key)
                if time.monotonic() >= deadline:
                    raise
            self.stop.pause(BUSY_POLL_S)
            self.stop.check()

    def renew(self, lease: Lease) -> None:
        """Renew the lease, and the request for the job.

        :raises LeaseLostError: if another run has taken over
        """
        self._write("renewing the lease", lambda c: renew(c, self.job, lease, dialect_of(c).now(c)))
        if lease.requested_by is not None:
            self._write("requesting the job again", lambda c: renew_request(c, self.job, lease, dialect_of(c).now(c)))

    def end(self, lease: Lease, state: str, *, ended_early: bool = False) -> None:
        """Give the lease back.

        :param state: `SUCCESS`, `FAILED` or `YIELDED`
        :param ended_early: the shard ends before all its reviews were done
        :raises LeaseLostError: if another run has taken over
        """
        self._write("ending the run", lambda c: end(c, self.job, lease, dialect_of(c).now(c), state, ended_early))

    def _native(self, canonical: str | None) -> NativeId | None:
        return None if canonical is None else parse_id(canonical, self.job.id_type)


def _take(
    connection: Connection,
    job: JobRecord,
    request: RunRequest,
    model_id: int,
    scan: str | None,
    clashes: Callable[[Row[Any]], bool],
    reads_nothing: Callable[[Counts], bool],
) -> Lease:
    """Take the lease for a run, a new one or another try.

    A run of the same task is taken over at once, since Airflow runs one try of a task at a time; another's only when
    its lease has expired.

    :param clashes: returns whether another shard that is running has a review in common with the run's own
    :raises JobBusyError: if another run holds the lease
    """
    shards, key = job.tables.shards, request.key
    row = preemption.lock_job(connection, job)
    now = dialect_of(connection).now(connection)
    if request.yields and preemption.holds(row, now):
        raise YieldedError(
            f"job {job.name!r} is requested by {row.requested_by}; the rescore continues when that run has ended"
        )
    for other in _others(connection, job, key):
        if clashes(other):
            _refuse_living(job, other, now)
            _abandon(connection, job, other, now)
    token = row.last_fencing_token + 1
    jobs = job.tables.jobs
    connection.execute(update(jobs).where(jobs.c.id == job.id).values(last_fencing_token=token))
    requested_by = None if request.yields else key.dag_run
    if requested_by is not None:
        preemption.request_job(connection, job, requested_by, now)
    run_id = begin_run(connection, job, request, model_id, now, shards=1 if key.map_index < 0 else None)
    keys = request.selection.keys
    held = {
        "key_after": canonical_id(keys.after),
        "key_upto": canonical_id(keys.upto),
        "scan": scan,
        "model_id": model_id,
        "state": RUNNING,
        "ended_early": False,
        "ended_at": None,
        "fencing_token": token,
        **lease_until(now),
    }
    # Locked before it is read: the last commit of a client that was killed may still be on its way in the server.
    mine = select(shards).where(shards.c.run_id == run_id, shards.c.map_index == key.map_index)
    earlier = connection.execute(dialect_of(connection).locked(mine)).one_or_none()
    if earlier is None:
        counts, chunks = Counts(), 0
        new = {**held, **counts.as_columns(), "run_id": run_id, "map_index": key.map_index, "chunks": chunks}
        inserted = connection.execute(insert(shards).values(**new, started_at=now)).inserted_primary_key
        assert inserted is not None
        shard_id = inserted[0]
    else:
        counts, chunks, shard_id = Counts.from_row(earlier), earlier.chunks, earlier.id
        counts = counts if reads_nothing(counts) else counts.before_another_try()
        connection.execute(update(shards).where(shards.c.id == shard_id).values(**held, **counts.as_columns()))
    return Lease(shard_id, run_id, token, chunks, counts, model_id, requested_by, now)


def _others(connection: Connection, job: JobRecord, key: RunKey) -> Sequence[Row[Any]]:
    """Return the shards of the job that are running, with their tasks, but for the one of this task."""
    runs, shards = job.tables.runs, job.tables.shards
    task = (runs.c.dag_id, runs.c.task_id, runs.c.dag_run_id)
    running = (
        select(shards, *task)
        .join(runs, runs.c.id == shards.c.run_id)
        .where(runs.c.job_id == job.id, shards.c.state == RUNNING)
        .where(~and_(of_task(job, key), shards.c.map_index == key.map_index))
    )
    return connection.execute(running).all()


def _abandon(connection: Connection, job: JobRecord, other: Row[Any], now: datetime) -> None:
    """End a shard whose lease has expired, unless it has ended since it was read."""
    shards = job.tables.shards
    lock_run(connection, job, other.run_id)
    running = (shards.c.id == other.id, shards.c.state == RUNNING)
    if connection.execute(update(shards).where(*running).values(state=ABANDONED, ended_at=now)).rowcount:
        add_up(connection, job, other.run_id, now)


def _refuse_living(job: JobRecord, other: Row[Any], now: datetime) -> None:
    if other.lease_until > now:
        holder = RunKey(other.dag_id, other.task_id, other.dag_run_id, other.map_index)
        raise JobBusyError(
            f"job {job.name!r} is being scored by {holder}, which was last seen alive less than {LEASE_S} s ago; "
            "wait until that run has ended"
        )
