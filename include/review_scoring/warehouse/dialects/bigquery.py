"""BigQuery: each statement is a job of its own, and no connection outlasts it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection
from sqlalchemy.types import TIMESTAMP, TypeEngine

from review_scoring.warehouse.dialects.base import Session
from review_scoring.warehouse.dialects.warehouse import Warehouse
from review_scoring.warehouse.errors import of_driver


class BigQuerySession(Session):
    """BigQuery, as the hook of its provider connects to it."""

    pings = False  # a connection is only a client, and a ping would be a job of half a second


class BigQuery(Warehouse):
    """Statements for BigQuery."""

    # Whole columns are billed with any limit but 0. Sources: metabase/metabase#6705, dbt-labs/dbt-bigquery#487.
    reads_few_rows = False
    unfit_as_ledger = "BigQuery, which has no row locks and does not enforce primary keys"

    def column_type(self, type_: TypeEngine[Any]) -> TypeEngine[Any]:
        """Return TIMESTAMP with a time zone: all its values have one, but `sqlalchemy-bigquery` reports none."""
        return TIMESTAMP(timezone=True) if isinstance(type_, TIMESTAMP) else type_

    def bytes_read(self, connection: Connection, statement: str, parameters: Any) -> int | None:
        """Return what a dry run of the statement would process, which is free.

        Source: BigQuery's documentation, "Estimate and control costs". Of a clustered table, it is an upper bound.
        """
        from google.cloud.bigquery import QueryJobConfig

        with of_driver(connection):
            cursor: Any = connection.connection.cursor()
            cursor.execute(statement, parameters, job_config=QueryJobConfig(dry_run=True, use_query_cache=False))
            found: int | None = getattr(cursor._query_rows, "total_bytes_processed", None)  # no public name
            return found
