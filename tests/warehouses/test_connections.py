"""Connections to emulated warehouses, through the hooks of Airflow's providers; their errors."""

from __future__ import annotations

import gzip
import json
import threading
import time
import traceback
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event, text
from sqlalchemy.exc import DBAPIError, NoSuchTableError

from review_scoring.airflow.connections import hooks
from review_scoring.airflow.connections.engines import engine_of
from review_scoring.errors import ConfigurationError
from review_scoring.warehouse.errors import Fault, describe, fault_of
from review_scoring.warehouse.source.columns import columns_of
from tests.warehouses.conftest import CONN_ID, Emulated, snowflake_connection, without_tls
from tests.warehouses.emulators import free_port, snowflake_emulator

VARIABLE = f"AIRFLOW_CONN_{CONN_ID.upper()}"


def test_the_schema_of_a_snowflake_connection_is_that_of_its_tables(snowflake: Emulated) -> None:
    snowflake.run("CREATE TABLE {table} (id {integer}, body {text})")
    snowflake.run("INSERT INTO {table} VALUES (1, 'bien')")
    snowflake.engine.dispose()  # the session that creates a schema uses it
    with snowflake.engine.connect() as connection:
        assert connection.execute(text("SELECT id, body FROM reviews")).all() == [(1, "bien")]


def test_the_schema_of_a_bigquery_connection_is_its_dataset(bigquery: Emulated) -> None:
    bigquery.run("CREATE TABLE {table} (id {integer}, body {text})")
    assert list(columns_of(bigquery.engine, "reviews", None)) == ["id", "body"]
    with bigquery.engine.connect() as connection:
        assert connection.execute(text("SELECT id, body FROM reviews")).all() == []


def test_the_jobs_of_bigquery_have_a_label(bigquery: Emulated) -> None:
    with bigquery.engine.connect() as connection:
        opened: Any = connection.connection.dbapi_connection
        client = opened._client
    sent: list[Any] = []
    send = client._connection.api_request

    def spy(**request: Any) -> Any:
        sent.append(request.get("data"))
        return send(**request)

    client._connection.api_request = spy
    bigquery.run("SELECT 1")
    assert sent[0]["configuration"]["labels"] == {"application": "review_scoring"}  # the emulator does not keep them


@contextmanager
def logins(address: str) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Pass requests on to an emulator of Snowflake; yield the address, and what logins send."""
    found: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            if "login-request" in self.path:
                is_packed = self.headers.get("Content-Encoding") == "gzip"
                found.append(json.loads(gzip.decompress(content) if is_packed else content)["data"])
            request = urllib.request.Request(address + self.path, content, dict(self.headers.items()))  # noqa: S310
            with urllib.request.urlopen(request) as answer:  # noqa: S310
                body = answer.read()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", found
        server.shutdown()


@pytest.mark.parametrize("place", ["private_key_file", "private_key_content"])
def test_a_key_pair_logs_in_to_snowflake(
    snowflake_address: str, place: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import jwt
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(65537, 2048)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (tmp_path / "key.pem").write_bytes(pem)
    value = str(tmp_path / "key.pem") if place == "private_key_file" else pem.decode()
    with logins(snowflake_address) as (address, sent):
        connection = snowflake_connection(address, "public", **{place: value}) | {"password": ""}
        monkeypatch.setenv(VARIABLE, json.dumps(connection))
        engine = engine_of(CONN_ID)
        without_tls(engine)
        with engine.connect() as opened:
            assert opened.scalar(text("SELECT 1")) == 1
        engine.dispose()
    assert sent[0]["AUTHENTICATOR"] == "SNOWFLAKE_JWT"
    claims = jwt.decode(sent[0]["TOKEN"], key.public_key(), algorithms=["RS256"])
    assert claims["sub"] == "TESTS.SCORER"


def test_the_statements_of_snowflake_are_tagged_unless_the_connection_has_a_tag(
    snowflake_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with logins(snowflake_address) as (address, sent):
        for given in ({}, {"QUERY_TAG": "nightly", "TIMEZONE": "UTC"}):
            connection = snowflake_connection(address, "public", session_parameters=given)
            monkeypatch.setenv(VARIABLE, json.dumps(connection))
            engine = engine_of(CONN_ID)
            without_tls(engine)
            with engine.connect():
                pass
            engine.dispose()
    parameters = [each["SESSION_PARAMETERS"] for each in sent]
    assert [each["QUERY_TAG"] for each in parameters] == ["review_scoring", "nightly"]
    assert parameters[1]["TIMEZONE"] == "UTC"


def test_a_key_that_cannot_be_read_is_a_wrong_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    connection = snowflake_connection("http://127.0.0.1:1", "public", private_key_file="/nowhere/key.pem")
    monkeypatch.setenv(VARIABLE, json.dumps(connection))
    with pytest.raises(ConfigurationError, match="connection 'warehouse' of type 'snowflake' is not accepted"):
        engine_of(CONN_ID)


@pytest.mark.parametrize(
    ("statement", "faults"),
    [
        ("SELECT * FROM nowhere_at_all", {Fault.MISSING}),
        # BigQuery has one reason for each error in a statement, whether of its words or of a row.
        ("SELECT CAST('un secret' AS {integer})", {Fault.DATA, Fault.OTHER}),
        # A dataset that does not exist may be one that the user may not see.
        ("SELECT nothing FROM un_secret.nowhere", {Fault.MISSING, Fault.RIGHTS}),
        ("SELEC 'un secret'", {Fault.OTHER}),
    ],
)
def test_an_error_is_sorted_by_its_code_and_has_no_words(
    warehouse: Emulated, statement: str, faults: set[Fault]
) -> None:
    with pytest.raises(DBAPIError) as error:
        warehouse.run(statement)
    assert fault_of(error.value) in faults
    assert any(digit.isdigit() for digit in describe(error.value))
    error.value.statement = None
    assert "secret" not in "".join(traceback.format_exception(error.value)) + repr(vars(error.value.orig))


def test_a_missing_table_is_found_by_its_columns(warehouse: Emulated) -> None:
    with pytest.raises(NoSuchTableError):
        columns_of(warehouse.engine, "nowhere", warehouse.schema)


def test_a_snowflake_that_does_not_answer_may_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hooks, "SNOWFLAKE_LOGIN_S", 1)
    address = f"http://127.0.0.1:{free_port()}"
    monkeypatch.setenv(VARIABLE, json.dumps(snowflake_connection(address, "public")))
    engine = engine_of(CONN_ID)
    without_tls(engine)
    with pytest.raises(DBAPIError) as error, engine.connect():
        pass
    assert fault_of(error.value) is Fault.AWAY
    assert "hunter2" not in "".join(traceback.format_exception(error.value))


def test_a_snowflake_that_goes_away_may_come_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hooks, "SNOWFLAKE_REQUEST_S", 1)
    with ExitStack() as emulator:
        address = emulator.enter_context(snowflake_emulator(tmp_path / "log"))
        monkeypatch.setenv(VARIABLE, json.dumps(snowflake_connection(address, "public")))
        engine = engine_of(CONN_ID)
        without_tls(engine)
        with pytest.raises(DBAPIError) as error, engine.connect() as connection:
            connection.execute(text("SELECT 1"))
            emulator.close()
            connection.execute(text("SELECT 2"))
    assert fault_of(error.value) is Fault.AWAY
    assert error.value.connection_invalidated  # a rollback would wait as long again


@pytest.mark.usefixtures("snowflake")
def test_a_statement_of_snowflake_may_take_longer_than_a_request(monkeypatch: pytest.MonkeyPatch) -> None:
    from snowflake.connector import SnowflakeConnection

    limit_s = 1
    monkeypatch.setattr(hooks, "SNOWFLAKE_REQUEST_S", limit_s)
    cancelled = []
    monkeypatch.setattr(SnowflakeConnection, "_cancel_query", lambda *_: cancelled.append(1))
    engine = engine_of(CONN_ID)
    without_tls(engine)
    rows = "(SELECT 1 AS n FROM TABLE(GENERATOR(ROWCOUNT => 200000)))"
    slow = f"SELECT COUNT(*) FROM {rows} a CROSS JOIN {rows} b WHERE a.n + b.n > 1"
    with engine.connect() as connection:
        began = time.monotonic()
        assert connection.execute(text(slow)).scalar_one() == 4 * 10**10
        assert time.monotonic() - began > limit_s
    engine.dispose()
    assert not cancelled


def test_an_error_of_the_http_library_is_one_of_the_database(bigquery: Emulated) -> None:
    import requests

    words = "sec" + "ret"

    def fail(*_: object) -> None:
        raise requests.exceptions.ConnectionError(words)

    event.listen(bigquery.engine, "do_execute", fail)
    with pytest.raises(DBAPIError) as error:
        bigquery.run("SELECT 1")
    event.remove(bigquery.engine, "do_execute", fail)
    assert fault_of(error.value) is Fault.AWAY
    assert "secret" not in "".join(traceback.format_exception(error.value))


def test_an_engine_of_a_hook_hides_values(warehouse: Emulated) -> None:
    engine: Engine = warehouse.engine
    assert engine.hide_parameters
    with pytest.raises(DBAPIError) as error, engine.connect() as connection:
        connection.execute(text("SELECT * FROM nowhere_at_all WHERE body = :body"), {"body": "un secret"})
    assert "secret" not in str(error.value)
