"""Selected job: the scoring job that a page shows, with read-only access to its warehouse and source."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from review_scoring.airflow.web.access import ReadableDags
from review_scoring.airflow.web.databases import Databases
from review_scoring.airflow.web.known_jobs import KnownJob
from review_scoring.job import ScoringJob, target_conn_id
from review_scoring.warehouse.errors import lacks_tables
from review_scoring.warehouse.ledger.jobs import JobRecord, find_job
from review_scoring.warehouse.schema import tables
from review_scoring.warehouse.source.review_source import ReviewSource


@dataclass(frozen=True)
class SelectedJob:
    """The job that a page shows, and the names of all jobs that the user may select.

    :param readable: returns those of some DAGs that the user may read
    """

    known: KnownJob
    names: tuple[str, ...]
    databases: Databases
    readable: ReadableDags = set

    @cached_property
    def job(self) -> ScoringJob:
        """The job.

        :raises ConfigurationError: if its settings are invalid
        """
        return self.known.definition().job

    @property
    def dag_id(self) -> str:
        """The DAG that scores its new reviews."""
        return self.known.dag_id

    @property
    def engine(self) -> Engine:
        """A read-only engine of the database that holds the job's scores."""
        return self.databases.target_engine(target_conn_id(self.job))

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
