"""DuckDB: one process at a time opens a file; standard SQL otherwise."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Integer, Select, String, Text, Uuid, cast

from review_scoring.warehouse.dialects.base import Dialect, Session


class DuckDBSession(Session):
    """DuckDB, which runs in this process."""

    pings = False


class DuckDB(Dialect):
    """Statements for DuckDB."""

    single_writer = True

    def locked(self, statement: Select[Any]) -> Select[Any]:
        """Return the statement unchanged: no other process has the file open, and a run writes with one thread."""
        return statement

    def id_as_text(self, column: ColumnElement[Any]) -> ColumnElement[str] | None:
        """Cast to text, which is compared byte by byte unless a column has another collation."""
        is_exact = isinstance(column.type, Integer | Uuid | String) and not getattr(column.type, "collation", None)
        return cast(column, Text) if is_exact else None
