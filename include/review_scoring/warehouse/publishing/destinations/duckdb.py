"""DuckDB as a destination: one JSON document for each part of the rows, and MERGE."""

from __future__ import annotations

import json

from sqlalchemy import Column, ColumnElement, Connection, Table, Text, func, text

from review_scoring.warehouse.publishing.destinations.base import Destination, Rows, plain


class DuckDBDestination(Destination):
    """A table in a DuckDB file, which no other process may have open."""

    has_key = False  # its index keeps deleted keys until the transaction ends, and takes memory for every row

    def _load(self, connection: Connection, staging: Table, rows: Rows) -> None:
        """Load one JSON document, with a list for each column: the quickest way without a library for data frames."""
        types = {column.name: [column.type.compile(connection.dialect)] for column in staging.columns}
        preparer = connection.dialect.identifier_preparer
        columns = [preparer.quote(name) for name in types]
        lists = ", ".join(f"unnest(loaded.{each})" for each in columns)
        document = "SELECT from_json(CAST(:document AS JSON), :types) AS loaded"
        into = f"{preparer.format_table(staging)} ({', '.join(columns)})"
        statement = f"INSERT INTO {into} SELECT {lists} FROM ({document})"  # noqa: S608 our own names
        values = dict(zip(types, zip(*rows, strict=True), strict=True))
        given = {"document": json.dumps(values, default=plain), "types": json.dumps(types)}
        connection.execute(text(statement), given)

    def _sha256(self, column: Column[str]) -> ColumnElement[str]:
        return func.sha256(column, type_=Text)
