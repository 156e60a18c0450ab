"""What docs/warehouses/ says: its Connections are accepted, and as many statements run as its tables have."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from review_scoring.airflow.connections.engines import engine_of
from review_scoring.job import Publication, ScoringJob
from review_scoring.warehouse.publishing.destinations import publication_ddl
from tests.run.publications import Mart
from tests.stubs import Warehouse
from tests.warehouses.conftest import CONN_ID, Emulated
from tests.warehouses.test_source import create, fill, statements, with_updates

PAGES = Path(__file__).parent.parent.parent / "docs" / "warehouses"
READS_METADATA = re.compile(r"\s*(DESC|SHOW|select current_database)")


def connections(page: str) -> list[dict[str, Any]]:
    """Return the Connections that a page adds, in their order."""
    text = (PAGES / page).read_text(encoding="utf-8")
    return [json.loads(each) for each in re.findall(r"--conn-json '(.*?)'\n```", text, re.DOTALL)]


def opened(connection: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Engine:
    """Return the engine of a Connection that a page has."""
    monkeypatch.setenv(f"AIRFLOW_CONN_{CONN_ID.upper()}", json.dumps(connection))
    return engine_of(CONN_ID)


class Connected(BaseException):
    """Raised in place of a login, which is as far as a test without a server gets."""


def login(engine: Engine, monkeypatch: pytest.MonkeyPatch, client: str) -> dict[str, Any]:
    """Connect, and return what the client was given.

    :param client: the function of the client that logs in
    """
    sent: dict[str, Any] = {}

    def connect(*given: object, **named: object) -> None:
        sent.update(named, given=given)
        raise Connected

    monkeypatch.setattr(client, connect)
    with pytest.raises(Connected):
        engine.connect()
    return sent


def key(path: Path) -> str:
    """Write a private key to a file, and return it."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    private = rsa.generate_private_key(65537, 2048)
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    path.write_bytes(private.private_bytes(encoding, form, serialization.NoEncryption()))
    return path.read_text()


def test_the_connection_to_snowflake_logs_in_with_its_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (connection,) = connections("snowflake.md")
    key(tmp_path / "key")
    connection["extra"]["private_key_file"] = str(tmp_path / "key")
    del connection["password"]
    engine = opened(connection, monkeypatch)
    sent = login(engine, monkeypatch, "snowflake.connector.SnowflakeConnection.__init__")
    assert {name: sent[name] for name in ("user", "account", "database", "schema", "warehouse", "role")} == {
        "user": "REVIEW_SCORING",
        "account": "acme-eu",
        "database": "FILMS",
        "schema": "RAW",
        "warehouse": "SCORING_WH",
        "role": "REVIEW_SCORING",
    }
    assert isinstance(sent["private_key"], bytes)
    assert sent["session_parameters"] == {"QUERY_TAG": "review_scoring", "STATEMENT_TIMEOUT_IN_SECONDS": 1800}


def test_the_connection_to_bigquery_has_its_service_account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (connection,) = connections("bigquery.md")
    account = "review-scoring@acme-films.iam.gserviceaccount.com"
    named = {"type": "service_account", "client_email": account, "token_uri": "https://oauth2.googleapis.com/token"}
    (tmp_path / "account.json").write_text(json.dumps({**named, "private_key": key(tmp_path / "key")}))
    connection["extra"]["key_path"] = str(tmp_path / "account.json")
    with opened(connection, monkeypatch).connect() as session:
        driver: Any = session.connection.dbapi_connection
    client = driver._client
    assert (client.project, client.location) == ("acme-films", "EU")
    assert client._credentials.service_account_email == account
    assert client.default_query_job_config.default_dataset.dataset_id == "raw"


@pytest.mark.parametrize("index", [0, 1], ids=["service principal", "token"])
def test_the_connections_to_databricks_have_a_token(monkeypatch: pytest.MonkeyPatch, index: int) -> None:
    from airflow.providers.databricks.hooks.databricks_base import BaseDatabricksHook

    connection = connections("databricks.md")[index]
    monkeypatch.setattr(BaseDatabricksHook, "_get_sp_token", lambda hook, resource: f"token of {resource}")
    sent = login(opened(connection, monkeypatch), monkeypatch, "databricks.sql.connect")
    host, path, token = sent["given"]
    assert (host, path) == (
        "adb-1234567890123456.7.azuredatabricks.net",
        "/sql/1.0/warehouses/0123456789abcdef",
    )
    assert token == (f"token of https://{host}/oidc/v1/token", "personal access token")[index]
    assert (sent["catalog"], sent["schema"]) == ("films", "raw")


@pytest.mark.parametrize("index", [0, 1, 2], ids=["password", "IAM", "IAM, serverless"])
def test_the_connections_to_redshift_have_a_user(monkeypatch: pytest.MonkeyPatch, index: int) -> None:
    def answer(_client: object, operation: str, given: dict[str, Any]) -> dict[str, Any]:
        until = datetime(2100, 1, 1, tzinfo=UTC)
        if operation == "GetClusterCredentials":
            return {"DbUser": f"IAM:{given['DbUser']}", "DbPassword": "temporary", "Expiration": until}
        assert operation == "GetCredentials"
        return {"dbUser": f"IAM:{given['workgroupName']}", "dbPassword": "temporary", "expiration": until}

    monkeypatch.setattr("botocore.client.BaseClient._make_api_call", answer)
    for name, value in (("ACCESS_KEY_ID", "a"), ("SECRET_ACCESS_KEY", "b"), ("DEFAULT_REGION", "eu-west-1")):
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", "aws://")
    connection = connections("redshift.md")[index]
    sent = login(opened(connection, monkeypatch), monkeypatch, "redshift_connector.Connection.__init__")
    user = ("review_scoring", "IAM:review_scoring", "IAM:films")[index]
    assert (sent["user"], sent["password"]) == (user, "temporary" if index else "password")
    assert (sent["host"], sent["database"], sent["ssl"]) == (connection["host"], "films", True)


@pytest.mark.parametrize(
    ("database", "text", "number", "time"),
    [
        ("snowflake", "VARCHAR(255)", "DOUBLE", "datetime"),
        ("bigquery", "STRING(255)", "FLOAT64", "TIMESTAMP"),
        ("databricks", "STRING", "DOUBLE", "TIMESTAMP_NTZ"),
        ("redshift", "VARCHAR(255)", "DOUBLE PRECISION", "TIMESTAMP WITHOUT TIME ZONE"),
    ],
)
def test_the_published_table_has_the_types_that_the_page_has(database: str, text: str, number: str, time: str) -> None:
    ddl = publication_ddl(database, "review_labels", "marts").replace("`", "")
    for column, type_ in (("review_id", text), ("score", number), ("scored_at", time)):
        assert re.search(rf"\s{column} {re.escape(type_)} NOT NULL", ddl), ddl


def test_a_run_takes_as_many_statements_as_the_page_has(warehouse: Emulated, sqlite_engine: Engine) -> None:
    source = {"source_conn_id": CONN_ID, "source_schema": warehouse.schema, "source_table": "reviews"}
    job = ScoringJob(name="films", text_column="body", target_conn_id="ledger", cursor_column="updated_at", **source)
    scored = Warehouse(warehouse.engine, target=sqlite_engine, job=job)
    create(warehouse)
    fill(warehouse, 1, 100)
    scored.score("night 1")
    fill(warehouse, 101, 200, at="2026-05-02 00:00:00")
    expected = {"snowflake": (8, 2), "bigquery": (6, 0)}
    assert counted(warehouse, lambda: scored.score("night 2")) == expected[warehouse.name]
    expected = {"snowflake": (6, 2), "bigquery": (4, 0)}
    assert counted(warehouse, lambda: scored.score("night 3")) == expected[warehouse.name]
    with_updates(scored)
    scored.score("night 4")
    fill(warehouse, 201, 300, at="2026-05-03 00:00:00")
    expected = {"snowflake": (11, 2), "bigquery": (9, 0)}
    assert counted(warehouse, lambda: scored.score("night 5")) == expected[warehouse.name]


def test_a_publication_takes_as_many_statements_as_the_page_has(warehouse: Emulated, sqlite_engine: Engine) -> None:
    ledger = Warehouse(sqlite_engine)
    ledger.create()
    ledger.fill(100)
    ledger.score("1")
    to = Publication(conn_id=CONN_ID, table="film_labels", table_schema=warehouse.schema)
    mart = Mart(ledger, warehouse.engine, to)
    mart.publish("1")
    ledger.fill(20, first=101)
    ledger.score("2")
    expected = {"snowflake": (13, 6), "bigquery": (7, 0)}
    assert counted(warehouse, lambda: mart.publish("2")) == expected[warehouse.name]
    expected = {"snowflake": (6, 4), "bigquery": (2, 0)}
    assert counted(warehouse, lambda: mart.publish("3")) == expected[warehouse.name]


def counted(warehouse: Emulated, work: Callable[[], object]) -> tuple[int, int]:
    """Return how many statements run in a warehouse, and how many of them read metadata only.

    Without the DROP of earlier staging tables: the emulator of BigQuery lists them although they were dropped.
    """
    with statements(warehouse.engine) as ran:
        work()
    dropped = [each for each in ran if "DROP TABLE" in each]
    return len(ran) - max(len(dropped) - 1, 0), sum(bool(READS_METADATA.match(each)) for each in ran)
