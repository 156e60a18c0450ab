"""PostgreSQL: arrays instead of IN lists, JSON upsert, forced index plans, and sessions behind a pooler."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Date,
    DateTime,
    Engine,
    FromClause,
    Select,
    Table,
    Text,
    any_,
    bindparam,
    cast,
    collate,
    column,
    create_mock_engine,
    event,
    func,
    literal,
    literal_column,
    select,
    table,
)
from sqlalchemy import Dialect as SQLAlchemyDialect
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry
from sqlalchemy.types import TypeEngine

from review_scoring.warehouse.dialects.base import CONNECT_TIMEOUT_S, Dialect, Row, Session

DDL_WAIT = "500ms"
"""How long DDL waits for a lock: everyone who wants the table next, such as a commit, waits behind it."""

MIGRATION_LOCK = 0x7265766965775F73
"""Key of the advisory lock under which the tables are migrated ("review_s" in ASCII)."""

LOCK_POLL_S = 0.1
"""Seconds between two attempts to take it."""


_PG_CLASS = table("pg_class", column("oid"), column("reltuples")).c


class PostgreSQLSession(Session):
    """PostgreSQL, possibly behind a pooler that runs each transaction in another session of the server.

    So nothing is set for a session: what cannot be set at login is set for each transaction.
    """

    isolation_level = "READ COMMITTED"
    begin = "SELECT set_config('DateStyle', 'ISO, MDY', true)"  # the only format that psycopg reads

    def connect_args(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Set the client encoding, no prepared statements, and TCP keepalives."""
        defaults = {
            "connect_timeout": CONNECT_TIMEOUT_S,
            "application_name": "review_scoring",
            "prepare_threshold": None,  # a pooler loses them; statements are few and large, so this costs nothing
            "keepalives": "1",
            "keepalives_idle": "30",
            "keepalives_interval": "10",
            "keepalives_count": "6",
            "tcp_user_timeout": "120000",
        }
        return {**{name: value for name, value in defaults.items() if name not in given}, "client_encoding": "UTF8"}

    def prepare(self, engine: Engine) -> None:
        """Listen to new connections and transactions."""
        event.listen(engine, "do_connect", _connect_postgresql)
        event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(self.begin))


class PostgreSQL(Dialect):
    """Statements for PostgreSQL."""

    clock = func.clock_timestamp()
    compares_rows = True
    _exact = (
        postgresql.INTEGER,
        postgresql.BIGINT,
        postgresql.SMALLINT,
        postgresql.UUID,
        postgresql.TEXT,
        postgresql.VARCHAR,
    )

    def upsert(self, connection: Connection, table: Table, rows: Sequence[Row]) -> None:
        """Send all rows as one JSON document: a fifth of the client's work for arrays, without a staging table."""
        if not rows:
            return
        # Not as ASCII: a database with the encoding SQL_ASCII refuses escapes of other characters.
        document = bindparam("document", json.dumps(list(rows), default=_as_json, ensure_ascii=False), Text)
        typed = [column(each.name, _plain(each.type)) for each in table.columns]
        incoming = func.json_to_recordset(cast(document, postgresql.JSON)).table_valued(*typed, name="incoming")
        source = incoming.render_derived(with_types=True)
        names = [each.name for each in table.columns]
        statement = postgresql.insert(table).from_select(names, select(*(source.c[name] for name in names)))
        keys = [column.name for column in table.primary_key]
        changes = {name: statement.excluded[name] for name in names if name not in keys}
        connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=changes))

    def in_values(self, column: ColumnElement[Any], values: Sequence[Any]) -> ColumnElement[bool]:
        """Compare with one array, so that the plan does not depend on the number of values."""
        return column == any_(cast(bindparam(None, list(values)), postgresql.ARRAY(_plain(column.type))))

    def bound(self, value: object, type_: TypeEngine[Any]) -> ColumnElement[Any]:
        """Bind and cast: `char(5)` and `varchar` compare differently."""
        return cast(literal(value, type_), type_)

    def id_as_text(self, column: ColumnElement[Any]) -> ColumnElement[str] | None:
        """Cast to text, compared byte by byte. `char(n)`, `citext` and `numeric` print differently from Python."""
        return collate(cast(column, Text), "C") if type(column.type) in self._exact else None

    def time_as_text(self, column: ColumnElement[Any]) -> ColumnElement[Any]:
        """Return seconds since 1970 as text: independent of the session's time zone, and `infinity` can be fetched."""
        is_time = isinstance(column.type, DateTime | Date)
        return cast(func.extract("epoch", column) if is_time else column, Text)

    def limit_statements(self, connection: Connection, seconds: int) -> None:
        """Set the statement timeout of the transaction."""
        connection.execute(select(func.set_config("statement_timeout", f"{seconds}s", literal(True))))

    def estimated_rows(self, connection: Connection, table: FromClause) -> int | None:
        """Return `reltuples`, which ANALYZE and autovacuum update; -1 before the first time, 0 for a view."""
        name = connection.dialect.identifier_preparer.format_table(table)
        known = connection.scalar(select(_PG_CLASS.reltuples).where(_PG_CLASS.oid == func.to_regclass(name)))
        return int(known) if known and known > 0 else None

    def as_probe(self, statement: Select[Any]) -> Select[Any]:
        """Add an OFFSET, which prevents the planner from turning the subquery into a join."""
        return statement.offset(literal_column("0"))

    def force_index_plans(self, connection: Connection, *, has_index: bool = True, bitmaps: bool = False) -> None:
        """Disable every plan but probing an index row by row. Plans of views are not changed.

        A table that grows by a chunk a second has no statistics yet: the planner takes it for empty and scans it for
        every page, which takes quadratic time. `jit` would compile for seconds what runs for milliseconds.
        """
        if not has_index:
            return
        off = ["enable_seqscan", "enable_hashjoin", "enable_mergejoin", "enable_material", "jit"]
        off += [] if bitmaps else ["enable_bitmapscan"]
        connection.execute(select(*(func.set_config(setting, "off", literal(True)) for setting in off)))

    @contextmanager
    def exclusive(self, connection: Connection, schema: str | None) -> Iterator[None]:
        """Take an advisory lock, which is released at the end of the transaction.

        Whoever waits for it asks again and again, in a new transaction: an index that is built concurrently waits for
        every statement that began before it, and a pooler has no session for the holder while others keep theirs. So
        nothing may have been done in the transaction.

        The statements have no parameters: psycopg then uses the simple protocol, and no portal of the holder keeps a
        snapshot. The holder is idle while another connection migrates, for as long as it takes.
        """
        del schema
        while not connection.exec_driver_sql(f"SELECT pg_try_advisory_xact_lock({MIGRATION_LOCK})").scalar():
            connection.connection.rollback()
            time.sleep(LOCK_POLL_S)
            connection.exec_driver_sql(PostgreSQLSession.begin)
        connection.exec_driver_sql("SELECT set_config('idle_in_transaction_session_timeout', '0', true)")
        yield

    @contextmanager
    def brief_waits(self, connection: Connection) -> Iterator[None]:
        """Set a lock timeout for each transaction. An index that is built concurrently waits as long as it must."""
        limit = select(func.set_config("lock_timeout", DDL_WAIT, literal(True)))
        event.listen(connection, "begin", lambda begun: begun.execute(limit))
        yield


def _as_json(value: datetime | bytes) -> str:
    """Return a time, or bytes in the form that PostgreSQL reads."""
    return rf"\x{value.hex()}" if isinstance(value, bytes) else value.isoformat()


_POSTGRESQL = create_mock_engine("postgresql+psycopg://", executor=lambda *_: None).dialect


def _plain(type_: TypeEngine[Any]) -> TypeEngine[Any]:
    """Return the type of a column on PostgreSQL, as the element type of an array."""
    return type_.dialect_impl(_POSTGRESQL)


def _connect_postgresql(
    _dialect: SQLAlchemyDialect, _record: ConnectionPoolEntry, arguments: Any, parameters: dict[str, Any]
) -> DBAPIConnection:
    from review_scoring.warehouse.dialects.postgresql_login import connect  # psycopg is an extra

    connection: Any = connect(*arguments, **parameters)
    made: DBAPIConnection = connection
    return made
