"""Retention of runs: removes the rows of old runs in `scoring_runs` and `scoring_shards`. What they scored stays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, delete, func, select, update

from review_scoring.job import Rescore
from review_scoring.warehouse.dialects import dialect_of
from review_scoring.warehouse.ledger.counts import Counts
from review_scoring.warehouse.ledger.preemption import lock_job
from review_scoring.warehouse.ledger.transactions import JobTransactions
from review_scoring.warehouse.schema import RUNNING

MOST_RUNS, MOST_SHARDS = 100, 1_000
"""The most rows that one transaction removes, so that runs wait for it briefly. A run with more shards goes alone."""


class RemovedRuns(NamedTuple):
    """Numbers of rows in the two tables."""

    runs: int
    shards: int


class OldRuns(JobTransactions):
    """The runs of a job that ended long ago."""

    def remove(self, days: int, *, dry_run: bool = False) -> RemovedRuns:
        """Remove the runs that ended more than some days ago, and return how many.

        These stay, whatever their age:

        - the last run that classified something, whose speed a dry run reads;
        - the run with the newest shard: SQLite gives the highest number again once its row is gone, and the scores of
          that shard would become those of another one;
        - the other tasks of the DAG runs that stay, since the pages add them up;
        - what has written since the first of the runs that stay began: it may have replaced what they wrote, which the
          comparison of a run with the tables has to know if one of them is cleared.

        Each transaction removes some runs with their shards, so it may be cancelled and called again at any time.

        :param days: counted by the database's clock, from the last sign of life of a run
        :param dry_run: count, and remove nothing
        """

        def find(connection: Connection) -> tuple[datetime, Sequence[_Run]]:
            before = dialect_of(connection).now(connection) - timedelta(days=days)
            return before, _removable(self._runs(connection), before)

        before, found = self._read("looking for old runs", find)
        if dry_run:
            return _sum(found)
        removed: list[_Run] = []
        for part in _parts(found):
            self.stop.check()
            ids = [run.id for run in part]
            stay = self._write("removing old runs", partial(self._remove, ids=ids, before=before))
            removed += [run for run in part if run.id not in stay]
        return _sum(removed)

    def _runs(self, connection: Connection, ids: Sequence[int] | None = None) -> list[_Run]:
        """Return the runs of the job, or some of them, in the order of their ids."""
        runs, shards = self.job.tables.runs, self.job.tables.shards
        mine = [runs.c.job_id == self.job.id, *([] if ids is None else [runs.c.id.in_(ids)])]
        of_run = (
            select(shards.c.run_id, func.count().label("shards"), func.max(shards.c.id).label("newest_shard"))
            .add_columns(*(func.max(shards.c[name]).label(f"last_{name}") for name in ("lease_until", "ended_at")))
            .join_from(shards, runs, runs.c.id == shards.c.run_id)
            .where(*mine)
            .group_by(shards.c.run_id)
            .subquery()
        )
        names = ("id", "dag_id", "dag_run_id", "state", "rescore", "started_at", "ended_at", *Counts().as_columns())
        sums = [of_run.c[name] for name in ("shards", "newest_shard", "last_lease_until", "last_ended_at")]
        found = select(*(runs.c[name] for name in names), *sums).outerjoin(of_run, of_run.c.run_id == runs.c.id)
        return [_Run.from_row(row) for row in connection.execute(found.where(*mine).order_by(runs.c.id))]

    def _remove(self, connection: Connection, *, ids: Sequence[int], before: datetime) -> frozenset[int]:
        """Remove runs with their shards, and return those that stay, since they have been cleared meanwhile."""
        jobs, runs, shards = self.job.tables.jobs, self.job.tables.runs, self.job.tables.shards
        lock_job(connection, self.job)
        connection.execute(dialect_of(connection).locked(select(runs.c.id).where(runs.c.id.in_(ids)))).all()
        found = self._runs(connection, ids)
        old = [run for run in found if run.seen_at < before]
        gone = [run.id for run in old]
        connection.execute(delete(shards).where(shards.c.run_id.in_(gone)))
        connection.execute(delete(runs).where(runs.c.id.in_(gone)))
        uncounted = jobs.c.uncounted_reviews + sum(run.recorded for run in old)
        connection.execute(update(jobs).where(jobs.c.id == self.job.id).values(uncounted_reviews=uncounted))
        return frozenset(run.id for run in found) - frozenset(gone)


@dataclass(frozen=True)
class _Run:
    """A row of `scoring_runs`, with what the rules need of its shards.

    :param seen_at: its last sign of life: its end; of a run without one, which may have been killed, its start or the
        last of its leases
    :param recorded: what :meth:`ShardRecords.recorded` counts of it
    :param has_written: whether it may have written scores or rejects; a run that was killed may
    :param has_speed: whether :meth:`ShardRecords.past_speed` can be read of it
    """

    id: int
    dag_run: tuple[str, str]
    started_at: datetime
    seen_at: datetime
    shards: int
    newest_shard: int
    recorded: int
    has_written: bool
    has_speed: bool

    @classmethod
    def from_row(cls, row: Row[Any]) -> _Run:
        counts = Counts.from_row(row)
        own = (row.ended_at,) if row.ended_at is not None else (row.started_at, row.last_lease_until)
        return cls(
            id=row.id,
            dag_run=(row.dag_id, row.dag_run_id),
            started_at=row.started_at,
            seen_at=max(at for at in (*own, row.last_ended_at) if at is not None),
            shards=row.shards or 0,
            newest_shard=row.newest_shard or 0,
            recorded=row.scored + row.rejected if row.rescore == Rescore.NOTHING else 0,
            has_written=row.state == RUNNING or counts.done > 0,
            has_speed=row.tokens > 0 and row.device_seconds > 0 and row.scored > 0,
        )


def _removable(runs: Sequence[_Run], before: datetime) -> Sequence[_Run]:
    """Return the runs that may be removed, as :meth:`OldRuns.remove` describes them.

    :param runs: all runs of a job, in the order of their ids
    """
    kept = [run for run in runs if run.seen_at >= before]
    kept += [run for run in runs if run.has_speed][-1:]
    kept += [max(runs, key=lambda run: (run.newest_shard, run.id))] if runs else []
    dag_runs = {run.dag_run for run in kept}
    others = [run for run in runs if run.dag_run not in dag_runs]
    first = min((run.started_at for run in runs if run.dag_run in dag_runs), default=before)
    return [run for run in others if run.seen_at < first or not run.has_written]


def _parts(runs: Sequence[_Run]) -> Iterator[Sequence[_Run]]:
    """Split runs into what one transaction removes."""
    part: list[_Run] = []
    for run in runs:
        if part and (len(part) == MOST_RUNS or sum(each.shards for each in part) + run.shards > MOST_SHARDS):
            yield part
            part = []
        part.append(run)
    if part:
        yield part


def _sum(runs: Sequence[_Run]) -> RemovedRuns:
    return RemovedRuns(len(runs), sum(run.shards for run in runs))
