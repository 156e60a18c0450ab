"""The ledger of a job: its scores, rejects, runs, leases and cursor in the target database."""

from __future__ import annotations

from functools import cached_property

from sqlalchemy import Engine, inspect

from review_scoring.concurrency.cancellation import StopFlag
from review_scoring.errors import ConfigurationError
from review_scoring.job import ScoringJob
from review_scoring.warehouse.ledger.cursor_state import JobCursor
from review_scoring.warehouse.ledger.jobs import JobRecord, find_job, register_job
from review_scoring.warehouse.ledger.leases import Leases
from review_scoring.warehouse.ledger.old_runs import OldRuns
from review_scoring.warehouse.ledger.preemption import Preemption
from review_scoring.warehouse.ledger.records import Records
from review_scoring.warehouse.ledger.shards import ShardRecords
from review_scoring.warehouse.ledger.verdicts import RunVerdicts
from review_scoring.warehouse.ledger.writing import ChunkWriter
from review_scoring.warehouse.schema import tables
from review_scoring.warehouse.source.review_source import ReviewSource


class Ledger:
    """What a run reads and writes of its job. Each part works in transactions of its own, tried again when they fail.

    :param engine: of the target database
    :param stop: ends the waiting for a database that does not answer
    """

    def __init__(self, engine: Engine, job: JobRecord, stop: StopFlag | None = None) -> None:
        self.engine = engine
        self.job = job
        self._stop = stop or StopFlag()

    @cached_property
    def records(self) -> Records:
        """Which reviews have a score or a reject."""
        return Records(self.engine, self.job, self._stop)

    @cached_property
    def leases(self) -> Leases:
        """Which run may score now."""
        return Leases(self.engine, self.job, self._stop)

    @cached_property
    def chunks(self) -> ChunkWriter:
        """Commits under a lease."""
        return ChunkWriter(self.engine, self.job, self._stop)

    @cached_property
    def shards(self) -> ShardRecords:
        """What the shards of each run have counted."""
        return ShardRecords(self.engine, self.job, self._stop)

    @cached_property
    def old_runs(self) -> OldRuns:
        """The runs that ended long ago, which are removed by retention."""
        return OldRuns(self.engine, self.job, self._stop)

    @cached_property
    def verdicts(self) -> RunVerdicts:
        """What the checks of each run said."""
        return RunVerdicts(self.engine, self.job, self._stop)

    @cached_property
    def preemption(self) -> Preemption:
        """Which run has requested the job, so that rescores yield."""
        return Preemption(self.engine, self.job, self._stop)

    @cached_property
    def cursor(self) -> JobCursor:
        """How far the job's cursor is."""
        return JobCursor(self.engine, self.job, self._stop)


def open_ledger(
    engine: Engine, job: ScoringJob, source: ReviewSource, stop: StopFlag | None = None, *, create: bool = True
) -> Ledger | None:
    """Return the ledger of a job, registered under its name; None if it is new and not to be created.

    :raises ConfigurationError: if the name is registered for another source
    """
    record = register_job(engine, job, source, create=create)
    return None if record is None else Ledger(engine, record, stop)


def find_ledger(engine: Engine, job: ScoringJob, stop: StopFlag | None = None) -> Ledger:
    """Return the ledger of a job that has been scored before, without a look at its source.

    :raises ConfigurationError: if there is none
    """
    found = lookup_ledger(engine, job, stop)
    if found is None:
        raise ConfigurationError(f"job {job.name!r} has never been scored here; is target_conn_id right?")
    return found


def lookup_ledger(engine: Engine, job: ScoringJob, stop: StopFlag | None = None) -> Ledger | None:
    """Return the ledger of a job without a look at its source; None if it has never been scored."""
    tables_ = tables(job.target_schema)
    with engine.connect() as connection:
        has_tables = inspect(connection).has_table(tables_.jobs.name, schema=tables_.schema)
        record = find_job(connection, tables_, job.name) if has_tables else None
    return None if record is None else Ledger(engine, record, stop)
