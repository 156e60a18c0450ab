"""The shards of a run in `scoring_runs`: what each has counted, and what the tables hold of them together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, Table, and_, func, or_, select, update

from review_scoring.request import RunKey
from review_scoring.warehouse.dialects import dialect_of
from review_scoring.warehouse.ledger.counts import Counts
from review_scoring.warehouse.ledger.leases import ABANDONED, RUNNING, of_task
from review_scoring.warehouse.ledger.preemption import lock_job
from review_scoring.warehouse.ledger.transactions import JobTransactions


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


class RowCounts(NamedTuple):
    """Numbers of rows in the two tables."""

    scored: int
    rejected: int


class ShardRuns(JobTransactions):
    """The shards of a job's runs."""

    def of(self, key: RunKey) -> list[ShardRun]:
        """Return all shards of a run, whatever map index `key` has, in the order of theirs."""
        return self._read("looking up the run's shards", lambda connection: self._of(connection, key))

    def scan_of(self, key: RunKey) -> str | None:
        """Return the scan of the source that an earlier try of a task has begun; None if there was none."""
        runs = self.job.tables.runs
        mine = select(runs.c.scan).where(of_task(self.job, key), runs.c.map_index == key.map_index)
        return self._read("looking up an earlier try", lambda connection: connection.scalar(mine))

    def drop(self, key: RunKey, *, beyond: int) -> None:
        """Abandon the shards of a run that a new plan lacks: those with map indexes from `beyond` on.

        What they scored stays the run's. What the new shards meet and count again is taken out of their counts, as it
        is before another try of a shard.
        """
        self._write("abandoning shards of an earlier plan", lambda connection: self._drop(connection, key, beyond))

    def rows_of(self, run_ids: Sequence[int]) -> RowCounts:
        """Count the rows that these shards have written and no other run has replaced."""
        return self._read("counting the run's rows", lambda connection: self._rows_of(connection, run_ids))

    def done_by_others(self, mine: Sequence[ShardRun]) -> int:
        """Return how many reviews other runs of the job may have scored or rejected since the first of these began."""
        runs = self.job.tables.runs
        others = and_(
            runs.c.job_id == self.job.id,
            runs.c.id.not_in([run.id for run in mine]),
            or_(runs.c.ended_at.is_(None), runs.c.ended_at >= min(run.started_at for run in mine)),
        )
        total = select(func.coalesce(func.sum(runs.c.scored + runs.c.rejected), 0)).where(others)
        return self._read("looking up other runs", lambda connection: int(connection.scalar(total) or 0))

    def _of(self, connection: Connection, key: RunKey) -> list[ShardRun]:
        runs = self.job.tables.runs
        names = [name for name in ShardRun.__dataclass_fields__ if name != "counts"]
        return [
            ShardRun(**{name: getattr(row, name) for name in names}, counts=Counts.from_row(row))
            for row in connection.execute(select(runs).where(of_task(self.job, key)).order_by(runs.c.map_index))
        ]

    def _drop(self, connection: Connection, key: RunKey, beyond: int) -> None:
        runs = self.job.tables.runs
        lock_job(connection, self.job)  # before its runs, as for a lease
        now = dialect_of(connection).now(connection)
        dropped = select(runs).where(of_task(self.job, key), runs.c.map_index >= beyond)
        for row in connection.execute(dialect_of(connection).locked(dropped)).all():
            kept = Counts.from_row(row).before_another_try()
            ended = {"state": ABANDONED, "ended_at": now} if row.state == RUNNING else {}
            connection.execute(update(runs).where(runs.c.id == row.id).values(**kept.as_columns(), **ended))

    def _rows_of(self, connection: Connection, run_ids: Sequence[int]) -> RowCounts:
        def rows(table: Table) -> int:
            written = dialect_of(connection).in_values(table.c.run_id, run_ids)
            counted = select(func.count()).select_from(table).where(table.c.job_id == self.job.id, written)
            return int(connection.scalar(counted) or 0)

        return RowCounts(rows(self.job.tables.scores), rows(self.job.tables.rejects))
