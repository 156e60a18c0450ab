"""BigQuery as a destination: load jobs, which are free and not limited as DML is, and MERGE."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, Table, Text, func

from review_scoring.warehouse.dialects import dialect_of
from review_scoring.warehouse.errors import of_driver
from review_scoring.warehouse.publishing.destinations.base import Destination, Rows, as_dicts, plain

EXPIRES_AFTER = timedelta(days=7)
"""When BigQuery drops a staging table that a killed process has left."""


class BigQueryDestination(Destination):
    """A table in a dataset of BigQuery, whose keys are not enforced."""

    has_key = False

    def _create_staging(self, connection: Connection, staging: Table) -> None:
        now = dialect_of(connection).now(connection)
        staging.dialect_options["bigquery"]["expiration_timestamp"] = now + EXPIRES_AFTER
        staging.create(connection)

    def _load(self, connection: Connection, staging: Table, rows: Rows) -> None:
        """Run a load job: an `executemany` runs a statement for each row."""
        from google.cloud import bigquery  # an extra

        opened: Any = connection.connection.driver_connection
        dialect: Any = connection.dialect
        client = opened._client  # no public name
        dataset = staging.schema or dialect.dataset_id
        place = bigquery.TableReference.from_string(f"{dataset}.{staging.name}", default_project=client.project)
        given = [{name: plain(value) for name, value in row.items()} for row in as_dicts(staging, rows)]
        with of_driver(connection):
            schema = client.get_table(place).schema
            load = bigquery.LoadJobConfig(write_disposition="WRITE_APPEND", schema=schema)
            client.load_table_from_json(given, place, job_config=load).result()

    def _sha256(self, column: Column[str]) -> ColumnElement[str]:
        return func.to_hex(func.sha256(column), type_=Text)
