"""The web app on the test's warehouse, without the rest of Airflow's API server."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from review_scoring.airflow.web import dag_runs, known_jobs
from review_scoring.airflow.web.app import create_app
from review_scoring.settings import Settings
from tests.airflow.runner import connection
from tests.airflow.web.app_state import without_login
from tests.stubs import Warehouse


@pytest.fixture
def pages(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., TestClient]]:
    """Return a function that makes a client of the pages, without a login, with the given settings."""
    warehouse.job = warehouse.job.replace(name="films")
    job = {"source_conn_id": "reviews", "source_table": "reviews", "text_column": "body"}
    monkeypatch.setattr(dag_runs, "dag_states", lambda _, **__: {})  # there is no Airflow here
    monkeypatch.setattr(known_jobs, "jobs_in_metadata", list)
    monkeypatch.setenv("AIRFLOW_CONN_REVIEWS", connection(warehouse.engine))
    monkeypatch.setenv("AIRFLOW_VAR_REVIEW_SCORING_JOBS", json.dumps({"films": job}))

    apps: list[FastAPI] = []

    def opened(**settings: object) -> TestClient:
        app = without_login(create_app(Settings.model_validate(settings)))
        apps.append(app)
        client = TestClient(app, headers={"Accept": "text/html"})
        if warehouse.engine.dialect.name == "duckdb":  # a DuckDB file is either read or written
            client.event_hooks["request"].append(lambda _: warehouse.engine.dispose())
        return client

    yield opened
    for app in apps:
        app.state.databases.dispose()
