"""Where scores go: which reviews are done, and one transaction for each chunk that is added to them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    and_,
    func,
    insert,
    literal,
    null,
    or_,
    outerjoin,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError

from review_scoring.concurrency.cancellation import StopFlag
from review_scoring.errors import ConfigurationError, JobBusyError
from review_scoring.job import ScoringJob
from review_scoring.reviews import canonical_id
from review_scoring.warehouse.dialects import by_bytes, dialect_of
from review_scoring.warehouse.engine import writing
from review_scoring.warehouse.ledger import leases as runs
from review_scoring.warehouse.ledger import preemption as wishes
from review_scoring.warehouse.ledger import shard_runs
from review_scoring.warehouse.ledger.chunk import ChunkResult, Recorded
from review_scoring.warehouse.ledger.counts import Counts
from review_scoring.warehouse.ledger.leases import Lease, RunKey
from review_scoring.warehouse.ledger.shard_runs import ShardRun
from review_scoring.warehouse.ledger.writing import write_chunk
from review_scoring.warehouse.retry import patiently
from review_scoring.warehouse.schema import Tables, tables
from review_scoring.warehouse.selection.cursor import Kept, Pass
from review_scoring.warehouse.source.review_source import EVERYTHING, KeyRange, NativeId, ReviewSource, parse_id

T = TypeVar("T")

BUSY_POLL_S = 2.0


class Rows(NamedTuple):
    """Numbers of rows in the two tables."""

    scored: int
    rejected: int


@dataclass(frozen=True)
class Ledger:
    """The scores and rejects of one job in the target database. Made by :func:`open_ledger`."""

    engine: Engine
    job_id: int
    id_type: str
    owned: Tables
    stop: StopFlag = field(default_factory=StopFlag)

    def recorded(self, ids: Sequence[str]) -> dict[str, Recorded]:
        """Return what is recorded of those of these reviews that are scored or rejected."""

        def look(connection: Connection) -> dict[str, Recorded]:
            dialect_of(connection).plan_by_key(connection)
            found: dict[str, Recorded] = {}
            scores, rejects, runs_ = self.owned.scores, self.owned.rejects, self.owned.runs
            scored = (scores.c.label, scores.c.model, scores.c.revision, scores.c.scored_at)
            # An earlier version kept model and revision of a reject with its run alone.
            model = func.coalesce(rejects.c.model, runs_.c.model)
            rejected = (null(), model, func.coalesce(rejects.c.revision, runs_.c.revision), rejects.c.first_seen)
            of_run = outerjoin(rejects, runs_, rejects.c.run_id == runs_.c.id)
            for table, place, more in ((scores, scores, scored), (rejects, of_run, rejected)):
                columns = (table.c.review_id, table.c.text_hash, table.c.source_updated_at, table.c.run_id, *more)
                for part in by_bytes(ids):
                    member = dialect_of(connection).member(table.c.review_id, part)
                    rows = select(*columns).select_from(place).where(table.c.job_id == self.job_id, member)
                    found |= {review_id: Recorded(*rest) for review_id, *rest in connection.execute(rows)}
            return found

        return self._transaction(look, "looking up what is scored", self.engine) if ids else {}

    def not_recorded(self, review_id: ColumnElement[str]) -> ColumnElement[bool]:
        """Return the condition that a review, by its canonical id in SQL, is neither scored nor rejected."""
        both = (self.owned.scores, self.owned.rejects)
        looked_up = dialect_of(self.engine).looked_up
        found = (select(literal(1)).where(t.c.job_id == self.job_id, t.c.review_id == review_id) for t in both)
        return and_(*(~looked_up(each).exists() for each in found))

    def cursor(self) -> Kept:
        """Return what is kept of the job's cursor."""
        jobs = self.owned.jobs

        def look(connection: Connection) -> Kept:
            job = connection.execute(select(jobs).where(jobs.c.id == self.job_id)).one()
            return Kept(job.cursor_seen, job.full_pass_at, dialect_of(connection).now(connection))

        return self._transaction(look, "looking up the cursor", self.engine)

    def shards_of(self, key: RunKey) -> list[ShardRun]:
        """Return what is known of a run's shards, in the order of their map indexes."""
        return self._transaction(
            lambda c: shard_runs.shards_of(c, self.owned, self.job_id, key), "looking up the run's shards", self.engine
        )

    def drop_shards(self, key: RunKey, beyond: int) -> None:
        """Give up what a run that is planned anew has of shards with map indexes from `beyond` on."""
        self._transaction(
            lambda c: shard_runs.drop_shards(c, self.owned, self.job_id, key, beyond),
            "giving up shards of an earlier plan",
        )

    def begin(
        self,
        key: RunKey,
        model: str,
        revision: str,
        *,
        keys: KeyRange = EVERYTHING,
        overlap: Callable[[KeyRange, KeyRange], bool] = lambda one, other: True,
        yields: bool = False,
        is_rescore: bool = False,
        limit: int | None = None,
        scan: str | None = None,
        wait_s: float = 0.0,
    ) -> Lease:
        """Take the lease of a range of the job for a run, waiting up to `wait_s` seconds for other runs to end.

        :param yields: keep away from a job that another run wants; without it, this run says so itself while it waits
        :param is_rescore: what was scored before is scored again: the run says nothing about its day
        :param limit: the most reviews that the run does, all its shards together; None for all
        :param scan: the pass that the run makes by itself, as text; None where its plan says it
        :param overlap: says whether two ranges have an id in common

        :raises JobBusyError: if another run still holds it then
        :raises ScoringInterruptedError: if told to stop while waiting
        """
        deadline = time.monotonic() + wait_s
        mine = (canonical_id(keys.after), canonical_id(keys.upto))

        def clashes(after: str | None, upto: str | None) -> bool:
            return overlap(keys, KeyRange(self._native(after), self._native(upto)))

        def take(connection: Connection) -> Lease:
            return runs.begin_run(
                connection,
                self.owned,
                self.job_id,
                key,
                model,
                revision,
                mine,
                clashes,
                yields=yields,
                is_rescore=is_rescore,
                limit=limit,
                scan=scan,
            )

        while True:
            try:
                return self._transaction(take, "taking the lease")
            except JobBusyError:
                if wait_s and not yields:
                    self.want(key)
                if time.monotonic() >= deadline:
                    raise
            self.stop.pause(BUSY_POLL_S)
            self.stop.check()

    def commit(self, lease: Lease, chunk: ChunkResult) -> Lease:
        """Write a chunk's scores, rejects and progress in one transaction, and return the lease moved on.

        A commit whose answer was lost is recognised by its number when it is tried again: neither lost nor doubled.

        :raises LeaseLostError: if another run took this one's place; nothing of the chunk is written then
        """
        after = lease.moved_on(chunk.counts())

        def write(connection: Connection) -> None:
            now = dialect_of(connection).now(connection)
            if runs.advance(connection, self.owned, lease, after, now, chunk.device):
                write_chunk(connection, self.owned, self.job_id, lease, chunk, now)

        self._transaction(write, "committing a chunk")
        return after

    def renew(self, lease: Lease) -> None:
        """Tell other runs that this one is alive, and rescores that it still wants the job.

        :raises LeaseLostError: if another run took this one's place
        """
        self._transaction(lambda c: runs.renew(c, self.owned, lease, dialect_of(c).now(c)), "renewing the lease")
        if lease.wanted_by is not None:
            self._transaction(
                lambda c: runs.keep_wanting(c, self.owned, self.job_id, lease, dialect_of(c).now(c)),
                "asking for the job again",
            )

    def end(
        self,
        lease: Lease,
        state: str,
        unrecordable: Mapping[str, int] | None = None,
        scan: Pass | None = None,
    ) -> Counts:
        """Give the lease back, and return the run's counts with the rows that no key can hold.

        :param state: `runs.SUCCESS` or `runs.FAILED`
        :param unrecordable: number of NULL and unusable ids that the pass over the source met
        :param scan: a pass that has now looked at all it had to
        """
        rows = sum((unrecordable or {}).values())
        ended = replace(lease, counts=lease.counts + Counts(read=rows, rejected=rows, unkeyed=unrecordable or {}))

        def write(connection: Connection) -> None:
            now = dialect_of(connection).now(connection)
            runs.end_run(connection, self.owned, ended, now, state)
            if scan is not None:
                self._end_pass(connection, scan, now)

        self._transaction(write, "ending the run")
        return ended.counts

    def want(self, key: RunKey) -> None:
        """Have rescores of the job give way to this run, until it ends or gives no sign for an hour.

        While another run's wish holds, nothing is written: rescores keep away for that one.
        """
        self._transaction(
            lambda c: wishes.want(c, self.owned, self.job_id, key.dag_run, dialect_of(c).now(c)), "asking for the job"
        )

    def no_longer_want(self, key: RunKey) -> None:
        """Let rescores of the job go on."""
        self._transaction(
            lambda c: wishes.no_longer_want(c, self.owned, self.job_id, key.dag_run), "giving the job free"
        )

    def is_wanted(self) -> bool:
        """Say whether a run with new reviews wants the job."""
        return self._transaction(
            lambda c: wishes.is_wanted(c, self.owned, self.job_id), "looking who wants the job", self.engine
        )

    def end_pass(self, scan: Pass) -> None:
        """Move the job's cursor on, now that a pass has looked at all it had to."""

        def write(connection: Connection) -> None:
            self._end_pass(connection, scan, dialect_of(connection).now(connection))

        if scan.highest is not None:
            self._transaction(write, "moving the cursor")

    def rows_of(self, run_ids: Sequence[int]) -> Rows:
        """Count the rows that these runs have written and no other run has replaced."""

        def look(connection: Connection) -> Rows:
            tables_ = (self.owned.scores, self.owned.rejects)
            member = (dialect_of(connection).member(table.c.run_id, run_ids) for table in tables_)
            numbers = [
                connection.scalar(select(func.count()).select_from(table).where(table.c.job_id == self.job_id, mine))
                for table, mine in zip(tables_, member, strict=True)
            ]
            return Rows(*(int(number or 0) for number in numbers))

        return self._transaction(look, "counting the run's rows", self.engine)

    def done_beside(self, mine: Sequence[ShardRun]) -> int:
        """Return how many reviews other runs of the job may have scored or rejected since the first of these began."""
        table = self.owned.runs
        others = and_(
            table.c.job_id == self.job_id,
            table.c.id.not_in([run.id for run in mine]),
            or_(table.c.ended_at.is_(None), table.c.ended_at >= min(run.started_at for run in mine)),
        )
        total = select(func.coalesce(func.sum(table.c.scored + table.c.rejected), 0)).where(others)
        return self._transaction(lambda c: int(c.scalar(total) or 0), "looking for other runs", self.engine)

    def _end_pass(self, connection: Connection, scan: Pass, now: datetime) -> None:
        if scan.highest is not None:
            jobs = self.owned.jobs
            full = {"full_pass_at": now} if scan.is_full else {}
            values: dict[str, Any] = {"cursor_seen": scan.highest, **full}
            connection.execute(update(jobs).where(jobs.c.id == self.job_id).values(values))

    def _native(self, canonical: str | None) -> NativeId | None:
        return None if canonical is None else parse_id(canonical, self.id_type)

    def _transaction(self, work: Callable[[Connection], T], what: str, engine: Engine | None = None) -> T:
        """Do one transaction (a writing one unless an engine is given), again if it fails for a passing reason."""

        def once() -> T:
            with (engine or writing(self.engine)).begin() as connection:
                return work(connection)

        return patiently(once, what=what, stop=self.stop)


def open_ledger(
    engine: Engine,
    job: ScoringJob,
    source: ReviewSource,
    stop: StopFlag | None = None,
    *,
    create: bool = True,
) -> Ledger | None:
    """Return the ledger of a job, registered under its name; None if it is new and not to be created.

    :raises ConfigurationError: if the name belongs to another source already
    """
    owned = tables(job.target_schema)
    jobs = owned.jobs
    identity = {"source": f"{source.name}.{source.id.name}", "id_type": source.id_type}
    same = {f"{name}.{source.id.name}" for name in (source.name, *source.other_names)}
    known = _find_job(engine, jobs, job.name)
    if known is None and create:
        try:
            with writing(engine).begin() as connection:
                now = dialect_of(connection).now(connection)
                new = {"name": job.name, "created_at": now, "last_fencing_token": 0, **identity}
                connection.execute(insert(jobs).values(new))
        except IntegrityError:
            pass  # another run registered it at the same moment
        known = _find_job(engine, jobs, job.name)
    if known is None:
        return None
    moved = known.source not in same
    if known.id_type != source.id_type or (moved and known.source != job.moved_from):
        same_ids = (
            ""
            if known.id_type != source.id_type
            else (f", or, if it holds the same reviews under the same ids, set moved_from={known.source!r} in the job")
        )
        raise ConfigurationError(
            f"job {job.name!r} was made for {known.source} ({known.id_type} ids), and is now asked to score "
            f"{identity['source']} ({source.id_type} ids); give the new source a job name of its own{same_ids}"
        )
    if moved and create:
        with writing(engine).begin() as connection:
            connection.execute(update(jobs).where(jobs.c.id == known.id).values(source=identity["source"]))
    return Ledger(engine, known.id, known.id_type, owned, stop or StopFlag())


def find_ledger(engine: Engine, job: ScoringJob, stop: StopFlag | None = None) -> Ledger:
    """Return the ledger of a job that has been scored before, without a look at its source.

    :raises ConfigurationError: if there is none
    """
    owned = tables(job.target_schema)
    known = _find_job(engine, owned.jobs, job.name)
    if known is None:
        raise ConfigurationError(f"job {job.name!r} has never been scored here; is target_conn_id right?")
    return Ledger(engine, known.id, known.id_type, owned, stop or StopFlag())


def _find_job(engine: Engine, jobs: Any, name: str) -> Any:
    with engine.connect() as connection:
        # By name: a dry run may meet tables of an earlier version, which lack the later columns.
        return connection.execute(
            select(jobs.c.id, jobs.c.source, jobs.c.id_type).where(jobs.c.name == name)
        ).one_or_none()
