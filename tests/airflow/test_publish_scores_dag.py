"""Scores are published by the DAGs, run by Airflow: after a run, after an erasure, and by the form."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine

from review_scoring.demo import sample_reviews
from tests.airflow.runner import AirflowHome
from tests.airflow.test_score_reviews_dag import fill, query

pytest.importorskip("duckdb_sqlalchemy", reason="the extra `duckdb` is not installed")

REVIEWS: list[tuple[int, str | None]] = [(int(row["id"]), row["text"]) for row in sample_reviews()[:20]]
JOB: dict[str, Any] = {"source_table": "reviews", "publish": [{"conn_id": "mart", "table": "film_labels"}]}
LEDGER = "SELECT review_id, label, score, revision FROM review_labels ORDER BY review_id"
MART = "SELECT review_id, label, score, revision FROM film_labels WHERE job = 'film_reviews' ORDER BY review_id"


@pytest.fixture
def mart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A DuckDB file, as the Connection `mart`."""
    file = tmp_path / "mart.duckdb"
    engine = create_engine(f"duckdb+duckdb_sqlalchemy:///{file}")
    engine.connect().close()
    engine.dispose()
    monkeypatch.setenv("AIRFLOW_CONN_MART", json.dumps({"conn_type": "duckdb", "host": str(file)}))
    return file


def labels(mart: Path) -> list[tuple[object, ...]]:
    engine = create_engine(f"duckdb+duckdb_sqlalchemy:///{mart}")
    with engine.connect() as connection:
        found = [tuple(row) for row in connection.exec_driver_sql(MART)]
    engine.dispose()
    return found


def test_scores_are_published_after_a_run_after_an_erasure_and_by_the_form(
    airflow_home: AirflowHome, sqlite_engine: Engine, mart: Path
) -> None:
    engine = sqlite_engine
    fill(engine, REVIEWS)
    run = airflow_home.dags_test("score_film_reviews", engine, JOB)
    assert run.returncode == 0, run.stdout
    assert "published=20 removed=0 rows=20" in run.stdout
    assert len(labels(mart)) == 20
    assert labels(mart) == query(engine, LEDGER)

    erased = REVIEWS[0][0]
    query(engine, "DELETE FROM reviews WHERE id = :id", {"id": erased})
    run = airflow_home.dags_test("forget_reviews", engine, JOB, ids=[str(erased)])
    assert run.returncode == 0, run.stdout
    assert "published=0 removed=1 rows=19" in run.stdout
    assert labels(mart) == query(engine, LEDGER)

    dry = airflow_home.dags_test("publish_scores", engine, JOB, loads_model=False, resync=True, dry_run=True)
    assert "dry run: published=19 removed=0" in dry.stdout, dry.stdout
    run = airflow_home.dags_test("publish_scores", engine, JOB, loads_model=False, resync=True)
    assert "published=19 removed=0 rows=19" in run.stdout, run.stdout
    assert "Everything was published: that was requested." in run.stdout
    assert labels(mart) == query(engine, LEDGER)


def test_a_destination_that_cannot_be_used_fails_before_a_model_is_loaded(
    airflow_home: AirflowHome, sqlite_engine: Engine, mart: Path
) -> None:
    fill(sqlite_engine, REVIEWS[:1])
    elsewhere = [*JOB["publish"], {"conn_id": "nowhere", "table": "film_labels"}]
    run = airflow_home.dags_test("score_film_reviews", sqlite_engine, {**JOB, "publish": elsewhere})
    assert run.returncode == 1
    assert "there is no Airflow Connection 'nowhere'" in run.stdout
    assert query(sqlite_engine, "SELECT count(*) FROM review_scores")[0][0] == 0


def test_a_job_that_is_not_published_is_refused_by_the_form(airflow_home: AirflowHome, sqlite_engine: Engine) -> None:
    run = airflow_home.dags_test("publish_scores", sqlite_engine, {"source_table": "reviews"}, loads_model=False)
    assert run.returncode == 1
    assert "job 'film_reviews' is not published anywhere: its key `publish` names no table" in run.stdout, run.stdout
