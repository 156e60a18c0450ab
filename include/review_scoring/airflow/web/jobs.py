"""The pages' way to the warehouse: which jobs there are, and read-only engines to them, made once."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from review_scoring.airflow.connections.engines import address_of, connection_named, told_as_configuration
from review_scoring.airflow.jobs import defined_jobs, no_jobs
from review_scoring.airflow.run_settings import JOB
from review_scoring.airflow.variables import variable
from review_scoring.errors import NoSuchJobError
from review_scoring.job import ScoringJob
from review_scoring.run.preflight import target_conn_id
from review_scoring.warehouse.engine import Address
from review_scoring.warehouse.errors import lacks_tables
from review_scoring.warehouse.ledger.jobs import JobRecord, find_job
from review_scoring.warehouse.ledger.ledger import Ledger
from review_scoring.warehouse.readonly import reading_engine
from review_scoring.warehouse.schema import Tables, tables
from review_scoring.warehouse.source.opening import open_source
from review_scoring.warehouse.source.review_source import ReviewSource


@dataclass(frozen=True)
class JobPlace:
    """A job, and the names of all jobs that can be shown."""

    job: ScoringJob
    names: tuple[str, ...]

    @property
    def owned(self) -> Tables:
        """The project's tables of the job."""
        return tables(self.job.target_schema)

    @property
    def engine(self) -> Engine:
        """A read-only engine of the warehouse that holds the job's scores."""
        return _engine(target_conn_id(self.job))

    def record(self, connection: Connection) -> JobRecord | None:
        """Return what the warehouse knows of the job; None if it never ran, or the tables are not there yet."""
        try:
            return find_job(connection, self.owned, self.job.name)
        except DBAPIError as error:
            if lacks_tables(error):
                return None
            raise

    def source(self) -> ReviewSource:
        """Return the job's source, looked at once in the life of this process."""
        key = (self.job, _engine(self.job.source_conn_id))
        if key not in _sources:
            _sources[key] = open_source(key[1], self.job)
        return _sources[key]

    def ledger(self, record: JobRecord) -> Ledger:
        """Return the ledger of the job, to look into."""
        return Ledger(self.engine, record)


def place_of(name: str | None) -> JobPlace:
    """Return the job to show: the one that is named, or the one that is shown first.

    :raises NoSuchJobError: where no job is defined, or not this one
    :raises ConfigurationError: where its settings in the Variable are wrong
    """
    jobs = defined_jobs()
    if not jobs:
        raise NoSuchJobError(no_jobs())
    wanted = name or shown_first(jobs)
    if wanted not in jobs:
        raise NoSuchJobError(f"there is no scoring job {wanted!r} in the Variable; it has {', '.join(jobs)}")
    return JobPlace(ScoringJob.from_mapping(wanted, jobs[wanted]), tuple(jobs))


def shown_first(jobs: Mapping[str, object]) -> str:
    """Return the job that is shown where none is named: the one that the DAGs are about, or else the first.

    :param jobs: one at least
    """
    chosen = variable(JOB)
    return chosen if chosen is not None and chosen in jobs else next(iter(jobs))


_engines: dict[str, tuple[Address, Engine]] = {}
_sources: dict[tuple[ScoringJob, Engine], ReviewSource] = {}
_lock = threading.Lock()


def _engine(conn_id: str) -> Engine:
    """Return the engine of a Connection, a new one when the Connection was changed.

    :raises ConfigurationError: if there is no such Connection, or its type or driver is not supported
    """
    connection = connection_named(conn_id)
    with told_as_configuration(connection), _lock:
        address = address_of(connection)
        known = _engines.get(conn_id)
        if known is None or known[0] != address:
            if known is not None:
                known[1].dispose()
            _engines[conn_id] = known = (address, reading_engine(address))
        return known[1]
