"""Databases of the pages: a read-only engine for each Airflow Connection, and the inspected source of each job."""

from __future__ import annotations

import threading

from sqlalchemy import Engine

from review_scoring.airflow.connections.engines import address_of, as_configuration_errors, connection_named
from review_scoring.job import ScoringJob
from review_scoring.warehouse.engine import Address
from review_scoring.warehouse.readonly import reading_engine
from review_scoring.warehouse.source.opening import open_source
from review_scoring.warehouse.source.review_source import ReviewSource


class Databases:
    """Engines and sources, made on first use and kept as long as the app that owns them."""

    def __init__(self) -> None:
        self._engines: dict[str, tuple[Address, Engine]] = {}
        self._sources: dict[tuple[ScoringJob, Engine], ReviewSource] = {}
        self._lock = threading.Lock()

    def engine(self, conn_id: str) -> Engine:
        """Return the read-only engine of a Connection. It is replaced when the Connection changes.

        :raises ConfigurationError: if there is no such Connection, or its type or driver is not supported
        """
        connection = connection_named(conn_id)
        with as_configuration_errors(connection), self._lock:
            address = address_of(connection)
            known = self._engines.get(conn_id)
            if known is None or known[0] != address:
                if known is not None:
                    known[1].dispose()
                self._engines[conn_id] = known = (address, reading_engine(address))
            return known[1]

    def source(self, job: ScoringJob) -> ReviewSource:
        """Return a job's source. Its columns are inspected once for each engine.

        :raises PreflightError: if the source cannot be read as the job describes it
        """
        key = (job, self.engine(job.source_conn_id))
        if key not in self._sources:
            self._sources[key] = open_source(key[1], job)
        return self._sources[key]

    def dispose(self) -> None:
        """Close all connections, and forget engines and sources."""
        with self._lock:
            for _, engine in self._engines.values():
                engine.dispose()
            self._engines.clear()
            self._sources.clear()
