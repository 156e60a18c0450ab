"""The shards of a run in `scoring_shards`: what each has counted, and what the tables hold of them together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, ScalarSelect, Table, and_, func, or_, select, update

from review_scoring.job import Rescore
from review_scoring.request import RunKey, RunRequest
from review_scoring.warehouse.dialects import dialect_of
from review_scoring.warehouse.ledger.counts import NONE, Counts, Tally
from review_scoring.warehouse.ledger.models import ScoredModels
from review_scoring.warehouse.ledger.preemption import lock_job
from review_scoring.warehouse.ledger.runs import add_up, begin_run, end_run, lock_run, of_task
from review_scoring.warehouse.ledger.transactions import JobTransactions
from review_scoring.warehouse.schema import ABANDONED, FAILED, REJECT, RUNNING, SCORE, SUCCESS
from review_scoring.warehouse.source.stretches import ReadTo


@dataclass(frozen=True)
class ShardRecord:
    """What `scoring_shards` holds of one shard of a run.

    :param ended_early: it ended before its reviews did
    :param read_to: how far it has come, over all its tries since it was planned; None if unknown
    """

    id: int
    map_index: int
    state: str
    counts: Counts
    model: str
    revision: str
    device: str | None
    ended_early: bool
    read_to: ReadTo | None
    started_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True)
class BeyondBudget:
    """What a run leaves, counted when it was planned.

    :param waiting: reviews beyond its budget
    :param excluded: reviews that the job's `start_after` excludes; None without one
    :param waiting_since: the time of the oldest review that waits; None if unknown
    """

    waiting: Tally = NONE
    excluded: Tally | None = None
    waiting_since: datetime | None = None


NOTHING_LEFT = BeyondBudget()


class PastSpeed(NamedTuple):
    """How fast the last run of a job classified, one task for itself, and what the job has recorded."""

    tokens_per_second: float
    tokens_per_review: float
    recorded: int


class RowCounts(NamedTuple):
    """Numbers of rows in the two tables."""

    scored: int
    rejected: int


class ShardRecords(JobTransactions):
    """The shards of a job's runs."""

    def of(self, key: RunKey) -> list[ShardRecord]:
        """Return all shards of a run, whatever map index `key` has, in the order of theirs."""
        return self._read("looking up the run's shards", lambda connection: self._of(connection, key))

    def scan_of(self, key: RunKey) -> str | None:
        """Return the scan of the source that an earlier try of a task has begun; None if there was none."""
        runs, shards = self.job.tables.runs, self.job.tables.shards
        mine = select(shards.c.scan).join(runs, runs.c.id == shards.c.run_id)
        mine = mine.where(of_task(self.job, key), shards.c.map_index == key.map_index)
        return self._read("looking up an earlier try", lambda connection: connection.scalar(mine))

    def beyond_budget(self, key: RunKey) -> BeyondBudget:
        """Return what a run leaves, whatever map index `key` has."""
        return self._read("looking up what waits", lambda connection: self._beyond(connection, key))

    def plan(self, request: RunRequest, shards: int, left: BeyondBudget = NOTHING_LEFT) -> None:
        """Record a run that is planned as this many shards, and abandon those of an earlier plan.

        What they scored stays the run's. What the new shards meet and count again is taken out of the counts of those
        that the new plan lacks, as it is before another try of a shard.
        """
        model_id = ScoredModels(self.engine, self.job, self.stop).id_of(request.model, request.revision)
        self._write("recording the plan", lambda connection: self._plan(connection, request, model_id, shards, left))

    def abandon(self, key: RunKey) -> None:
        """Take the leases of all shards of a run that are running."""
        self._write("ending the earlier plan", lambda connection: self._abandon(connection, key))

    def finish(self, key: RunKey, *, succeeded: bool) -> None:
        """Record whether the tables hold what a run has counted. A run with shards to come does not succeed yet."""
        self._write("finishing the run", lambda c: end_run(c, self.job, key, succeeded=succeeded))

    def recorded(self) -> int:
        """Return about how many reviews of the job have a score or a reject, without counting them."""
        jobs, runs = self.job.tables.jobs, self.job.tables.runs
        done = select(func.coalesce(func.sum(runs.c.scored + runs.c.rejected), 0))
        done = done.where(runs.c.job_id == self.job.id, runs.c.rescore == Rescore.NOTHING.value)
        # In one statement, so that a run that is removed meanwhile counts once.
        total = select(jobs.c.uncounted_reviews + done.scalar_subquery()).where(jobs.c.id == self.job.id)
        return self._read("looking up earlier runs", lambda connection: max(int(connection.scalar(total) or 0), 0))

    def past_speed(self) -> PastSpeed | None:
        """Return the speed of the last run that classified something; None if there was none."""
        runs = self.job.tables.runs
        last = select(runs.c.tokens, runs.c.scored, runs.c.device_seconds).order_by(runs.c.id.desc()).limit(1)
        last = last.where(runs.c.job_id == self.job.id, runs.c.tokens > 0, runs.c.device_seconds > 0, runs.c.scored > 0)
        row = self._read("looking up the last run", lambda connection: connection.execute(last).one_or_none())
        if row is None:
            return None
        return PastSpeed(row.tokens / row.device_seconds, row.tokens / row.scored, self.recorded())

    def fail(self, key: RunKey) -> None:
        """Record that the tables do not hold what a shard has counted: until it begins again, it has failed."""
        self._write("failing the shard", lambda connection: self._fail(connection, key))

    def rows_of(self, shard_ids: Sequence[int]) -> RowCounts:
        """Count the rows that these shards have written and no other run has replaced, those erased since included."""
        return self._read("counting the run's rows", lambda connection: self._rows_of(connection, shard_ids))

    def done_by_others(self, mine: Sequence[ShardRecord]) -> int:
        """Return how many reviews other shards of the job may have done since the first of these began."""
        runs, shards = self.job.tables.runs, self.job.tables.shards
        others = and_(
            runs.c.job_id == self.job.id,
            shards.c.id.not_in([shard.id for shard in mine]),
            or_(shards.c.ended_at.is_(None), shards.c.ended_at >= min(shard.started_at for shard in mine)),
        )
        done = func.coalesce(func.sum(shards.c.scored + shards.c.rejected), 0)
        total = select(done).join_from(shards, runs, runs.c.id == shards.c.run_id).where(others)
        return self._read("looking up other runs", lambda connection: int(connection.scalar(total) or 0))

    def _of(self, connection: Connection, key: RunKey) -> list[ShardRecord]:
        runs, shards, models = self.job.tables.runs, self.job.tables.shards, self.job.tables.models
        rows = (
            select(shards, models.c.name.label("model"), models.c.revision)
            .join(runs, runs.c.id == shards.c.run_id)
            .join(models, models.c.id == shards.c.model_id)
            .where(of_task(self.job, key))
            .order_by(shards.c.map_index)
        )
        names = ShardRecord.__dataclass_fields__.keys() - {"counts", "read_to"}
        return [
            ShardRecord(
                **{name: getattr(row, name) for name in names},
                counts=Counts.from_row(row),
                read_to=None if row.read_to is None else ReadTo.from_text(row.read_to),
            )
            for row in connection.execute(rows)
        ]

    def _beyond(self, connection: Connection, key: RunKey) -> BeyondBudget:
        runs = self.job.tables.runs
        counted = (runs.c.waiting, runs.c.waiting_is_exact, runs.c.excluded, runs.c.excluded_is_exact)
        row = connection.execute(select(*counted, runs.c.waiting_since).where(of_task(self.job, key))).one_or_none()
        if row is None or row.waiting is None:
            return BeyondBudget()
        excluded = None if row.excluded is None else Tally(row.excluded, row.excluded_is_exact)
        return BeyondBudget(Tally(row.waiting, row.waiting_is_exact), excluded, row.waiting_since)

    def _plan(
        self, connection: Connection, request: RunRequest, model_id: int, planned: int, left: BeyondBudget
    ) -> None:
        runs, shards = self.job.tables.runs, self.job.tables.shards
        lock_job(connection, self.job)
        now = dialect_of(connection).now(connection)
        run_id = begin_run(connection, self.job, request, model_id, now, shards=planned)
        excluded = left.excluded
        values: dict[str, Any] = {
            "waiting": left.waiting.reviews,
            "waiting_is_exact": left.waiting.is_exact,
            "waiting_since": left.waiting_since,
            "excluded": None if excluded is None else excluded.reviews,
            "excluded_is_exact": None if excluded is None else excluded.is_exact,
        }
        connection.execute(update(runs).where(runs.c.id == run_id).values(values))
        earlier = select(shards).where(shards.c.run_id == run_id)
        for row in connection.execute(dialect_of(connection).locked(earlier)).all():
            # `read_to` refers to the earlier plan. `lease_until` shows retention that an old run is in progress again,
            # before its first shard begins.
            changes: dict[str, Any] = {"read_to": None, "lease_until": now}
            if row.state == RUNNING:
                changes |= {"state": ABANDONED, "ended_at": now}
            if row.map_index >= planned:
                changes |= Counts.from_row(row).before_another_try().as_columns()
            connection.execute(update(shards).where(shards.c.id == row.id).values(**changes))

    def _abandon(self, connection: Connection, key: RunKey) -> None:
        runs, shards = self.job.tables.runs, self.job.tables.shards
        lock_job(connection, self.job)
        run_id = connection.scalar(select(runs.c.id).where(of_task(self.job, key)))
        if run_id is not None:
            lock_run(connection, self.job, run_id)
            ended = {"state": ABANDONED, "ended_at": dialect_of(connection).now(connection)}
            running = (shards.c.run_id == run_id, shards.c.state == RUNNING)
            connection.execute(update(shards).where(*running).values(ended))

    def _fail(self, connection: Connection, key: RunKey) -> None:
        runs, shards = self.job.tables.runs, self.job.tables.shards
        mine = select(shards.c.id, shards.c.run_id).join(runs, runs.c.id == shards.c.run_id)
        mine = mine.where(of_task(self.job, key), shards.c.map_index == key.map_index)
        found = connection.execute(mine).one_or_none()
        if found is None:
            return
        lock_run(connection, self.job, found.run_id)
        done = (shards.c.id == found.id, shards.c.state == SUCCESS)  # another try may have begun
        if connection.execute(update(shards).where(*done).values(state=FAILED)).rowcount:
            add_up(connection, self.job, found.run_id, dialect_of(connection).now(connection))

    def _rows_of(self, connection: Connection, shard_ids: Sequence[int]) -> RowCounts:
        erasures, dialect = self.job.tables.erasures, dialect_of(connection)

        def count(table: Table, *where: ColumnElement[bool]) -> ScalarSelect[int]:
            written = dialect.in_values(table.c.shard_id, shard_ids)
            counted = select(func.count()).select_from(table).where(table.c.job_id == self.job.id, written, *where)
            return counted.scalar_subquery()

        # In one statement: a review that is erased meanwhile is counted once, as a row or as an erasure.
        scored = count(self.job.tables.scores) + count(erasures, erasures.c.erased_from == SCORE)
        rejected = count(self.job.tables.rejects) + count(erasures, erasures.c.erased_from == REJECT)
        return RowCounts(*map(int, connection.execute(select(scored, rejected)).one()))
