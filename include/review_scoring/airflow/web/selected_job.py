"""Selected job: the scoring job that a page shows, with read-only access to its warehouse and source."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from review_scoring.airflow.jobs import defined_jobs, no_jobs
from review_scoring.airflow.run_variables import JOB
from review_scoring.airflow.variables import variable
from review_scoring.airflow.web.databases import Databases
from review_scoring.errors import NoSuchJobError
from review_scoring.job import ScoringJob, target_conn_id
from review_scoring.warehouse.errors import lacks_tables
from review_scoring.warehouse.ledger.jobs import JobRecord, find_job
from review_scoring.warehouse.schema import tables
from review_scoring.warehouse.source.review_source import ReviewSource


@dataclass(frozen=True)
class SelectedJob:
    """The job that a page shows, and the names of all jobs that can be selected."""

    job: ScoringJob
    names: tuple[str, ...]
    databases: Databases

    @property
    def engine(self) -> Engine:
        """A read-only engine of the database that holds the job's scores."""
        return self.databases.engine(target_conn_id(self.job))

    @contextmanager
    def open(self) -> Iterator[tuple[Connection, JobRecord | None]]:
        """Begin a read-only transaction, and yield its connection with the job's record.

        The record is None for a job that has never run, also if the project's tables do not exist yet.
        """
        with self.engine.connect() as connection:
            yield connection, self._record(connection)

    def _record(self, connection: Connection) -> JobRecord | None:
        try:
            return find_job(connection, tables(self.job.target_schema), self.job.name)
        except DBAPIError as error:
            if lacks_tables(error):
                return None
            raise

    def source(self) -> ReviewSource:
        """Return the job's source."""
        return self.databases.source(self.job)


def select_job(databases: Databases, name: str | None) -> SelectedJob:
    """Return the named job, or the default job if no name is given.

    :raises NoSuchJobError: if no job is defined, or none of this name
    :raises ConfigurationError: if the settings of the job in the Variable are invalid
    """
    jobs = defined_jobs()
    if not jobs:
        raise NoSuchJobError(no_jobs())
    wanted = name or default_job(jobs)
    if wanted not in jobs:
        raise NoSuchJobError(f"there is no scoring job {wanted!r} in the Variable; it has {', '.join(jobs)}")
    return SelectedJob(ScoringJob.from_mapping(wanted, jobs[wanted]), tuple(jobs), databases)


def default_job(jobs: Mapping[str, object]) -> str:
    """Return the job that pages show by default: the one that the DAGs score, otherwise the first.

    :param jobs: at least one
    """
    chosen = variable(JOB)
    return chosen if chosen is not None and chosen in jobs else next(iter(jobs))
