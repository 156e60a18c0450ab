"""Engines of the pages are read-only, and their statements time out."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, make_url
from sqlalchemy.exc import DBAPIError

from review_scoring.warehouse import readonly
from review_scoring.warehouse.engine import writing
from review_scoring.warehouse.errors import Fault, fault_of, lacks_tables, took_too_long
from review_scoring.warehouse.readonly import reading_engine
from tests.stubs import Warehouse


def test_a_reading_engine_cannot_write(engine: Engine) -> None:
    warehouse = Warehouse(engine)
    warehouse.create()
    engine.dispose()  # DuckDB: as if the writing process had ended
    reading = reading_engine(engine.url)
    with pytest.raises(DBAPIError) as deleting, reading.begin() as connection:
        connection.exec_driver_sql("DELETE FROM reviews")
    with pytest.raises(DBAPIError) as creating, writing(reading).begin() as connection:
        connection.exec_driver_sql("CREATE TABLE more (id INTEGER)")
    assert [fault_of(each.value) for each in (deleting, creating)] == [Fault.READ_ONLY, Fault.READ_ONLY]
    reading.dispose()


def test_a_reader_does_not_lock_out_a_writer(engine: Engine) -> None:
    warehouse = Warehouse(engine)
    warehouse.create()
    engine.dispose()
    reading = reading_engine(engine.url)
    with reading.connect() as connection:
        assert connection.exec_driver_sql("SELECT * FROM reviews").all() == []
    warehouse.fill(1)
    reading.dispose()


def test_missing_tables_and_columns_differ_from_other_failures(engine: Engine) -> None:
    Warehouse(engine).create()
    engine.dispose()
    reading = reading_engine(engine.url)
    missing = []
    for statement in ("SELECT * FROM scoring_jobs", "SELECT label FROM reviews", "SELECT FROM FROM reviews"):
        with pytest.raises(DBAPIError) as raised, reading.connect() as connection:
            connection.exec_driver_sql(statement)
        missing.append(lacks_tables(raised.value))
    assert missing == [True, True, False]
    reading.dispose()


def test_a_slow_statement_times_out_and_the_connection_stays_usable(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    if engine.dialect.name == "duckdb":
        pytest.skip("DuckDB has no limit of time")
    monkeypatch.setattr(readonly, "STATEMENT_S", 0.3)
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
    if engine.dialect.name == "mysql":  # MySQL ends a recursion after 1,000 rows
        endless = "SELECT sleep(60)"
    reading = reading_engine(engine.url)
    Warehouse(engine).create()
    started = time.monotonic()
    with pytest.raises(DBAPIError) as raised, reading.connect() as connection:
        connection.exec_driver_sql(endless)
    assert took_too_long(raised.value)
    assert time.monotonic() - started < 30
    with reading.connect() as connection:
        assert connection.exec_driver_sql("SELECT 1").scalar() == 1
    reading.dispose()


@pytest.mark.parametrize("backend", ["postgresql+psycopg", "mysql+pymysql"])
def test_connecting_to_a_server_times_out(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    reading = reading_engine(make_url(f"{backend}://ada@127.0.0.1/films"))
    asked: dict[str, Any] = {}
    monkeypatch.setattr(reading.dialect.loaded_dbapi, "connect", lambda *_, **options: asked.update(options) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        reading.connect()
    assert int(asked["connect_timeout"]) == readonly.CONNECT_S


@pytest.mark.parametrize(
    ("backend", "query"),
    [("postgresql+psycopg", {}), ("mysql+pymysql", {}), ("mysql+pymysql", {"read_timeout": "600"})],
)
def test_a_server_that_accepts_and_stays_silent_times_out(
    backend: str, query: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readonly, "STATEMENT_S", 0.5)
    monkeypatch.setattr(readonly, "GRACE_S", 0.4)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = make_url(f"{backend}://ada:secret@127.0.0.1:{silent.getsockname()[1]}/films")
        reading = reading_engine(url.set(query=query))
        started = time.monotonic()
        with pytest.raises(DBAPIError) as raised:
            reading.connect()
    assert time.monotonic() - started < 20
    assert fault_of(raised.value) is Fault.AWAY


def test_tcp_detects_a_dead_peer(postgres_engine: Engine) -> None:
    reading = reading_engine(postgres_engine.url)
    with reading.connect() as connection:
        driver: Any = connection.connection.driver_connection
        with socket.socket(fileno=os.dup(driver.pgconn.socket)) as own:
            assert own.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 7000
            assert own.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            probes = [socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT]
            idle, interval, count = (own.getsockopt(socket.IPPROTO_TCP, each) for each in probes)
            assert idle + interval * count <= 7
    reading.dispose()


def test_a_missing_sqlite_file_is_reported_and_not_created(sqlite_engine: Engine) -> None:
    missing = sqlite_engine.url.set(database=f"{sqlite_engine.url.database}.missing")
    with pytest.raises(DBAPIError, match="SQLITE_CANTOPEN"):
        reading_engine(missing).connect()
    assert not Path(str(missing.database)).exists()
