"""The shards of a run together: what each has counted, and what becomes of those that a new plan lacks."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, and_, select, update

from review_scoring.warehouse.dialects import dialect_of
from review_scoring.warehouse.ledger.counts import Counts
from review_scoring.warehouse.ledger.leases import ABANDONED, RUNNING, RunKey, of_task
from review_scoring.warehouse.schema import Tables


@dataclass(frozen=True)
class ShardRun:
    """What `scoring_runs` holds of one shard of a run."""

    id: int
    map_index: int
    state: str
    counts: Counts
    model: str
    revision: str
    device: str | None
    started_at: datetime
    ended_at: datetime | None
    scan: str | None


def shards_of(connection: Connection, owned: Tables, job_id: int, key: RunKey) -> list[ShardRun]:
    """Return all shards of a run, whatever map index `key` has, in the order of theirs."""
    runs = owned.runs
    mine = of_task(owned, job_id, key)
    names = [name for name in ShardRun.__dataclass_fields__ if name != "counts"]
    return [
        ShardRun(**{name: getattr(row, name) for name in names}, counts=Counts.from_row(row))
        for row in connection.execute(select(runs).where(mine).order_by(runs.c.map_index))
    ]


def drop_shards(connection: Connection, owned: Tables, job_id: int, key: RunKey, beyond: int) -> None:
    """Give up the shards of a run from one map index on, since a new plan has no more; what they scored is the run's.

    What the new shards meet and count anew is left out of their counts, as it is before another try of a shard. Locks
    the job before its runs, as `begin_run` does.
    """
    runs = owned.runs
    locked = dialect_of(connection).locked
    connection.execute(locked(select(owned.jobs).where(owned.jobs.c.id == job_id)))
    now = dialect_of(connection).now(connection)
    dropped = and_(of_task(owned, job_id, key), runs.c.map_index >= beyond)
    for row in connection.execute(locked(select(runs).where(dropped))).all():
        kept = Counts.from_row(row).before_another_try()
        over = {"state": ABANDONED, "ended_at": now} if row.state == RUNNING else {}
        connection.execute(update(runs).where(runs.c.id == row.id).values(**kept.as_columns(), **over))
