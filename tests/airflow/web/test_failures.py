"""What a reader is told when something is not set up: the right thing, and nothing of the server or the database."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from review_scoring.airflow.web import jobs as web_warehouse
from review_scoring.airflow.web import live_counts as now
from review_scoring.airflow.web.app import create_app
from review_scoring.airflow.web.pages import overview
from review_scoring.errors import PreflightError
from tests.models.own_catalogue import archive_entry
from tests.stubs import Warehouse

Pages = Callable[..., TestClient]

JOB = {"source_conn_id": "reviews", "source_table": "reviews", "text_column": "body"}


def set_job(monkeypatch: pytest.MonkeyPatch, **changes: str) -> None:
    """Define the job anew, with changes."""
    monkeypatch.setenv("AIRFLOW_VAR_REVIEW_SCORING_JOBS", json.dumps({"films": {**JOB, **changes}}))


def logged(shown: str, caplog: pytest.LogCaptureFixture) -> bool:
    """Say whether the reference on a page is in the log."""
    found = re.search(r"Reference <code>(\w+)</code>", shown)
    return found is not None and found[1] in caplog.text


@pytest.mark.parametrize("missing", [ModuleNotFoundError("No module named 'psycopg'"), ImportError("no pq wrapper")])
def test_a_driver_that_is_not_installed_is_named(
    pages: Pages, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, missing: ImportError
) -> None:
    warehouse.create()

    def without_driver(*_: object) -> None:
        raise missing

    monkeypatch.setattr(web_warehouse, "reading_engine", without_driver)
    answer = pages().get("/")
    assert answer.status_code == 503
    assert "not set up as it has to be" in answer.text
    assert "needs a driver that is not installed" in answer.text
    assert "could not be made" not in answer.text


def test_a_connection_that_is_missing_is_not_a_missing_job(
    pages: Pages, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = pages()
    monkeypatch.delenv("AIRFLOW_CONN_REVIEWS")
    answer = client.get("/")
    assert answer.status_code == 503
    assert "no Airflow Connection &#39;reviews&#39;" in answer.text
    assert "There is no scoring job to show" not in answer.text
    answer = client.get("/?job=books")
    assert answer.status_code == 404
    assert "There is no scoring job to show" in answer.text


def test_scores_are_shown_where_the_source_has_no_connection_any_more(
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
    counted = client.get("/now").json()
    assert (counted["waiting"], counted["scored"], counted["rejected"]) == (None, 3, 1)
    assert counted["note"] == now.UNREADABLE


def test_a_source_that_cannot_be_read_hides_neither_scores_nor_figures(
    pages: Pages, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    warehouse.create()
    warehouse.fill(3)
    warehouse.score()
    warehouse.run("CREATE TABLE salaries (id INTEGER)")
    set_job(monkeypatch, source_table="renamed")
    client = pages()
    with caplog.at_level(logging.WARNING):
        answers = [client.get(address) for address in ("/reviews", "/review?id=2", "/now", "/")]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 200]
    assert answers[2].json()["scored"] == 3
    assert answers[2].json()["waiting"] is None
    assert not any("salaries" in answer.text for answer in answers)
    assert "salaries" in caplog.text


def test_what_preflight_finds_wrong_is_for_the_log(
    pages: Pages, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def wrong(*_: object) -> None:
        raise PreflightError(["connection 'reviews' has no table 'reviews'; there is salaries"])

    monkeypatch.setattr(overview, "_nights", wrong)
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
def test_what_is_wrong_in_ones_own_catalogue_hides_no_other_model_and_no_path_is_told(
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
    assert f"entries that cannot be used:</strong> {named}" in shown.text
    assert str(tmp_path) not in shown.text
    assert str(catalogue) in caplog.text
    assert client.get("/model?name=french-reviews-small").status_code == 200
    if named == "mine":
        assert "model?job=films&amp;name=mini-bert" in shown.text
        wrong = client.get("/model?name=mine")
        assert wrong.status_code == 503
        assert "The catalogue of models cannot be read" in wrong.text
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
def test_a_character_that_postgresql_does_not_have_is_refused(pages: Pages, warehouse: Warehouse, asked: str) -> None:
    warehouse.create()
    warehouse.fill(1)
    warehouse.score()
    answer = pages().get(asked)
    assert answer.status_code == 422
    assert "Check what was entered" in answer.text


@pytest.mark.parametrize(("address", "up"), [("/nowhere", ""), ("/no/such/page", "../../"), ("/docs", "")])
def test_an_address_that_no_page_has_is_answered_by_a_page(address: str, up: str) -> None:
    client = TestClient(create_app(), headers={"Accept": "text/html"})
    answer = client.get(address)
    assert answer.status_code == 404
    assert "There is nothing here" in answer.text
    assert f'href="{up}static/pages.css' in answer.text
    assert f'<a href="{up or "./"}">Overview</a>' in answer.text
    assert client.get(address, headers={"Accept": "application/json"}).json()["error"] == "There is nothing here."
