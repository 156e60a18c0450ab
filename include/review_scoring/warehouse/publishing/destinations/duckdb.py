"""DuckDB as a destination: one JSON document for each part of the rows, and MERGE."""

from __future__ import annotations

import json

from sqlalchemy import Column, ColumnElement, Connection, Table, func, text

from review_scoring.warehouse.publishing.destinations.base import Destination, Rows, plain


class DuckDBDestination(Destination):
    """A table in a DuckDB file, which no other process may have open."""

    has_key = False  # its index keeps deleted keys until the transaction ends, and takes memory for every row

    def _load(self, connection: Connection, staging: Table, rows: Rows) -> None:
        """Load one JSON document: an `executemany` runs a statement for each row."""
        types = {column.name: column.type.compile(connection.dialect) for column in staging.columns}
        preparer = connection.dialect.identifier_preparer
        columns = ", ".join(map(preparer.quote, types))
        documents = "unnest(from_json(CAST(:document AS JSON), :types), recursive := true)"
        statement = f"INSERT INTO {preparer.format_table(staging)} ({columns}) SELECT {documents}"
        document = json.dumps(plain(rows))
        connection.execute(text(statement), {"document": document, "types": json.dumps([types])})

    def _sha256(self, column: Column[str]) -> ColumnElement[str]:
        return func.sha256(column)
