"""DuckDB: a file that one process opens at a time; the plain path does the rest."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Integer, Select, String, Text, Uuid, cast

from review_scoring.warehouse.dialects.base import Dialect, Session


class DuckDBSession(Session):
    """DuckDB: in this process, with transactions of its own."""

    over_network = False


class DuckDB(Dialect):
    """DuckDB: a file that one process opens at a time; the plain path does the rest."""

    single_writer = True

    def locked(self, statement: Select[Any]) -> Select[Any]:
        """Leave the statement as it is: nobody else is there, and a run writes with one thread."""
        return statement

    def id_as_text(self, column: ColumnElement[Any]) -> ColumnElement[str] | None:
        """Cast to text, which is compared byte by byte unless a column says otherwise."""
        is_exact = isinstance(column.type, Integer | Uuid | String) and not getattr(column.type, "collation", None)
        return cast(column, Text) if is_exact else None
