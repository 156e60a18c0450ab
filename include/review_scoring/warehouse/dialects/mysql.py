"""MySQL and MariaDB: own upsert, binary collations of ids, no transactional DDL, and session variables."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    FromClause,
    Integer,
    Table,
    cast,
    collate,
    event,
    func,
    select,
    text,
)
from sqlalchemy import Dialect as SQLAlchemyDialect
from sqlalchemy.dialects import mysql
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry

from review_scoring.errors import WarehouseUnavailableError
from review_scoring.warehouse.dialects.base import CONNECT_TIMEOUT_S, Dialect, Row, Session
from review_scoring.warehouse.server_timeouts import waited_for

MIGRATION_PATIENCE_S = 300

LONGEST_S = 2_147_483
"""The longest `wait_timeout` that can be set everywhere, 24 days."""

SET_STATEMENT = "review_scoring_set_statement"
"""Execution option: MariaDB's variables for each SELECT of a connection, and for nothing else."""


_ESTIMATED_ROWS = text(
    "SELECT table_rows FROM information_schema.tables"
    " WHERE table_name = :table AND table_schema = COALESCE(:schema, DATABASE())"
)


SELECT_HINT = "review_scoring_select_hint"
"""Execution option: MySQL's optimizer hint for each SELECT of a connection."""


class MySQLSession(Session):
    """MySQL and MariaDB, whose server-wide defaults vary."""

    # Each statement sees what others have committed, and gaps between keys are not locked.
    isolation_level = "READ COMMITTED"
    _settings = (
        "time_zone = '+00:00'",
        "sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION'",  # a value that does not fit is an error, not truncated
        "sql_select_limit = 18446744073709551615",  # otherwise a page could end early, and the run with it
        "sql_big_selects = 1",
        "sql_safe_updates = 0",
        "sql_auto_is_null = 0",
    )
    # MariaDB's subquery cache compares ids in the source's collation, in which `R1` may equal `r1`.
    _mariadb = ("optimizer_switch = 'subquery_cache=off'",)

    def connect_args(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Set the character set and the connect timeout."""
        timeout = {} if "connect_timeout" in given else {"connect_timeout": CONNECT_TIMEOUT_S}
        return {"charset": "utf8mb4", **timeout}

    def prepare(self, engine: Engine) -> None:
        """Listen to new connections, before SQLAlchemy queries their settings, and to SELECTs."""
        event.listen(engine, "do_connect", self._connect)
        event.listen(engine, "before_cursor_execute", _set_for_statement, retval=True)

    def _connect(
        self, dialect: SQLAlchemyDialect, _record: ConnectionPoolEntry, arguments: Any, parameters: dict[str, Any]
    ) -> DBAPIConnection:
        answers_within = parameters.get("read_timeout")
        # PyMySQL's `connect_timeout` covers the TCP connection only; greeting and login are reads.
        login = {**parameters, "read_timeout": parameters["connect_timeout"], "defer_connect": True}
        connection: Any = dialect.loaded_dbapi.connect(*arguments, **login)
        waited_for(connection)
        connection.connect()
        connection._read_timeout = answers_within  # no public name
        is_mariadb = "mariadb" in connection.get_server_info().lower()
        try:
            with connection.cursor() as cursor:
                cursor.execute("SET " + ", ".join(self._settings + (self._mariadb if is_mariadb else ())))
            connection.autocommit(False)  # overrules the Connection's `init_command`
        except BaseException:
            connection.close()
            raise
        made: DBAPIConnection = connection
        return made


class MySQL(Dialect):
    """Statements for MySQL. In its default collations, `a1`, `A1` and `a1 ` are equal."""

    clock = func.utc_timestamp(6)
    _bytewise = "utf8mb4_0900_bin"

    def limit_statements(self, connection: Connection, seconds: int) -> None:
        """Set the time limit of each SELECT of the transaction, in milliseconds, by a hint."""
        connection.execution_options(**{SELECT_HINT: f"MAX_EXECUTION_TIME({1000 * seconds})"})

    def estimated_rows(self, connection: Connection, table: FromClause) -> int | None:
        """Return the estimate of `information_schema`; None for a view."""
        known = connection.scalar(
            _ESTIMATED_ROWS, {"table": getattr(table, "name", None), "schema": getattr(table, "schema", None)}
        )
        return int(known) if known else None

    def upsert(self, connection: Connection, table: Table, rows: Sequence[Row]) -> None:
        """Send as many rows per statement as the driver packs into one."""
        if not rows:
            return
        statement = mysql.insert(table)
        changes = {c.name: statement.inserted[c.name] for c in table.columns if not c.primary_key}
        connection.execute(statement.on_duplicate_key_update(changes), list(rows))

    def id_as_text(self, column: ColumnElement[Any]) -> ColumnElement[str] | None:
        """Cast to text, compared byte by byte. Zero-filled numbers print differently from Python."""
        type_ = column.type
        if getattr(type_, "zerofill", False) or not isinstance(type_, Integer | mysql.VARCHAR):
            return None
        return collate(cast(column, mysql.CHAR(charset="utf8mb4")), self._bytewise)

    @contextmanager
    def exclusive(self, connection: Connection, schema: str | None) -> Iterator[None]:
        """Take a lock of this connection, which the server releases if the process dies.

        The connection is idle while another one migrates, for as long as it takes.
        """
        database = connection.scalar(select(func.database())) if schema is None else schema
        name = hashlib.sha256(
            f"review_scoring {database}".encode()
        ).hexdigest()  # for the whole server; 64 characters at most
        if connection.scalar(select(func.get_lock(name, MIGRATION_PATIENCE_S))) != 1:
            raise WarehouseUnavailableError(
                f"another process has held the lock of the scoring tables for {MIGRATION_PATIENCE_S} s"
            )
        try:
            connection.exec_driver_sql(f"SET SESSION wait_timeout = {LONGEST_S}")
            yield
            connection.exec_driver_sql("COMMIT")  # the next holder of the lock has to see the changes
        finally:
            if not connection.invalidated:  # otherwise the lock is gone with the connection
                connection.exec_driver_sql("SET SESSION wait_timeout = DEFAULT")
                connection.execute(select(func.release_lock(name)))

    @contextmanager
    def brief_waits(self, connection: Connection) -> Iterator[None]:
        """Have DDL wait for a second, the shortest that can be set."""
        connection.exec_driver_sql("SET SESSION lock_wait_timeout = 1")
        try:
            yield
        finally:
            if not connection.invalidated:
                connection.exec_driver_sql("SET SESSION lock_wait_timeout = DEFAULT")


class MariaDB(MySQL):
    """Statements for MariaDB: its own binary collation, and optimizer switches."""

    _bytewise = "utf8mb4_nopad_bin"

    def force_index_plans(self, connection: Connection, *, has_index: bool = True, bitmaps: bool = False) -> None:
        """Prevent plans that read all scores into a temporary table for every page of the source.

        Set for each statement, not for the session, since the pool reuses sessions. Without `exists_to_in`, the
        subquery cache has to be off as well: it compares ids in the source's collation.
        """
        del has_index, bitmaps
        switches = "exists_to_in=off,materialization=off,subquery_cache=off"
        self._set(connection, f"optimizer_switch = '{switches}', in_predicate_conversion_threshold = 0")

    def limit_statements(self, connection: Connection, seconds: int) -> None:
        """Set the time limit of each SELECT, in seconds."""
        self._set(connection, f"max_statement_time = {seconds}")

    @staticmethod
    def _set(connection: Connection, variables: str) -> None:
        others = connection.get_execution_options().get(SET_STATEMENT)
        connection.execution_options(**{SET_STATEMENT: f"{others}, {variables}" if others else variables})


def _set_for_statement(
    connection: Connection, _cursor: Any, statement: str, parameters: Any, _context: Any, _executemany: bool
) -> tuple[str, Any]:
    variables = connection.get_execution_options().get(SET_STATEMENT)
    if variables and statement.startswith(("SELECT", "EXPLAIN")):
        statement = f"SET STATEMENT {variables} FOR {statement}"
    hint = connection.get_execution_options().get(SELECT_HINT)
    if hint and statement.startswith("SELECT"):
        statement = f"SELECT /*+ {hint} */{statement.removeprefix('SELECT')}"
    return statement, parameters
