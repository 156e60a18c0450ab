"""Runs of a job: who may score now, how far each run is, and what it has counted.

A run holds a lease: a time in the database's clock until which others keep away, and a fencing token that grows with
every lease of the job. Every commit proves in its own transaction that the run's row still carries its token, so a
worker that was given up for dead and comes back cannot write.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, insert, select, update

from review_scoring.errors import GaveWayError, JobBusyError, LeaseLostError
from review_scoring.warehouse.dialects import dialect_of
from review_scoring.warehouse.ledger import preemption as wishes
from review_scoring.warehouse.ledger.counts import Counts
from review_scoring.warehouse.schema import Tables

LEASE_S = 120
"""Seconds after its last sign of life that a run is taken for dead. Loading a large model must fit."""

RUNNING, SUCCESS, FAILED, ABANDONED = "running", "success", "failed", "abandoned"
GAVE_WAY = "gave_way"


@dataclass(frozen=True)
class RunKey:
    """The task of Airflow that a run is; a retry of the task goes on with the same run."""

    dag_id: str
    task_id: str
    run_id: str
    map_index: int = -1

    def __str__(self) -> str:
        index = f"[{self.map_index}]" if self.map_index >= 0 else ""
        return f"{self.dag_id}.{self.task_id}{index} of {self.run_id}"

    @property
    def dag_run(self) -> str:
        """Name the run of the DAG, all its tasks together."""
        return f"{self.dag_id} of {self.run_id}"


@dataclass(frozen=True)
class Lease:
    """A run's right to score, and how far it is: `chunks` commits, which counted `counts`.

    `wanted_by` is the run of the DAG to which rescores give way meanwhile; None for one that gives way itself.
    """

    run_id: int
    fencing_token: int
    chunks: int
    counts: Counts
    model: str
    revision: str
    wanted_by: str | None

    def moved_on(self, counts: Counts) -> Lease:
        """Return the lease as it is after one more chunk."""
        return replace(self, chunks=self.chunks + 1, counts=self.counts + counts)


def begin_run(
    connection: Connection,
    owned: Tables,
    job_id: int,
    key: RunKey,
    model: str,
    revision: str,
    keys: tuple[str | None, str | None],
    clashes: Callable[[str | None, str | None], bool],
    *,
    yields: bool,
    is_rescore: bool,
    limit: int | None,
    scan: str | None,
) -> Lease:
    """Take the lease of a range of a job for a run, new or gone on with.

    :param keys: the range's ends (above, up to) as canonical ids; None for open ones
    :param clashes: says whether another range, given by its ends, has an id in common with this one
    :param yields: keep away as long as another run wants the job
    :param is_rescore: what was scored before is scored again
    :param limit: the most reviews that the run does, all its shards together; None for all
    :param scan: the pass that the run makes by itself, for another try of it; None where its plan says it

    A run of the same task is taken over at once, since Airflow runs one try of a task at a time; another's only when
    its lease has run out.

    :raises JobBusyError: if another run holds the lease
    """
    jobs, runs = owned.jobs, owned.runs
    locked = dialect_of(connection).locked
    job = connection.execute(locked(select(jobs).where(jobs.c.id == job_id))).one()
    now = dialect_of(connection).now(connection)
    if yields and wishes.holds(job, now):
        raise GaveWayError(f"job {job.name!r} is wanted by {job.wanted_by}; a rescore goes on when that has ended")
    mine = and_(of_task(owned, job_id, key), runs.c.map_index == key.map_index)
    for other in connection.execute(select(runs).where(runs.c.job_id == job_id, runs.c.state == RUNNING, ~mine)):
        if not clashes(other.range_from, other.range_to):
            continue
        if other.lease_until > now:
            holder = RunKey(other.dag_id, other.task_id, other.run_id, other.map_index)
            raise JobBusyError(
                f"job {job.name!r} is being scored by {holder}, which was last seen alive less than {LEASE_S} s ago; "
                "it can be scored again when that run has ended"
            )
        connection.execute(update(runs).where(runs.c.id == other.id).values(state=ABANDONED, ended_at=now))

    token = job.last_fencing_token + 1
    connection.execute(update(jobs).where(jobs.c.id == job_id).values(last_fencing_token=token))
    wanted_by = None if yields else key.dag_run
    if wanted_by is not None:
        wishes.want(connection, owned, job_id, wanted_by, now)
    held = {
        "state": RUNNING,
        "lease_until": now + timedelta(seconds=LEASE_S),
        "fencing_token": token,
        "model": model,
        "revision": revision,
        "ended_at": None,
        "range_from": keys[0],
        "range_to": keys[1],
        "is_rescore": is_rescore,
        "review_limit": limit,
        "scan": scan,
    }
    # Locked before it is read: the last commit of a client that was killed may still be on its way in the server.
    earlier = connection.execute(locked(select(runs).where(mine))).one_or_none()
    if earlier is None:
        counts = Counts()
        new = {**vars(key), **held, **counts.as_columns(), "job_id": job_id, "chunks": 0, "started_at": now}
        inserted = connection.execute(insert(runs).values(new)).inserted_primary_key
        assert inserted is not None
        run_id = inserted[0]
        return Lease(run_id, token, 0, counts, model, revision, wanted_by)
    counts = Counts.from_row(earlier).before_another_try()
    connection.execute(update(runs).where(runs.c.id == earlier.id).values(**held, **counts.as_columns()))
    return Lease(earlier.id, token, earlier.chunks, counts, model, revision, wanted_by)


def of_task(owned: Tables, job_id: int, key: RunKey) -> ColumnElement[bool]:
    """Return the condition that a row is of a task, whatever its map index."""
    runs = owned.runs
    return and_(
        runs.c.job_id == job_id,
        runs.c.dag_id == key.dag_id,
        runs.c.task_id == key.task_id,
        runs.c.run_id == key.run_id,
    )


def advance(connection: Connection, owned: Tables, before: Lease, after: Lease, now: datetime, device: str) -> bool:
    """Move a run on by one chunk; False if an earlier try of the same commit, whose answer was lost, has done it.

    :raises LeaseLostError: if another run took this one's place
    """
    done = _held(connection, owned, before)
    if done == after.chunks:
        return False
    if done != before.chunks:
        raise LeaseLostError(f"run {before.run_id} is at chunk {done}, not {before.chunks}: somebody else moved it")
    _set(connection, owned, before, now, chunks=after.chunks, device=device, **after.counts.as_columns())
    return True


def renew(connection: Connection, owned: Tables, lease: Lease, now: datetime) -> None:
    """Give a sign of life.

    :raises LeaseLostError: if another run took this one's place
    """
    _held(connection, owned, lease)
    _set(connection, owned, lease, now)


def keep_wanting(connection: Connection, owned: Tables, job_id: int, lease: Lease, now: datetime) -> None:
    """Say again that a run wants the job, as long as it holds its lease.

    A transaction of its own, which locks the job alone: :func:`begin_run` locks the job before the run, and
    :func:`renew` holds the run. The run's end is written before its wish is taken back, and that waits for the job too:
    so either the end is seen here, or what is written here is taken back.
    """
    if lease.wanted_by is not None:
        connection.execute(dialect_of(connection).locked(select(owned.jobs).where(owned.jobs.c.id == job_id)))
        if _holds(connection.execute(_state(owned, lease)).one_or_none(), lease):
            wishes.want(connection, owned, job_id, lease.wanted_by, now)


def end_run(connection: Connection, owned: Tables, lease: Lease, now: datetime, state: str) -> None:
    """Give the lease back and say how the run ended; nothing, if an earlier try, whose answer was lost, has done it.

    :raises LeaseLostError: if another run took this one's place
    """
    runs = owned.runs
    ended = and_(runs.c.id == lease.run_id, runs.c.fencing_token == lease.fencing_token, runs.c.state == state)
    if connection.execute(select(runs.c.id).where(ended)).one_or_none() is not None:
        return
    _held(connection, owned, lease)
    # A run that failed may not know whether its last commit happened; the row does, and keeps its counts.
    counts = lease.counts.as_columns() if state == SUCCESS else {}
    _set(connection, owned, lease, now, state=state, ended_at=now, **counts)


def _held(connection: Connection, owned: Tables, lease: Lease) -> int:
    """Lock the run's row, see that it still carries the lease's token, and return how many chunks it has."""
    row = connection.execute(dialect_of(connection).locked(_state(owned, lease))).one_or_none()
    if row is None or not _holds(row, lease):
        raise LeaseLostError(
            f"run {lease.run_id} no longer holds the lease of its job: another run has taken over. "
            "What it had committed stays, and the other run does the rest."
        )
    return int(row.chunks)


def _state(owned: Tables, lease: Lease) -> Select[Any]:
    runs = owned.runs
    return select(runs.c.chunks, runs.c.fencing_token, runs.c.state).where(runs.c.id == lease.run_id)


def _holds(row: Row[Any] | None, lease: Lease) -> bool:
    return row is not None and row.fencing_token == lease.fencing_token and row.state == RUNNING


def _set(connection: Connection, owned: Tables, lease: Lease, now: datetime, **values: Any) -> None:
    values["lease_until"] = now + timedelta(seconds=LEASE_S)
    connection.execute(update(owned.runs).where(owned.runs.c.id == lease.run_id).values(**values))
