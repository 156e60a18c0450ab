"""Insert one row and return its id, or insert many rows in batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Table, insert

ROWS_PER_INSERT = 1000


def insert_one(connection: Connection, into: Table, values: Mapping[str, Any]) -> int:
    """Insert a row, and return its id."""
    inserted = connection.execute(insert(into).values(values)).inserted_primary_key
    assert inserted is not None
    return int(inserted[0])


def insert_rows(connection: Connection, into: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows, `ROWS_PER_INSERT` at a time."""
    for start in range(0, len(rows), ROWS_PER_INSERT):
        connection.execute(insert(into), list(rows[start : start + ROWS_PER_INSERT]))
