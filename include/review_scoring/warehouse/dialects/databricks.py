"""Databricks: few parameters in a statement. No test runs on it: there is no server to run them on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, bindparam, func, literal_column, select
from sqlalchemy.types import Integer, Numeric, Text

from review_scoring.warehouse.dialects.base import Session
from review_scoring.warehouse.dialects.warehouse import Warehouse


class DatabricksSession(Session):
    """Databricks, as the hook of its provider connects to it."""


class Databricks(Warehouse):
    """Statements for Databricks."""

    unfit_as_ledger = "Databricks, which has no row locks and does not enforce primary keys"

    def in_values(self, column: ColumnElement[Any], values: Sequence[Any]) -> ColumnElement[bool]:
        """Send all values as one JSON text: a statement has 255 parameters at most.

        Source: the documentation of the Databricks SQL Connector for Python, "Native parameters".
        """
        element = {Integer: "bigint", Numeric: "decimal(38, 0)"}
        type_ = next((name for kind, name in element.items() if isinstance(column.type, kind)), "string")
        document = bindparam(None, json.dumps(list(values), default=str, ensure_ascii=False), Text)
        parsed = func.from_json(document, literal_column(f"'array<{type_}>'"))
        return column.in_(select(func.explode(parsed).label("id")))
