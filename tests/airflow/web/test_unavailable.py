"""Error pages for a warehouse that is slow, busy or unreachable, and for bugs."""

from __future__ import annotations

import json
import logging
import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from fastapi.testclient import TestClient
from psycopg.errors import QueryCanceled
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from review_scoring.airflow.web import live_counts, selected_job
from review_scoring.airflow.web.selected_job import SelectedJob
from review_scoring.warehouse import readonly
from review_scoring.warehouse.history.runs import Run
from tests.stubs import Warehouse

Pages = Callable[..., TestClient]


def test_an_unreachable_warehouse_gives_a_message_with_a_reference_and_no_address(
    pages: Pages, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(
        "AIRFLOW_CONN_REVIEWS", '{"conn_type": "postgres", "host": "127.0.0.1", "port": 9, "password": "hunter2"}'
    )
    client = pages()
    with caplog.at_level(logging.WARNING):
        answer = client.get("/")
    assert answer.status_code == 503
    assert "The warehouse does not answer" in answer.text
    found = re.search(r"Reference <code>(\w+)</code>", answer.text)
    assert found is not None
    assert found[1] in caplog.text
    for secret in ("hunter2", "127.0.0.1", "Traceback"):
        assert secret not in answer.text
    assert "hunter2" not in caplog.text
    assert (
        client.get("/live-counts", headers={"Accept": "application/json"}).json()["error"]
        == "The warehouse does not answer."
    )


def test_a_slow_query_times_out(pages: Pages, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    if warehouse.engine.dialect.name == "duckdb":
        pytest.skip("DuckDB has no limit of time")
    monkeypatch.setattr(readonly, "STATEMENT_S", 0.2)
    monkeypatch.setattr(readonly, "PROGRESS_OPCODES", 100)
    slow = {
        "postgresql": "SELECT pg_sleep(30)",
        "mysql": "SELECT sleep(30)",
        "sqlite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n",
    }[warehouse.engine.dialect.name]

    def busy(connection: Connection, *_: object) -> object:
        return connection.exec_driver_sql(slow).all()

    monkeypatch.setattr(selected_job, "find_job", busy)
    warehouse.create()
    answer = pages().get("/")
    assert answer.status_code == 503
    assert "took longer than" in answer.text


def test_a_count_that_times_out_is_not_repeated_by_every_request(
    pages: Pages, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[object] = []

    def slow(selected: SelectedJob, newest: object) -> live_counts.LiveCounts:
        tried.append(selected)
        raise DBAPIError("SELECT", {}, QueryCanceled("trop longtemps"))

    monkeypatch.setattr(live_counts, "live_counts", slow)
    warehouse.create()
    client = pages()
    for _ in range(2):
        answer = client.get("/live-counts")
        assert answer.status_code == 503
        assert "took longer than" in answer.text
    assert len(tried) == 1


def test_a_request_does_not_wait_long_for_the_count_of_another(
    pages: Pages, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_counts, "WAIT_S", 0.1)
    counting, done = threading.Event(), threading.Event()
    count = live_counts.live_counts

    def slow(selected: SelectedJob, newest: Run | None) -> live_counts.LiveCounts:
        counting.set()
        assert done.wait(60)
        return count(selected, newest)

    monkeypatch.setattr(live_counts, "live_counts", slow)
    warehouse.create()
    client = pages()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(client.get, "/live-counts")
        assert counting.wait(60)
        answer = client.get("/live-counts")
        done.set()
    assert first.result().status_code == 200
    assert answer.status_code == 503
    assert "All warehouse connections are in use" in answer.text


def test_an_unexpected_error_shows_a_reference_and_no_stack_trace(
    pages: Pages, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("inner workings")

    monkeypatch.setattr(selected_job, "find_job", broken)
    warehouse.create()
    answer = pages().get("/")
    assert answer.status_code == 500
    assert "inner workings" not in answer.text
    found = re.search(r"Reference <code>(\w+)</code>", answer.text)
    assert found is not None
    assert found[1] in caplog.text


def test_a_wrong_password_is_a_refusal_and_not_an_unreachable_warehouse(
    pages: Pages, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    url = warehouse.engine.url
    if url.get_backend_name() in {"sqlite", "duckdb"}:
        pytest.skip("a file has no password")
    user, secret = "review_scoring_refused", "".join(["hunter", "2"])
    if url.get_backend_name() == "mysql":  # on PostgreSQL, which asks for no password here, the user does not exist
        with autocommit(warehouse.engine) as connection:
            connection.exec_driver_sql(f"CREATE OR REPLACE USER {user} IDENTIFIED BY 'another'")
    fields = {"conn_type": {"postgresql": "postgres"}.get(url.get_backend_name(), "mysql"), "host": url.host}
    monkeypatch.setenv(
        "AIRFLOW_CONN_REVIEWS",
        json.dumps({**fields, "port": url.port, "schema": url.database, "login": user, "password": secret}),
    )
    with caplog.at_level(logging.WARNING):
        answer = pages().get("/")
    if url.get_backend_name() == "mysql":
        with autocommit(warehouse.engine) as connection:
            connection.exec_driver_sql(f"DROP USER {user}")
    assert answer.status_code == 503
    assert "The warehouse refused the connection or the query" in answer.text
    assert "Check the login" in answer.text
    for hidden in (secret, user, "127.0.0.1"):
        assert hidden not in answer.text
    assert secret not in caplog.text


@contextmanager
def autocommit(engine: Engine) -> Iterator[Connection]:
    with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        yield connection
