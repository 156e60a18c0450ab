"""SQLAlchemy engines from Airflow Connections: URLs, drivers, missing Connections and jobs."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path

import pytest
from airflow.sdk import Connection
from sqlalchemy import text
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite

from review_scoring.airflow.connections import engines as connections
from review_scoring.airflow.connections.engines import address_of, engine_of
from review_scoring.airflow.jobs import job_named
from review_scoring.errors import ConfigurationError
from review_scoring.warehouse.dialects import Dialect, dialect_of


class Untried(SQLiteDialect_pysqlite):
    """A dialect that this package does not know; it uses SQLite."""

    name = "untried"
    supports_statement_cache = True


@pytest.fixture
def untried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Register the dialect with SQLAlchemy, as an installed package does."""
    monkeypatch.setitem(registry.impls, "untried", lambda: Untried)
    connections._warn_untested.cache_clear()


@pytest.mark.parametrize(
    ("uri", "url"),
    [
        (
            "postgres://u:p%40ss@db:5433/films?sslmode=require",
            "postgresql+psycopg://u:p%40ss@db:5433/films",
        ),
        ("postgresql://db/films", "postgresql+psycopg://db/films"),
        ("mysql://u@db/films", "mysql+pymysql://u@db/films"),
    ],
)
def test_the_fields_of_a_connection_make_an_address(uri: str, url: str) -> None:
    connection = Connection.from_uri(uri, conn_id="db")
    assert address_of(connection).url.render_as_string(hide_password=False) == url


@pytest.mark.parametrize("field", ["host", "schema"])
def test_a_sqlite_path_may_be_in_the_field_host_or_schema(field: str, tmp_path: Path) -> None:
    path = tmp_path / "a folder" / "films.db"
    path.parent.mkdir()
    path.touch()
    connection = Connection(conn_id="db", conn_type="sqlite")
    setattr(connection, field, str(path))
    assert address_of(connection).url.database == str(path)


@pytest.mark.parametrize("conn_type", ["sqlite", "duckdb"])
def test_a_missing_database_file_is_named_and_not_created(conn_type: str, tmp_path: Path) -> None:
    connection = Connection(conn_id="db", conn_type=conn_type, host=str(tmp_path / "typo.db"))
    with pytest.raises(ConfigurationError, match=r"connection 'db': there is no file '.*typo.db'"):
        address_of(connection)
    assert list(tmp_path.iterdir()) == []


def test_a_mysql_connection_without_a_database_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="'db' names no database"):
        address_of(Connection(conn_id="db", conn_type="mysql", host="db"))


@pytest.mark.parametrize("scheme", ["postgresql+psycopg", "postgresql"])
def test_the_drivers_of_tested_databases_give_no_warning(scheme: str, caplog: pytest.LogCaptureFixture) -> None:
    connection = Connection(conn_id="db", conn_type=scheme, host="db", schema="films")
    assert address_of(connection).url.drivername == "postgresql+psycopg"
    assert caplog.records == []


def test_a_missing_connection_is_reported_with_the_ways_to_add_it() -> None:
    with pytest.raises(ConfigurationError, match="no Airflow Connection 'nowhere'.*AIRFLOW_CONN_NOWHERE"):
        engine_of("nowhere")


def test_a_connection_of_another_type_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_WEB", json.dumps({"conn_type": "http", "host": "x", "password": "hunter2hunter2"}))
    with pytest.raises(ConfigurationError, match="'web' is of type 'http'") as error:
        engine_of("web")
    assert "hunter2" not in str(error.value)


def test_a_type_with_a_sqlalchemy_dialect_uses_standard_sql_and_gives_one_warning(
    untried: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_OWN", json.dumps({"conn_type": "untried", "schema": str(tmp_path / "films.db")}))
    with caplog.at_level(logging.WARNING):
        engine = engine_of("own")
        engine_of("own").dispose()
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT 1")) == 1
    assert type(dialect_of(engine)) is Dialect
    engine.dispose()
    assert [record.getMessage().partition(";")[0] for record in caplog.records] == [
        "this package is not tested with untried"
    ]


def test_the_extra_sqlalchemy_scheme_names_the_dialect_of_a_type_without_one(untried: None) -> None:
    extra = json.dumps({"sqlalchemy_scheme": "untried", "warehouse": "small"})
    connection = Connection(conn_id="db", conn_type="odbc", host="db", login="u", schema="films", extra=extra)
    assert str(address_of(connection).url) == "untried://u@db/films?warehouse=small"


@pytest.mark.parametrize("scheme", ["no_such_dialect", "a+b+c", "a b"])
def test_an_unknown_scheme_is_refused_with_what_to_install(scheme: str) -> None:
    connection = Connection(conn_id="db", conn_type="odbc", extra=json.dumps({"sqlalchemy_scheme": scheme}))
    with pytest.raises(ConfigurationError, match=rf"There is no dialect '{re.escape(scheme)}': install its package"):
        address_of(connection)


def test_a_job_of_the_variable_is_found_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = {"films": {"source_conn_id": "db", "source_table": "reviews", "text_column": "body"}}
    monkeypatch.setenv("AIRFLOW_VAR_REVIEW_SCORING_JOBS", json.dumps(jobs))
    assert job_named("films").text_column == "body"
    with pytest.raises(ConfigurationError, match="no scoring job 'books'; there are films"):
        job_named("books")


def test_a_missing_variable_is_reported_with_an_example() -> None:
    with pytest.raises(ConfigurationError, match="no scoring job is defined: write the file .*source_table"):
        job_named("films")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"films": {', "'review_scoring_jobs' is not valid JSON: Expecting .* line 1 column"),
        ("films", "'review_scoring_jobs' is not valid JSON"),
        ('["films"]', "'review_scoring_jobs' is a JSON array; it must be an object"),
        ('"films"', "'review_scoring_jobs' is a JSON string; it must be an object"),
    ],
)
def test_a_variable_with_invalid_json_is_not_reported_as_missing(
    monkeypatch: pytest.MonkeyPatch, text: str, told: str
) -> None:
    monkeypatch.setenv("AIRFLOW_VAR_REVIEW_SCORING_JOBS", text)
    with pytest.raises(ConfigurationError, match=told) as refused:
        job_named("films")
    assert "no scoring job is defined" not in str(refused.value)
