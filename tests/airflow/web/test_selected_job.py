"""Selecting a job: the first one, another one, an invalid one, none, and one that the user may not see."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import cast
from urllib.parse import parse_qsl, urlsplit

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from review_scoring.airflow.web import known_jobs
from review_scoring.airflow.web.app import create_app
from review_scoring.airflow.web.known_jobs import KnownJob
from tests.airflow.web.app_state import without_login
from tests.stubs import Warehouse

Pages = Callable[..., TestClient]
JOB = {"source_conn_id": "reviews", "source_table": "reviews", "text_column": "body"}


@pytest.mark.parametrize(
    ("asked", "shown"),
    [
        ("/review?id=1", "reviews"),
        ("/run?dag_id=dag&run_id=run 1", "./"),
        ("/model?name=french-reviews-small", "models"),
        ("/reviews?label=neg", "reviews"),
        ("/rejects?reason=null_text", "rejects"),
        ("/models", "models"),
        ("/?job=films", "./"),
    ],
)
def test_every_page_can_switch_to_another_job(
    pages: Pages, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, asked: str, shown: str
) -> None:
    warehouse.create()
    warehouse.fill(2)
    warehouse.score("run 1")
    monkeypatch.setenv("AIRFLOW_VAR_REVIEW_SCORING_JOBS", json.dumps({"films": JOB, "books": JOB}))
    client = pages()
    form = re.search(r'<form class="job" method="get" action="([^"]*)"', client.get(asked).text)
    assert form is not None
    assert form[1] == shown
    answer = client.get("/" + form[1].removeprefix("./"), params={"job": "books"})
    assert answer.status_code == 200
    assert "<option selected>books</option>" in answer.text


BROKEN = {"source_conn_id": "reviews", "tabel": "reviews"}


@pytest.mark.parametrize("asked", ["/?job=broken", "/reviews", "/models", "/live-counts"])
def test_an_invalid_job_does_not_hide_the_others(
    pages: Pages, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, asked: str
) -> None:
    warehouse.create()
    monkeypatch.setenv("AIRFLOW_VAR_REVIEW_SCORING_JOBS", json.dumps({"broken": BROKEN, "films": JOB}))
    answer = pages().get(asked)
    assert answer.status_code == 503
    assert "key &#39;tabel&#39;: there is no such key" in answer.text
    assert "<option selected>broken</option>" in answer.text
    assert "<option>films</option>" in answer.text
    assert '<a href="models?job=broken"' in answer.text


def test_users_without_access_do_not_see_the_names_of_jobs(pages: Pages, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_VAR_REVIEW_SCORING_JOBS", json.dumps({"broken": BROKEN, "films": JOB}))
    app = without_login(create_app(), lambda _: set())
    answer = TestClient(app, headers={"Accept": "text/html"}).get("/")
    assert answer.status_code == 403
    assert "films" not in answer.text


@pytest.mark.parametrize("path", ["/", "/reviews", "/rejects", "/models", "/live-counts", "/review?id=1"])
def test_who_may_read_the_dag_of_one_job_sees_that_job_and_does_not_learn_of_others(
    pages: Pages, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    warehouse.create()
    warehouse.fill(2)
    warehouse.score("run 1")
    monkeypatch.setenv("AIRFLOW_VAR_REVIEW_SCORING_JOBS", json.dumps({"books": JOB, "films": JOB}))
    app = pages().app
    reader = TestClient(without_login(cast(FastAPI, app), {"score_films"}.intersection))
    for asked in ({}, {"job": "films"}):
        answer = reader.get(path, params={**_query(path), **asked})
        assert answer.status_code == 200, answer.text
        assert "books" not in answer.text
    for other in ("books", "no such job"):
        refused = reader.get(path, params={**_query(path), "job": other})
        assert refused.status_code == 403
        assert "books" not in refused.text


def test_the_pages_of_a_job_belong_to_the_dag_that_scores_it_in_the_metadata(
    pages: Pages, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse.create()
    of_dag = KnownJob("films", "a_dag_of_ours", {**JOB, "text_column": "body"})
    monkeypatch.setattr(known_jobs, "jobs_in_metadata", lambda: [of_dag])
    app = cast(FastAPI, pages().app)
    assert TestClient(without_login(app, {"score_films"}.intersection)).get("/").status_code == 403
    answer = TestClient(without_login(app, {"a_dag_of_ours"}.intersection)).get("/")
    assert answer.status_code == 200
    assert "dags/a_dag_of_ours" in answer.text


def test_the_readers_of_another_dag_that_scores_a_job_do_not_become_its_readers(
    pages: Pages, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse.create()
    found = [KnownJob("films", dag_id, JOB) for dag_id in ("score_films", "zz_of_another_team")]
    monkeypatch.setattr(known_jobs, "jobs_in_metadata", lambda: found)
    app = cast(FastAPI, pages().app)
    assert TestClient(without_login(app, {"zz_of_another_team"}.intersection)).get("/").status_code == 403
    assert TestClient(without_login(app, {"score_films"}.intersection)).get("/").status_code == 200


def _query(path: str) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(path).query))


def test_a_page_that_finds_nothing_keeps_the_navigation(pages: Pages, warehouse: Warehouse) -> None:
    warehouse.create()
    answer = pages().get("/run?dag_id=a&run_id=b")
    assert answer.status_code == 404
    assert '<a href="reviews?job=films"' in answer.text


@pytest.mark.parametrize("text", ["", "{}"])
def test_without_a_job_the_page_shows_how_to_define_one(
    pages: Pages, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("AIRFLOW_VAR_REVIEW_SCORING_JOBS", text)
    answer = pages().get("/")
    assert answer.status_code == 404
    assert "no scoring job is defined: write the file review_scoring_jobs/film_reviews.toml" in answer.text
    assert "None" not in answer.text
