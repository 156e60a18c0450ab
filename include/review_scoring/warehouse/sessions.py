"""What this project needs of a session, whatever the server, the database or the role has set for it.

A chunk is one transaction that sees what others have committed; ids, times and texts arrive in one form. Limits that
somebody has set on purpose, such as PostgreSQL's `statement_timeout`, stay: a run that meets one reports it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Dialect, Engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry

from review_scoring.warehouse.watch import waited_for

BUSY_TIMEOUT_S = 30
"""Seconds that SQLite waits for another writer before it says "database is locked"."""

CONNECT_TIMEOUT_S = 10

SET_STATEMENT = "review_scoring_set_statement"
"""Execution option: MariaDB's variables for each SELECT of a connection, and for nothing else."""


class Session:
    """What a database without settings of its own needs: nothing."""

    isolation_level: str | None = None
    over_network = True

    def connect_args(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return what the driver is told, less what a Connection gives.

        :param given: what the Connection says, in its URL or beside it
        """
        del given
        return {}

    def prepare(self, engine: Engine) -> None:
        """Have each connection of an engine set up."""


class PostgreSQL(Session):
    """PostgreSQL, perhaps behind a pooler that hands each transaction another of the server's sessions.

    So nothing is set for a session: what cannot go into the login is set for each transaction.
    """

    isolation_level = "READ COMMITTED"
    _begin = "SELECT set_config('DateStyle', 'ISO, MDY', true)"  # the one form that psycopg reads

    def connect_args(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return text as Unicode whatever the database holds, no prepared statements, and signs of a dead peer."""
        defaults = {
            "connect_timeout": CONNECT_TIMEOUT_S,
            "application_name": "review_scoring",
            "prepare_threshold": None,  # a pooler loses them; statements are few and large, so it costs nothing
            "keepalives": "1",
            "keepalives_idle": "30",
            "keepalives_interval": "10",
            "keepalives_count": "6",
            "tcp_user_timeout": "120000",
        }
        return {**{name: value for name, value in defaults.items() if name not in given}, "client_encoding": "UTF8"}

    def prepare(self, engine: Engine) -> None:
        """Listen to connections and transactions that begin."""
        event.listen(engine, "do_connect", _connect_postgresql)
        event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(self._begin))


class MySQL(Session):
    """MySQL and MariaDB, whose sessions begin with what the server was given in years of use."""

    # Each statement has to see what others have committed, and no gap between keys is to be locked.
    isolation_level = "READ COMMITTED"
    _settings = (
        "time_zone = '+00:00'",
        "sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION'",  # a value that does not fit is an error
        "sql_select_limit = 18446744073709551615",  # or a page would end early, and the run with it
        "sql_big_selects = 1",
        "sql_safe_updates = 0",
        "sql_auto_is_null = 0",
    )
    # MariaDB's cache of subqueries compares ids in the source's collation, in which `R1` may be `r1`.
    _mariadb = ("optimizer_switch = 'subquery_cache=off'",)

    def connect_args(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return text as Unicode, and how long a login may take."""
        timeout = {} if "connect_timeout" in given else {"connect_timeout": CONNECT_TIMEOUT_S}
        return {"charset": "utf8mb4", **timeout}

    def prepare(self, engine: Engine) -> None:
        """Listen to connections before SQLAlchemy asks them for their settings, and to SELECTs."""
        event.listen(engine, "do_connect", self._connect)
        event.listen(engine, "before_cursor_execute", _set_for_statement, retval=True)

    def _connect(
        self, dialect: Dialect, _record: ConnectionPoolEntry, arguments: Any, parameters: dict[str, Any]
    ) -> DBAPIConnection:
        answers_within = parameters.get("read_timeout")
        # PyMySQL's `connect_timeout` ends with TCP's part of the login; greeting and answers are reads.
        login = {**parameters, "read_timeout": parameters["connect_timeout"], "defer_connect": True}
        connection: Any = dialect.loaded_dbapi.connect(*arguments, **login)
        waited_for(connection)
        connection.connect()
        connection._read_timeout = answers_within  # it has no public name
        is_mariadb = "mariadb" in connection.get_server_info().lower()
        try:
            with connection.cursor() as cursor:
                cursor.execute("SET " + ", ".join(self._settings + (self._mariadb if is_mariadb else ())))
            connection.autocommit(False)  # whatever the Connection's `init_command` has set
        except BaseException:
            connection.close()
            raise
        made: DBAPIConnection = connection
        return made


class SQLite(Session):
    """SQLite: its transactions are made explicit, and invalid UTF-8 is let through to be rejected row by row."""

    over_network = False

    def connect_args(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return how long a locked file is waited for."""
        return {} if "timeout" in given else {"timeout": BUSY_TIMEOUT_S}

    def prepare(self, engine: Engine) -> None:
        """Listen to connections and transactions that begin."""
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)


class DuckDB(Session):
    """DuckDB: in this process, with transactions of its own."""

    over_network = False


_SESSIONS: Mapping[str, type[Session]] = {
    "postgresql": PostgreSQL,
    "mysql": MySQL,
    "mariadb": MySQL,
    "sqlite": SQLite,
    "duckdb": DuckDB,
}


def session_of(backend: str) -> Session:
    """Return what a session of a database needs, by SQLAlchemy's name of it."""
    return _SESSIONS.get(backend, Session)()


def _connect_postgresql(
    _dialect: Dialect, _record: ConnectionPoolEntry, arguments: Any, parameters: dict[str, Any]
) -> DBAPIConnection:
    from review_scoring.warehouse.postgres_login import connect  # psycopg is an extra

    connection: Any = connect(*arguments, **parameters)
    made: DBAPIConnection = connection
    return made


def _set_for_statement(
    connection: Connection, _cursor: Any, statement: str, parameters: Any, _context: Any, _executemany: bool
) -> tuple[str, Any]:
    variables = connection.get_execution_options().get(SET_STATEMENT)
    if variables and statement.startswith(("SELECT", "EXPLAIN")):
        statement = f"SET STATEMENT {variables} FOR {statement}"
    return statement, parameters


def _prepare_sqlite(connection: DBAPIConnection, _record: ConnectionPoolEntry) -> None:
    """Leave transactions to `_begin_sqlite`, and let invalid UTF-8 through to where it is rejected row by row."""
    assert isinstance(connection, sqlite3.Connection)
    connection.isolation_level = None
    connection.text_factory = _decode


def _decode(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get("review_scoring_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
