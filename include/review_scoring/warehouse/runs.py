"""Runs of a job: who may score now, how far each run is, and what it has counted.

A run holds a lease: a time in the database's clock until which others keep away, and a fencing token that grows with
every lease of the job. Every commit proves in its own transaction that the run's row still carries its token, so a
worker that was given up for dead and comes back cannot write.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, and_, insert, select, update

from review_scoring.errors import JobBusyError, LeaseLostError
from review_scoring.reviews import RejectReason
from review_scoring.warehouse.dialects import dialect_of
from review_scoring.warehouse.schema import Tables

LEASE_S = 120
"""Seconds after its last sign of life that a run is taken for dead. Loading a large model must fit."""

RUNNING, SUCCESS, FAILED, ABANDONED = "running", "success", "failed", "abandoned"


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


@dataclass(frozen=True)
class Counts:
    """What became of the reviews that a run fetched: `read = scored + unchanged + rejected`, always.

    `unkeyed` says how many of the rejects have no row in `review_rejects`, by reason.
    """

    read: int = 0
    scored: int = 0
    unchanged: int = 0
    rejected: int = 0
    tokens: int = 0
    device_seconds: float = 0.0
    unkeyed: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Hold the promise that every row is accounted for."""
        if self.read != self.scored + self.unchanged + self.rejected:
            raise AssertionError(f"rows unaccounted for: {self}")

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            read=self.read + other.read,
            scored=self.scored + other.scored,
            unchanged=self.unchanged + other.unchanged,
            rejected=self.rejected + other.rejected,
            tokens=self.tokens + other.tokens,
            device_seconds=self.device_seconds + other.device_seconds,
            unkeyed=dict(Counter(self.unkeyed) + Counter(other.unkeyed)),
        )

    def without_unrecordable(self) -> Counts:
        """Leave out the rows that no commit can record, which every pass over the source counts anew."""
        again = sum(self.unkeyed.get(reason, 0) for reason in (RejectReason.NULL_ID, RejectReason.UNUSABLE_ID))
        kept = {k: n for k, n in self.unkeyed.items() if k == RejectReason.DUPLICATE_ID}
        return replace(self, read=self.read - again, rejected=self.rejected - again, unkeyed=kept)

    def as_columns(self) -> dict[str, Any]:
        """Return the columns of `scoring_runs` that hold these counts."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "unkeyed"}
        return {**values, "unkeyed_rejects": json.dumps(dict(self.unkeyed), sort_keys=True)}

    @classmethod
    def from_row(cls, row: Row[Any]) -> Counts:
        """Read the counts of a row of `scoring_runs`."""
        names = [name for name in cls.__dataclass_fields__ if name != "unkeyed"]
        return cls(**{name: getattr(row, name) for name in names}, unkeyed=json.loads(row.unkeyed_rejects))

    def __str__(self) -> str:
        return f"read={self.read} scored={self.scored} unchanged={self.unchanged} rejected={self.rejected}"


@dataclass(frozen=True)
class Lease:
    """A run's right to score, and how far it is: `chunks` commits, which counted `counts`."""

    run_id: int
    fencing_token: int
    chunks: int
    counts: Counts
    model: str
    revision: str

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
) -> Lease:
    """Take the lease of a range of a job for a run, new or gone on with.

    :param keys: the range's ends (above, up to) as canonical ids; None for open ones
    :param clashes: says whether another range, given by its ends, has an id in common with this one

    A run of the same task is taken over at once, since Airflow runs one try of a task at a time; another's only when
    its lease has run out.

    :raises JobBusyError: if another run holds the lease
    """
    jobs, runs = owned.jobs, owned.runs
    job = connection.execute(select(jobs).where(jobs.c.id == job_id).with_for_update()).one()
    now = dialect_of(connection).now(connection)
    mine = and_(
        runs.c.dag_id == key.dag_id,
        runs.c.task_id == key.task_id,
        runs.c.run_id == key.run_id,
        runs.c.map_index == key.map_index,
    )
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
    held = {
        "state": RUNNING,
        "lease_until": now + timedelta(seconds=LEASE_S),
        "fencing_token": token,
        "model": model,
        "revision": revision,
        "ended_at": None,
        "range_from": keys[0],
        "range_to": keys[1],
    }
    # Locked before it is read: the last commit of a client that was killed may still be on its way in the server.
    earlier = connection.execute(select(runs).where(mine).with_for_update()).one_or_none()
    if earlier is None:
        counts = Counts()
        new = {**vars(key), **held, **counts.as_columns(), "job_id": job_id, "chunks": 0, "started_at": now}
        inserted = connection.execute(insert(runs).values(new)).inserted_primary_key
        assert inserted is not None
        run_id = inserted[0]
        return Lease(run_id, token, 0, counts, model, revision)
    counts = Counts.from_row(earlier).without_unrecordable()
    connection.execute(update(runs).where(runs.c.id == earlier.id).values(**held, **counts.as_columns()))
    return Lease(earlier.id, token, earlier.chunks, counts, model, revision)


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


def end_run(connection: Connection, owned: Tables, lease: Lease, now: datetime, state: str) -> None:
    """Give the lease back and say how the run ended.

    :raises LeaseLostError: if another run took this one's place
    """
    _held(connection, owned, lease)
    _set(connection, owned, lease, now, state=state, ended_at=now, **lease.counts.as_columns())


def _held(connection: Connection, owned: Tables, lease: Lease) -> int:
    """Lock the run's row, see that it still carries the lease's token, and return how many chunks it has."""
    runs = owned.runs
    row = connection.execute(
        select(runs.c.chunks, runs.c.fencing_token, runs.c.state).where(runs.c.id == lease.run_id).with_for_update()
    ).one_or_none()
    if row is None or row.fencing_token != lease.fencing_token or row.state != RUNNING:
        raise LeaseLostError(
            f"run {lease.run_id} no longer holds the lease of its job: another run has taken over. "
            "What it had committed stays, and the other run does the rest."
        )
    return int(row.chunks)


def _set(connection: Connection, owned: Tables, lease: Lease, now: datetime, **values: Any) -> None:
    values["lease_until"] = now + timedelta(seconds=LEASE_S)
    connection.execute(update(owned.runs).where(owned.runs.c.id == lease.run_id).values(**values))
