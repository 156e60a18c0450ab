"""Emulated warehouses, as Airflow Connections; each test has a schema or dataset of its own."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event, text

from review_scoring.airflow.connections.engines import engine_of
from review_scoring.job import ScoringJob
from tests.stubs import Warehouse
from tests.warehouses.emulators import bigquery_emulator, program, snowflake_emulator

CONN_ID = "warehouse"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of this folder: they need emulators, and the clients of the warehouses."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.services)


@dataclass(frozen=True)
class Emulated:
    """An emulated warehouse with an empty schema.

    :param schema: which is the Connection's
    """

    name: str
    engine: Engine
    schema: str
    types: dict[str, str]

    def run(self, statement: str, **values: object) -> Any:
        """Run one statement, in which `{table}` is the table of reviews and `{integer}` and so on are its types."""
        statement = statement.format(table=f"{self.schema}.reviews", **self.types)
        with self.engine.begin() as connection:
            result = connection.execute(text(statement), values)
            return result.all() if result.returns_rows else None


SNOWFLAKE_TYPES = {"integer": "NUMBER(38, 0)", "text": "VARCHAR", "time": "TIMESTAMP_NTZ"}
BIGQUERY_TYPES = {"integer": "INT64", "text": "STRING", "time": "TIMESTAMP"}


@pytest.fixture(scope="session", autouse=True)
def emulators() -> None:
    """Skip all tests of this folder where the emulators or the clients of the warehouses are not installed."""
    for environment, name in (("snowflake", "fakesnow"), ("bigquery", "bqemulator")):
        program(environment, name)


@pytest.fixture(scope="session")
def snowflake_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an emulator of Snowflake."""
    with snowflake_emulator(tmp_path_factory.mktemp("snowflake") / "log") as address:
        yield address


@pytest.fixture(scope="session")
def bigquery_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an emulator of BigQuery, to which Google's client is directed."""
    log = tmp_path_factory.mktemp("bigquery") / "log"
    with bigquery_emulator(log) as address, pytest.MonkeyPatch.context() as patch:
        patch.setenv("BIGQUERY_EMULATOR_HOST", address)
        as_the_emulator_takes_it(patch)
        yield address


def as_the_emulator_takes_it(patch: pytest.MonkeyPatch) -> None:
    """Have Google's client name another type for the rows of a load job: the emulator refuses the one that it names."""
    patch.setattr("google.cloud.bigquery.client._GENERIC_CONTENT_TYPE", "application/octet-stream")


def snowflake_connection(address: str, schema: str, **more: object) -> dict[str, Any]:
    """Return a Connection to an emulator of Snowflake.

    :param more: extras
    """
    host, port = address.removeprefix("http://").split(":")
    place = {"account": "tests", "database": "films", "warehouse": "small", "role": "reader"}
    extra = {**place, "host": host, "port": port, **more}
    return {"conn_type": "snowflake", "login": "scorer", "password": "hunter2hunter2", "schema": schema, "extra": extra}


def without_tls(engine: Engine) -> None:
    """Have Snowflake's client speak HTTP, as the emulator does; the provider's Connection cannot say so."""
    event.listen(engine, "do_connect", lambda dialect, record, arguments, given: given.update(protocol="http"))


def for_the_emulator(engine: Engine) -> None:
    """Have Google's client write statements that the emulator of BigQuery understands.

    It leaves parameters in backticks as they are. In the quick form of a request, which a priority rules out, it has no
    default dataset, and returns no rows where a statement fails.
    """

    def adapt(_dialect: object, _record: object, _arguments: object, parameters: dict[str, Any]) -> None:
        client = parameters["client"]
        if "query_and_wait" not in vars(client):
            query = client.query_and_wait
            client.query_and_wait = lambda sql, **options: query(re.sub(r"@`(\w+)`", r"@\1", sql), **options)
            config = client.default_query_job_config
            config.priority = "INTERACTIVE"
            client.default_query_job_config = config

    event.listen(engine, "do_connect", adapt)


@pytest.fixture
def snowflake(snowflake_address: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulated]:
    """An emulated Snowflake with an empty schema."""
    schema = f"s_{uuid.uuid4().hex[:12]}"
    monkeypatch.setenv(f"AIRFLOW_CONN_{CONN_ID.upper()}", json.dumps(snowflake_connection(snowflake_address, schema)))
    engine = engine_of(CONN_ID)
    without_tls(engine)
    warehouse = Emulated("snowflake", engine, schema, SNOWFLAKE_TYPES)
    warehouse.run(f"CREATE SCHEMA IF NOT EXISTS {schema}")
    yield warehouse
    warehouse.run(f"DROP SCHEMA {schema} CASCADE")
    engine.dispose()


@pytest.fixture
def bigquery(bigquery_address: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulated]:
    """An emulated BigQuery with an empty dataset."""
    dataset = f"d_{uuid.uuid4().hex[:12]}"
    extra = {"project": "tests", "is_anonymous": True}
    connection = {"conn_type": "gcpbigquery", "schema": dataset, "extra": extra}
    monkeypatch.setenv(f"AIRFLOW_CONN_{CONN_ID.upper()}", json.dumps(connection))
    engine = engine_of(CONN_ID)
    for_the_emulator(engine)
    warehouse = Emulated("bigquery", engine, dataset, BIGQUERY_TYPES)
    warehouse.run(f"CREATE SCHEMA {dataset}")
    yield warehouse
    warehouse.run(f"DROP SCHEMA {dataset} CASCADE")
    engine.dispose()


@pytest.fixture(params=["snowflake", "bigquery"])
def warehouse(request: pytest.FixtureRequest) -> Emulated:
    """An emulated warehouse of each kind."""
    found: Emulated = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def scored(warehouse: Emulated, sqlite_engine: Engine) -> Warehouse:
    """A job that reads from an emulated warehouse, and keeps its scores in SQLite."""
    job = ScoringJob(
        name="films",
        source_conn_id=CONN_ID,
        source_schema=warehouse.schema,
        source_table="reviews",
        text_column="body",
        target_conn_id="ledger",
    )
    return Warehouse(warehouse.engine, target=sqlite_engine, job=job)
