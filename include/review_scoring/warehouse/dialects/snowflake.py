"""Snowflake: types that SQLAlchemy's dialect does not derive from the generic ones."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.types import BigInteger, DateTime, Numeric, TypeEngine

from review_scoring.warehouse.dialects.base import Session
from review_scoring.warehouse.dialects.warehouse import Warehouse

_TIMES = {"TIMESTAMP_NTZ": False, "TIMESTAMP_LTZ": True, "TIMESTAMP_TZ": True}
"""Snowflake's type of a time -> whether its values have a time zone."""


class SnowflakeSession(Session):
    """Snowflake, as the hook of its provider connects to it."""


class Snowflake(Warehouse):
    """Statements for Snowflake."""

    # Hybrid tables have row locks and enforced keys, but not every account and region has hybrid tables.
    unfit_as_ledger = "Snowflake, which has no row locks and does not enforce primary keys"

    def column_type(self, type_: TypeEngine[Any]) -> TypeEngine[Any]:
        """Return an integer for NUMBER(38, 0), which every integer column is, and a time for Snowflake's own."""
        if isinstance(type_, Numeric) and type_.scale == 0:
            return BigInteger()
        has_zone = _TIMES.get(type_.__visit_name__)
        return type_ if has_zone is None else DateTime(timezone=has_zone)

    def bytes_read(self, connection: Connection, statement: str, parameters: Any) -> int | None:
        """Return the bytes of the micro-partitions that EXPLAIN assigns: an upper bound, for which no warehouse runs.

        Source: Snowflake's documentation, "EXPLAIN".
        """
        plan = connection.exec_driver_sql(f"EXPLAIN USING JSON {statement}", parameters).scalar()
        try:
            return int(json.loads(str(plan))["GlobalStats"]["bytesAssigned"])
        except (KeyError, TypeError, ValueError):
            return None
