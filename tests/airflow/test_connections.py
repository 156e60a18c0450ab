"""From an Airflow Connection to a database address."""

from __future__ import annotations

import json

import pytest
from airflow.sdk import Connection

from review_scoring.airflow.connections import engine_of, url_of
from review_scoring.airflow.jobs import job_named
from review_scoring.errors import ConfigurationError


@pytest.mark.parametrize(
    ("uri", "url"),
    [
        (
            "postgres://u:p%40ss@db:5433/films?sslmode=require",
            "postgresql+psycopg://u:p%40ss@db:5433/films?sslmode=require",
        ),
        ("postgresql://db/films", "postgresql+psycopg://db/films"),
        ("mysql://u@db/films", "mysql+pymysql://u@db/films"),
        ("sqlite:////tmp/a folder/films.db", "sqlite:////tmp/a folder/films.db"),
    ],
)
def test_the_fields_of_a_connection_make_an_address(uri: str, url: str) -> None:
    connection = Connection.from_uri(uri, conn_id="db")
    assert url_of(connection).render_as_string(hide_password=False) == url


def test_a_sqlite_path_may_stand_in_the_host_field() -> None:
    assert url_of(Connection(conn_id="db", conn_type="sqlite", host="/tmp/films.db")).database == "/tmp/films.db"  # noqa: S108


def test_a_missing_connection_is_told_with_the_ways_to_add_it() -> None:
    with pytest.raises(ConfigurationError, match="no Airflow Connection 'nowhere'.*AIRFLOW_CONN_NOWHERE"):
        engine_of("nowhere")


def test_a_connection_of_another_kind_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_WEB", json.dumps({"conn_type": "http", "host": "x", "password": "hunter2hunter2"}))
    with pytest.raises(ConfigurationError, match="'web' is of type 'http'") as error:
        engine_of("web")
    assert "hunter2" not in str(error.value)


def test_a_job_of_the_variable_is_found_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = {"films": {"source_conn_id": "db", "source_table": "reviews", "text_column": "body"}}
    monkeypatch.setenv("AIRFLOW_VAR_REVIEW_SCORING_JOBS", json.dumps(jobs))
    assert job_named("films").text_column == "body"
    with pytest.raises(ConfigurationError, match="no scoring job 'books' .* it has films"):
        job_named("books")


def test_a_missing_variable_is_told_with_an_example() -> None:
    with pytest.raises(ConfigurationError, match="no Airflow Variable 'review_scoring_jobs'.*source_table"):
        job_named("films")
