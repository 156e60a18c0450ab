"""SQLite: one writer at a time, explicit transactions, own upsert, and ids that are not valid UTF-8."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, LargeBinary, Table, Text, cast, event, func, literal
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry
from sqlalchemy.types import TypeEngine

from review_scoring.reviews import screen_unicode
from review_scoring.warehouse.dialects.base import BUSY_TIMEOUT_S, Dialect, Row, Session


class SQLiteSession(Session):
    """SQLite with explicit transactions. Invalid UTF-8 is passed through, to be rejected row by row."""

    pings = False

    def connect_args(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Set the timeout for a locked file."""
        return {} if "timeout" in given else {"timeout": BUSY_TIMEOUT_S}

    def prepare(self, engine: Engine) -> None:
        """Listen to new connections and transactions."""
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)


class SQLite(Dialect):
    """SQLite: one writer at a time, explicit transactions, own upsert, and ids that are not valid UTF-8."""

    clock = func.strftime("%Y-%m-%d %H:%M:%f000", "now")
    single_writer = True

    def upsert(self, connection: Connection, table: Table, rows: Sequence[Row]) -> None:
        """Run one prepared statement for each row."""
        if not rows:
            return
        statement = sqlite.insert(table)
        keys = [column.name for column in table.primary_key]
        changes = {c.name: statement.excluded[c.name] for c in table.columns if c.name not in keys}
        connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=changes), list(rows))

    def bound(self, value: object, type_: TypeEngine[Any]) -> ColumnElement[Any]:
        """Bind an id unchanged; one that is not valid UTF-8 is bound as bytes."""
        if isinstance(value, str) and screen_unicode(value) is not None:
            return cast(literal(value.encode("utf-8", "surrogateescape"), LargeBinary), Text)
        return literal(value, type_)

    def id_as_text(self, column: ColumnElement[Any]) -> ColumnElement[str] | None:
        """Cast to text, which prints integers and strings as Python does."""
        return cast(column, Text)


def _prepare_sqlite(connection: DBAPIConnection, _record: ConnectionPoolEntry) -> None:
    """Leave transactions to `_begin_sqlite`, and pass invalid UTF-8 through, to be rejected row by row."""
    assert isinstance(connection, sqlite3.Connection)
    connection.isolation_level = None
    connection.text_factory = _decode


def _decode(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get("review_scoring_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
