"""Connections of warehouses without their providers: what has to be installed, and that none of them holds scores."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
from airflow.sdk import Connection
from sqlalchemy import Engine

from review_scoring.airflow.connections.engines import engine_of, target_engine_of, url_of
from review_scoring.airflow.lineage import dataset
from review_scoring.airflow.web.databases import Databases
from review_scoring.concurrency.cancellation import StopFlag
from review_scoring.errors import ConfigurationError, PreflightError
from review_scoring.job import ScoringJob
from review_scoring.run.preflight import Resources, preflight
from review_scoring.warehouse.scoring_tables import refuse_warehouse
from tests.stubs import MODEL

PROVIDERS = {
    "snowflake": ("snowflake", "airflow.providers.snowflake"),
    "gcpbigquery": ("bigquery", "airflow.providers.google"),
    "google_cloud_platform": ("bigquery", "airflow.providers.google"),
    "databricks": ("databricks", "airflow.providers.databricks"),
    "redshift": ("redshift", "airflow.providers.amazon"),
}
"""Connection type -> the extra that installs what it needs, and the provider's package."""


@pytest.fixture(params=PROVIDERS)
def warehouse(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A Connection to a warehouse, whose provider is not installed."""
    connection = {"conn_type": request.param, "host": "db", "login": "u", "password": "hunter2hunter2"}
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps(connection))
    monkeypatch.setitem(sys.modules, PROVIDERS[request.param][1], None)
    return str(request.param)


def job(**settings: object) -> ScoringJob:
    return ScoringJob(
        **{"name": "films", "source_conn_id": "warehouse", "source_table": "reviews", "text_column": "body"} | settings
    )


@pytest.mark.parametrize(
    ("connection", "namespace", "name"),
    [
        (
            {"conn_type": "snowflake", "schema": "raw", "extra": {"account": "acme-eu", "database": "shop"}},
            "snowflake://acme-eu",
            "shop.raw.reviews",
        ),
        ({"conn_type": "gcpbigquery", "schema": "raw", "extra": {"project": "acme"}}, "bigquery", "acme.raw.reviews"),
        (
            {"conn_type": "databricks", "host": "https://adb.example", "extra": {"catalog": "main"}},
            "databricks://adb.example",
            "main.default.reviews",
        ),
        (
            {"conn_type": "redshift", "host": "a.example", "schema": "shop"},
            "redshift://a.example:5439",
            "shop.reviews",
        ),
    ],
)
def test_the_lineage_names_a_table_without_the_provider(connection: dict[str, Any], namespace: str, name: str) -> None:
    extra = json.dumps(connection.get("extra", {}))
    found = dataset(url_of(Connection(conn_id="warehouse", **(connection | {"extra": extra}))), None, "reviews")
    assert (found["namespace"], found["name"]) == (namespace, name)


def test_a_missing_provider_is_reported_with_what_installs_it(warehouse: str) -> None:
    extra, _ = PROVIDERS[warehouse]
    with pytest.raises(ConfigurationError, match=rf"pip install 'review-scoring\[{extra}\]'") as error:
        engine_of("warehouse")
    assert "hunter2" not in str(error.value)


def test_a_warehouse_is_refused_as_the_target_without_its_driver(warehouse: str) -> None:
    with pytest.raises(PreflightError) as error:
        target_engine_of(job())
    assert len(error.value.problems) == 1
    assert "cannot hold the scores; set target_conn_id to a PostgreSQL" in error.value.problems[0]
    assert "no row locks" in error.value.problems[0]


def test_the_pages_refuse_a_warehouse_as_the_target(warehouse: str) -> None:
    with pytest.raises(PreflightError, match="cannot hold the scores"):
        Databases().target_engine("warehouse")


def test_preflight_lists_the_refusal_beside_the_other_problems(warehouse: str, sqlite_engine: Engine) -> None:
    scoring = job(source_conn_id="films", target_conn_id="warehouse")
    resources = Resources(source=lambda: sqlite_engine, target=lambda: target_engine_of(scoring), model=lambda: MODEL)
    with pytest.raises(PreflightError) as error:
        preflight(scoring, resources, StopFlag())
    source, target = error.value.problems
    assert "has no table 'reviews'" in source
    assert "connection 'warehouse' is" in target


@pytest.mark.parametrize("dialect", ["mssql", "oracle", "postgresql", "mysql", "mariadb", "sqlite", "duckdb"])
def test_other_databases_are_not_refused(dialect: str) -> None:
    refuse_warehouse("db", dialect)
