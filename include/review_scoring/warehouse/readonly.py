"""Read-only engines for the pages, with a timeout of five seconds for each statement.

Pages are rendered in Airflow's API server and must not slow it down: at most two connections, the database cancels
every statement after `STATEMENT_S` seconds, and requests to a silent server time out soon after.
"""

from __future__ import annotations

import math
import sqlite3
import time
from typing import Any
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry

from review_scoring.warehouse.engine import Address, make_engine

STATEMENT_S = 5.0
CONNECT_S = 3
GRACE_S = 2
"""Seconds after the statement timeout until the client gives up."""

HELD_S = 30.0
"""Timeout in seconds of a page's connection: behind a proxy, TCP does not notice a silent server."""

POOL_SIZE = 2
PROGRESS_OPCODES = 10_000
"""Opcodes of SQLite's virtual machine between two checks of the deadline: a few milliseconds."""


def reading_engine(address: Address | URL) -> Engine:
    """Return an engine whose transactions are read-only and whose statements end after `STATEMENT_S` seconds.

    DuckDB has no statement timeout. It opens a file for reading only while no other process writes to it.
    """
    address = address if isinstance(address, Address) else Address(address)
    url, connect_args = address.url, address.connect_args
    backend = url.get_backend_name()
    if backend == "sqlite":  # read-only even to the file
        url = url.set(database=f"file:{quote(url.database or '')}", query={"mode": "ro", "uri": "true"})
    elif backend in {"postgresql", "mysql", "mariadb"}:
        waits = {} if "connect_timeout" in url.query else {"connect_timeout": CONNECT_S}
        connect_args = {**waits, **connect_args, **_client_limits(backend)}
    engine = make_engine(
        Address(url, connect_args),
        pool_size=POOL_SIZE,
        max_overflow=0,
        pool_timeout_s=CONNECT_S,
        read_only=True,
        held_s=HELD_S,
    )
    if backend == "postgresql":
        event.listen(engine, "begin", _begin_postgresql)
    elif backend == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    elif backend in {"mysql", "mariadb"}:
        event.listen(engine, "begin", _begin_mysql)
    return engine


def _client_limits(backend: str) -> dict[str, Any]:
    """Return the driver's timeouts, which overrule the Connection's: a run may wait longer than a page.

    PyMySQL's `connect_timeout` covers the TCP connection only; greeting, login and answers are reads. libpq's covers
    the login as well; TCP keepalives detect a peer that disappears later.
    """
    silent_s = math.ceil(STATEMENT_S + GRACE_S)
    if backend == "postgresql":
        probes = {"keepalives": "1", "keepalives_idle": "3", "keepalives_interval": "2", "keepalives_count": "2"}
        return {**probes, "tcp_user_timeout": str(1000 * silent_s)}
    return {"read_timeout": silent_s, "write_timeout": silent_s}


def _begin_postgresql(connection: Connection) -> None:
    """Set this transaction's limits; `jit` would compile for longer than these statements run."""
    connection.exec_driver_sql(
        "SELECT set_config('transaction_read_only', 'on', true),"
        f" set_config('statement_timeout', '{STATEMENT_S * 1000:.0f}', true), set_config('jit', 'off', true)"
    )


def _begin_mysql(connection: Connection) -> None:
    limit = f"max_statement_time = {STATEMENT_S}"
    if connection.dialect.name == "mysql" and not getattr(connection.dialect, "is_mariadb", False):
        limit = f"max_execution_time = {STATEMENT_S * 1000:.0f}"
    connection.exec_driver_sql(f"SET SESSION {limit}")
    # For the session, not the transaction: DDL commits implicitly, which would end a read-only transaction.
    connection.exec_driver_sql("SET SESSION TRANSACTION READ ONLY")
    connection.exec_driver_sql("START TRANSACTION")


def _prepare_sqlite(connection: DBAPIConnection, record: ConnectionPoolEntry) -> None:
    assert isinstance(connection, sqlite3.Connection)
    connection.execute("PRAGMA query_only = ON")
    connection.execute(f"PRAGMA busy_timeout = {STATEMENT_S * 1000:.0f}")
    info = record.info
    connection.set_progress_handler(lambda: time.monotonic() > info.get("deadline", float("inf")), PROGRESS_OPCODES)


def _begin_sqlite(connection: Connection) -> None:
    """Apply the statement timeout to the whole transaction: SQLite has no other limit."""
    connection.info["deadline"] = time.monotonic() + STATEMENT_S
