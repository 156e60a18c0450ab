"""PostgreSQL as a destination: COPY into an unlogged table, DELETE and INSERT in one transaction."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, Table, Text, func, literal_column
from sqlalchemy.schema import CreateTable

from review_scoring.warehouse.errors import of_driver
from review_scoring.warehouse.publishing.destinations.base import Destination, Rows


class PostgreSQLDestination(Destination):
    """A table in PostgreSQL."""

    merges = False  # MERGE is missing before PostgreSQL 15

    def _create_staging(self, connection: Connection, staging: Table) -> None:
        """Create it unlogged: a crash of the server may empty it, and the table then keeps what it had."""
        statement = str(CreateTable(staging).compile(connection))
        connection.exec_driver_sql(statement.replace("CREATE TABLE", "CREATE UNLOGGED TABLE", 1))

    def _load(self, connection: Connection, staging: Table, rows: Rows) -> None:
        preparer = connection.dialect.identifier_preparer
        columns = ", ".join(map(preparer.quote, staging.columns.keys()))
        cursor: Any = connection.connection.cursor()
        with (
            of_driver(connection),
            cursor,
            cursor.copy(f"COPY {preparer.format_table(staging)} ({columns}) FROM STDIN") as copy,
        ):
            for row in rows:
                copy.write_row(row)

    def _sha256(self, column: Column[str]) -> ColumnElement[str]:
        digest = func.sha256(func.convert_to(column, literal_column("'UTF8'")))
        return func.encode(digest, literal_column("'hex'"), type_=Text)
