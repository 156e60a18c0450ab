"""Engines for those who only look: nothing can be written, and nothing takes long.

Pages are made inside Airflow's API server, which has other things to do: two connections at most, every statement is
ended by the database after `STATEMENT_S` seconds, and a server that has fallen silent is given up soon after.
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
"""Seconds longer than a statement may take that a server's word is waited for."""

POOL_SIZE = 2
PROGRESS_OPCODES = 10_000
"""SQLite's virtual machine looks at the time this often: some milliseconds."""


def reading_engine(address: Address | URL) -> Engine:
    """Return an engine whose transactions are read-only and whose statements end after `STATEMENT_S` seconds.

    DuckDB has no limit of time. It opens a file for reading only while no other process writes to it.
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
        Address(url, connect_args), pool_size=POOL_SIZE, max_overflow=0, pool_timeout_s=CONNECT_S, read_only=True
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
    """Return what ends the waiting on this side, whatever a Connection says: a run may wait longer than a page.

    PyMySQL's `connect_timeout` ends with TCP's part of it; greeting, login and answers are reads. libpq's goes to the
    end of the login; a peer that is gone after that is noticed by TCP, which gives up after minutes by itself.
    """
    silent_s = math.ceil(STATEMENT_S + GRACE_S)
    if backend == "postgresql":
        probes = {"keepalives": "1", "keepalives_idle": "3", "keepalives_interval": "2", "keepalives_count": "2"}
        return {**probes, "tcp_user_timeout": str(1000 * silent_s)}
    return {"read_timeout": silent_s, "write_timeout": silent_s}


def _begin_postgresql(connection: Connection) -> None:
    """Set what holds for this transaction alone; `jit` would compile for longer than these statements run."""
    connection.exec_driver_sql(
        "SELECT set_config('transaction_read_only', 'on', true),"
        f" set_config('statement_timeout', '{STATEMENT_S * 1000:.0f}', true), set_config('jit', 'off', true)"
    )


def _begin_mysql(connection: Connection) -> None:
    limit = f"max_statement_time = {STATEMENT_S}"
    if connection.dialect.name == "mysql" and not getattr(connection.dialect, "is_mariadb", False):
        limit = f"max_execution_time = {STATEMENT_S * 1000:.0f}"
    connection.exec_driver_sql(f"SET SESSION {limit}")
    # Of the session, not of the transaction: a statement that creates something would end that, and be done.
    connection.exec_driver_sql("SET SESSION TRANSACTION READ ONLY")
    connection.exec_driver_sql("START TRANSACTION")


def _prepare_sqlite(connection: DBAPIConnection, record: ConnectionPoolEntry) -> None:
    assert isinstance(connection, sqlite3.Connection)
    connection.execute("PRAGMA query_only = ON")
    connection.execute(f"PRAGMA busy_timeout = {STATEMENT_S * 1000:.0f}")
    info = record.info
    connection.set_progress_handler(lambda: time.monotonic() > info.get("deadline", float("inf")), PROGRESS_OPCODES)


def _begin_sqlite(connection: Connection) -> None:
    """Give the whole transaction the time that a statement has: SQLite knows no other limit."""
    connection.info["deadline"] = time.monotonic() + STATEMENT_S
