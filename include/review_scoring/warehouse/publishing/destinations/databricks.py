"""Databricks as a destination: one JSON document for each part of the rows, and MERGE. It was never run there."""

from __future__ import annotations

import json

from sqlalchemy import Connection, Table, text

from review_scoring.warehouse.publishing.destinations.base import Destination, Rows, as_dicts, plain

ROWS_PER_STATEMENT = 2_000
"""Rows of one document, some 500 kB."""


class DatabricksDestination(Destination):
    """A Delta table, whose keys are not enforced. Each statement is a transaction."""

    has_key = False

    def _load(self, connection: Connection, staging: Table, rows: Rows) -> None:
        """Load JSON documents: a statement may have 255 parameters, which is less than 30 rows."""
        types = {column.name: column.type.compile(connection.dialect) for column in staging.columns}
        structure = ", ".join(f"{name}: {type_}" for name, type_ in types.items())
        columns = ", ".join(types)
        name = connection.dialect.identifier_preparer.format_table(staging)
        documents = f"SELECT explode(from_json(:document, 'ARRAY<STRUCT<{structure}>>')) AS loaded"
        statement = text(f"INSERT INTO {name} ({columns}) SELECT loaded.* FROM ({documents})")  # noqa: S608 our names
        for start in range(0, len(rows), ROWS_PER_STATEMENT):
            part = rows[start : start + ROWS_PER_STATEMENT]
            connection.execute(statement, {"document": json.dumps(as_dicts(staging, part), default=plain)})
