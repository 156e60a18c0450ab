"""BigQuery: each statement is a job of its own, and no connection outlasts it."""

from __future__ import annotations

from typing import Any

from sqlalchemy.types import TIMESTAMP, TypeEngine

from review_scoring.warehouse.dialects.base import Session
from review_scoring.warehouse.dialects.warehouse import Warehouse


class BigQuerySession(Session):
    """BigQuery, as the hook of its provider connects to it."""

    pings = False  # a connection is only a client, and a ping would be a job of half a second


class BigQuery(Warehouse):
    """Statements for BigQuery."""

    unfit_as_ledger = "BigQuery, which has no row locks and does not enforce primary keys"

    def column_type(self, type_: TypeEngine[Any]) -> TypeEngine[Any]:
        """Return TIMESTAMP with a time zone: all its values have one, but `sqlalchemy-bigquery` reports none."""
        return TIMESTAMP(timezone=True) if isinstance(type_, TIMESTAMP) else type_
