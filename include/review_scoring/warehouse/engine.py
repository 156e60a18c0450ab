"""SQLAlchemy engines as this project needs them: parameters hidden, SQLite's transactions made explicit."""

from __future__ import annotations

import sqlite3
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry, NullPool

BUSY_TIMEOUT_S = 30
"""Seconds that SQLite waits for another writer before it says "database is locked"."""

CONNECT_TIMEOUT_S = 10

MYSQL_SESSION = "SET time_zone = '+00:00', sql_mode = CONCAT_WS(',', @@sql_mode, 'STRICT_ALL_TABLES')"
"""Times are UTC, and a value that does not fit is an error, whatever the server's own settings are."""


def make_engine(
    url: URL | str,
    *,
    pool_size: int = 3,
    max_overflow: int = 2,
    pool_timeout_s: float = BUSY_TIMEOUT_S,
    read_only: bool = False,
) -> Engine:
    """Return an engine whose errors and logs never show bound values, since those are review texts.

    Idle connections are checked before use, so that one dropped overnight costs nothing.

    :param read_only: for DuckDB, which knows this of a whole file alone; see `readonly.py` for the others
    """
    url = make_url(url)
    connect_args: dict[str, Any] = {}
    options: dict[str, Any] = {"pool_size": pool_size, "max_overflow": max_overflow, "pool_timeout": pool_timeout_s}
    backend = url.get_backend_name()
    if backend == "sqlite":
        connect_args = {"timeout": BUSY_TIMEOUT_S}
    elif backend == "postgresql" and "connect_timeout" not in url.query:
        connect_args = {"connect_timeout": CONNECT_TIMEOUT_S, "application_name": "review_scoring"}
    elif backend in {"mysql", "mariadb"}:
        connect_args = {"charset": "utf8mb4", "init_command": MYSQL_SESSION}
        if "connect_timeout" not in url.query:
            connect_args["connect_timeout"] = CONNECT_TIMEOUT_S
        # Each statement has to see what others have committed, and no gap between keys is to be locked.
        options["isolation_level"] = "READ COMMITTED"
    elif backend == "duckdb" and read_only:
        connect_args = {"read_only": True}
        options = {"poolclass": NullPool}  # an idle connection would lock out the process that writes
    engine = create_engine(
        url,
        hide_parameters=True,
        pool_pre_ping=True,
        connect_args=connect_args,
        **options,
    )
    if backend == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def writing(engine: Engine) -> Engine:
    """Return the same engine for transactions that write.

    SQLite then takes its write lock when the transaction begins, and cannot fail half way for want of it.
    """
    return engine.execution_options(review_scoring_writes=True)


def same_database(one: Engine, other: Engine) -> bool:
    """Say whether both engines reach the same database as the same user, so one statement may name tables of both.

    Another user may lack the rights on the other tables, and another query part may mean another search path.
    """

    def place(url: URL) -> tuple[object, ...]:
        return url.get_backend_name(), url.username, url.host, url.port, url.database, url.query

    return one is other or place(one.url) == place(other.url)


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
