"""Error pages of an incomplete setup: they name the cause, and nothing of the server or the database."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from review_scoring.airflow.web import databases, live_counts, selected_job
from review_scoring.airflow.web.app import create_app
from review_scoring.errors import PreflightError
from tests.models.own_catalogue import archive_entry
from tests.stubs import Warehouse

Pages = Callable[..., TestClient]

JOB = {"source_conn_id": "reviews", "source_table": "reviews", "text_column": "body"}


def set_job(monkeypatch: pytest.MonkeyPatch, **changes: str) -> None:
    """Define the job with changed settings."""
    monkeypatch.setenv("AIRFLOW_VAR_REVIEW_SCORING_JOBS", json.dumps({"films": {**JOB, **changes}}))


def logged(shown: str, caplog: pytest.LogCaptureFixture) -> bool:
    """Return whether the reference on a page is in the log."""
    found = re.search(r"Reference <code>(\w+)</code>", shown)
    return found is not None and found[1] in caplog.text


@pytest.mark.parametrize("missing", [ModuleNotFoundError("No module named 'psycopg'"), ImportError("no pq wrapper")])
def test_a_driver_that_is_not_installed_is_named(
    pages: Pages, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, missing: ImportError
) -> None:
    warehouse.create()

    def without_driver(*_: object) -> None:
        raise missing

    monkeypatch.setattr(databases, "reading_engine", without_driver)
    answer = pages().get("/")
    assert answer.status_code == 503
    assert "The scoring setup is incomplete" in answer.text
    assert "needs a driver that is not installed" in answer.text
    assert "could not be rendered" not in answer.text


def test_a_connection_that_is_missing_is_not_a_missing_job(pages: Pages, monkeypatch: pytest.MonkeyPatch) -> None:
    client = pages()
    monkeypatch.delenv("AIRFLOW_CONN_REVIEWS")
    answer = client.get("/")
    assert answer.status_code == 503
    assert "no Airflow Connection &#39;reviews&#39;" in answer.text
    assert "There is no scoring job to show" not in answer.text
    answer = client.get("/?job=books")
    assert answer.status_code == 404
    assert "There is no scoring job to show" in answer.text


def test_scores_are_shown_if_the_connection_of_the_source_was_deleted(
    pages: Pages, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse.create()
    warehouse.fill(3)
    warehouse.insert((9, None))
    warehouse.score()
    set_job(monkeypatch, source_conn_id="gone", target_conn_id="reviews")
    client = pages()
    for address in ("/reviews", "/review?id=2"):
        answer = client.get(address)
        assert answer.status_code == 200, address
        assert 'class="label label-' in answer.text
        assert "their texts are missing" in answer.text
    counted = client.get("/live-counts").json()
    assert (counted["waiting"], counted["scored"], counted["rejected"]) == (None, 3, 1)
    assert counted["note"] == live_counts.UNREADABLE


def test_an_unreadable_source_hides_neither_scores_nor_counts(
    pages: Pages, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    warehouse.create()
    warehouse.fill(3)
    warehouse.score()
    warehouse.run("CREATE TABLE salaries (id INTEGER)")
    set_job(monkeypatch, source_table="renamed")
    client = pages()
    with caplog.at_level(logging.WARNING):
        answers = [client.get(address) for address in ("/reviews", "/review?id=2", "/live-counts", "/")]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 200]
    assert answers[2].json()["scored"] == 3
    assert answers[2].json()["waiting"] is None
    assert not any("salaries" in answer.text for answer in answers)
    assert "salaries" in caplog.text


def test_problems_found_by_preflight_are_logged_and_not_shown(
    pages: Pages, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def wrong(*_: object) -> None:
        raise PreflightError(["connection 'reviews' has no table 'reviews'; there is salaries"])

    monkeypatch.setattr(selected_job, "find_job", wrong)
    warehouse.create()
    with caplog.at_level(logging.WARNING):
        answer = pages().get("/")
    assert answer.status_code == 503
    assert "The source of the reviews cannot be read" in answer.text
    assert "task preflight" in answer.text
    assert "salaries" not in answer.text
    assert "salaries" in caplog.text
    assert logged(answer.text, caplog)


@pytest.mark.parametrize(
    ("own", "named"),
    [
        ("[broken", "the whole file"),
        (None, "the whole file"),
        ('[mine]\nkind = "hub"\n' + archive_entry("mini-bert"), "mine"),
    ],
)
def test_an_invalid_entry_of_the_own_catalogue_hides_no_other_model_and_shows_no_path(
    pages: Pages,
    warehouse: Warehouse,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
    own: str | None,
    named: str,
) -> None:
    warehouse.create()
    catalogue = tmp_path / "own.toml"
    if own is not None:
        catalogue.write_text(own)
    monkeypatch.setenv("AIRFLOW__REVIEW_SCORING__CATALOGUE", str(catalogue))
    client = pages()
    with caplog.at_level(logging.WARNING):
        shown = client.get("/models")
    assert shown.status_code == 200
    assert f"has invalid entries:</strong> {named}" in shown.text
    assert str(tmp_path) not in shown.text
    assert str(catalogue) in caplog.text
    assert client.get("/model?name=french-reviews-small").status_code == 200
    if named == "mine":
        assert "model?job=films&amp;name=mini-bert" in shown.text
        wrong = client.get("/model?name=mine")
        assert wrong.status_code == 503
        assert "The model catalogue cannot be read" in wrong.text
        assert str(tmp_path) not in wrong.text


@pytest.mark.parametrize(
    "asked",
    [
        "/review?id=1%00",
        "/reviews?label=a%00",
        "/reviews?model=a%00",
        "/reviews?after_score=0.5&after_id=a%00",
        "/rejects?reason=a%00",
        "/rejects?after=a%00",
        "/run?dag_id=a%00&run_id=b",
        "/run?dag_id=a&run_id=b%00",
    ],
)
def test_the_character_nul_is_refused(pages: Pages, warehouse: Warehouse, asked: str) -> None:
    warehouse.create()
    warehouse.fill(1)
    warehouse.score()
    answer = pages().get(asked)
    assert answer.status_code == 422
    assert "Check these fields" in answer.text


@pytest.mark.parametrize(("address", "up"), [("/nowhere", ""), ("/no/such/page", "../../"), ("/docs", "")])
def test_an_unknown_address_gets_an_error_page(address: str, up: str) -> None:
    client = TestClient(create_app(), headers={"Accept": "text/html"})
    answer = client.get(address)
    assert answer.status_code == 404
    assert "Page not found" in answer.text
    assert f'href="{up}static/pages.css' in answer.text
    assert f'<a href="{up or "./"}">Overview</a>' in answer.text
    assert client.get(address, headers={"Accept": "application/json"}).json()["error"] == "Page not found."
