"""Databricks and Redshift, for which there is no emulator: what their hooks ask the clients to connect with."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy.exc import DBAPIError

from review_scoring.airflow.connections.engines import engine_of
from review_scoring.errors import ConfigurationError
from review_scoring.warehouse.errors import Fault, fault_of
from tests.warehouses.conftest import CONN_ID

VARIABLE = f"AIRFLOW_CONN_{CONN_ID.upper()}"


def asked_of(client: Any, error: Callable[[], Exception], monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Have a client fail to connect; return the arguments that it gets."""
    asked: list[tuple[Any, ...]] = []

    def connect(*arguments: Any, **parameters: Any) -> None:
        asked.append((arguments, parameters))
        raise error()

    monkeypatch.setattr(client, "connect", connect)
    return asked


def test_a_connection_to_databricks_has_its_path_catalog_and_schema(monkeypatch: pytest.MonkeyPatch) -> None:
    from databricks import sql
    from databricks.sql.exc import RequestError

    extra = {"http_path": "/sql/1.0/warehouses/a", "catalog": "main"}
    connection: dict[str, Any] = {
        "conn_type": "databricks",
        "host": "https://adb.example",
        "password": "dapi-token",
        "schema": "films",
    }
    connection |= {"extra": extra}
    monkeypatch.setenv(VARIABLE, json.dumps(connection))
    asked = asked_of(sql, lambda: RequestError("a secret", {"http-code": 503}), monkeypatch)
    engine = engine_of(CONN_ID)
    with pytest.raises(DBAPIError) as error, engine.connect():
        pass
    assert fault_of(error.value) is Fault.AWAY
    assert "secret" not in str(error.value)
    arguments, parameters = asked[0]
    assert arguments == ("adb.example", "/sql/1.0/warehouses/a", "dapi-token")
    assert (parameters["catalog"], parameters["schema"]) == ("main", "films")
    assert engine.url.query == {"http_path": "/sql/1.0/warehouses/a", "catalog": "main", "schema": "films"}
    assert engine.url.host == "adb.example"


def test_a_databricks_connection_without_a_path_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, json.dumps({"conn_type": "databricks", "host": "adb.example"}))
    with pytest.raises(ConfigurationError, match="the extra http_path is missing"):
        engine_of(CONN_ID)


def test_each_connection_to_redshift_has_a_password_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    import redshift_connector
    from airflow.providers.amazon.aws.hooks.redshift_sql import RedshiftSQLHook

    connection: dict[str, Any] = {
        "conn_type": "redshift",
        "host": "a.b.eu-west-3.redshift.amazonaws.com",
        "schema": "films",
    }
    connection |= {"login": "scorer", "extra": {"iam": True}}
    monkeypatch.setenv(VARIABLE, json.dumps(connection))
    passwords = iter(["first", "second"])
    monkeypatch.setattr(RedshiftSQLHook, "get_iam_token", lambda self, conn: ("IAM:scorer", next(passwords), 5439))
    asked = asked_of(
        redshift_connector,
        lambda: redshift_connector.ProgrammingError({"C": "28000", "M": "a secret"}),
        monkeypatch,
    )
    engine = engine_of(CONN_ID)
    for _ in range(2):
        with pytest.raises(DBAPIError) as error, engine.connect():
            pass
        assert fault_of(error.value) is Fault.LOGIN
        assert "secret" not in str(error.value)
    assert [parameters["password"] for _, parameters in asked] == ["first", "second"]
    assert engine.dialect.name == "redshift"
