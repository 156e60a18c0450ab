"""Databases of the pages: a read-only engine for each Airflow Connection, and the inspected source of each job."""

from __future__ import annotations

import threading

from airflow.sdk import Connection
from sqlalchemy import Engine

from review_scoring.airflow.connections.engines import (
    address_of,
    as_configuration_errors,
    connection_named,
    refuse_as_target,
)
from review_scoring.airflow.connections.hooks import is_warehouse, warehouse_engine
from review_scoring.job import ScoringJob
from review_scoring.warehouse.engine import Address
from review_scoring.warehouse.readonly import HELD_S, POOL_SIZE, reading_engine
from review_scoring.warehouse.source.opening import open_source
from review_scoring.warehouse.source.review_source import ReviewSource


class Databases:
    """Engines and sources, made on first use and kept as long as the app that owns them."""

    def __init__(self) -> None:
        self._engines: dict[str, tuple[Address | Connection, Engine]] = {}
        self._sources: dict[tuple[ScoringJob, Engine], ReviewSource] = {}
        self._lock = threading.Lock()

    def engine(self, conn_id: str) -> Engine:
        """Return the read-only engine of a Connection. It is replaced when the Connection changes.

        :raises ConfigurationError: if there is no such Connection, or its type or driver is not supported
        """
        return self._engine_of(connection_named(conn_id))

    def target_engine(self, conn_id: str) -> Engine:
        """Return the read-only engine of a Connection for scores.

        :raises PreflightError: for a warehouse, which cannot hold them
        :raises ConfigurationError: as :meth:`engine`
        """
        connection = connection_named(conn_id)
        refuse_as_target(connection)
        return self._engine_of(connection)

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

    def _engine_of(self, connection: Connection) -> Engine:
        conn_id = connection.conn_id
        with as_configuration_errors(connection), self._lock:
            definition = connection if is_warehouse(connection) else address_of(connection)
            known = self._engines.get(conn_id)
            if known is None or known[0] != definition:
                if known is not None:
                    known[1].dispose()
                if isinstance(definition, Address):
                    engine = reading_engine(definition)
                else:
                    engine = warehouse_engine(definition, pool_size=POOL_SIZE, max_overflow=0, held_s=HELD_S)
                self._engines[conn_id] = known = (definition, engine)
            return known[1]
