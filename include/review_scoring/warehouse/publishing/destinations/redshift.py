"""Redshift as a destination: multi-row INSERTs, DELETE and INSERT in one transaction. It was never run there."""

from __future__ import annotations

from sqlalchemy import Connection, Table, insert

from review_scoring.warehouse.publishing.destinations.base import Destination, Rows, as_dicts

ROWS_PER_STATEMENT = 1_000
"""The protocol allows 32,767 parameters in a statement, and a row has nine."""


class RedshiftDestination(Destination):
    """A table in Redshift, whose keys are not enforced, and whose MERGE cannot delete some rows and update others."""

    has_key = False
    merges = False

    def _load(self, connection: Connection, staging: Table, rows: Rows) -> None:
        for start in range(0, len(rows), ROWS_PER_STATEMENT):
            connection.execute(insert(staging).values(as_dicts(staging, rows[start : start + ROWS_PER_STATEMENT])))
