"""The DAG score_reviews, run by Airflow with the bundled model."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from review_scoring.demo import sample_reviews
from review_scoring.warehouse.engine import writing
from tests.airflow.runner import AirflowHome

SUMMARY = re.compile(r"read=\d+ scored=\d+ unchanged=\d+ rejected=\d+")


def summary(log: str) -> str:
    """Return the summary line in a run's log, which must be the only one."""
    (found,) = set(SUMMARY.findall(log))
    return str(found)


def query(engine: Engine, statement: str, *rows: dict[str, Any]) -> Any:
    with writing(engine).begin() as connection:
        result = connection.execute(text(statement), list(rows) if rows else None)
        return result.all() if result.returns_rows else None


def fill(engine: Engine, rows: list[tuple[int, str | None]]) -> None:
    query(engine, "CREATE TABLE reviews (id INTEGER PRIMARY KEY, text TEXT)")
    query(engine, "INSERT INTO reviews VALUES (:id, :text)", *({"id": i, "text": t} for i, t in rows))


def test_the_nightly_dag_scores_once_dry_runs_without_writing_and_takes_late_rows(
    airflow_home: AirflowHome, engine: Engine
) -> None:
    rows: list[tuple[int, str | None]] = [(int(r["id"]) * 2, r["text"]) for r in sample_reviews()[:40]]
    fill(engine, [*rows, (1000, None)])
    job = {"source_table": "reviews"}

    dry = airflow_home.dags_test("score_film_reviews", engine, job, dry_run=True)
    assert dry.returncode == 0, dry.stdout
    assert "41 reviews wait" in dry.stdout
    names = query(engine, tables_query(engine))
    assert [name for (name,) in names if "scor" in name or "reject" in name] == []

    first = airflow_home.dags_test("score_film_reviews", engine, job, chunk_rows=16)
    assert first.returncode == 0, first.stdout
    assert summary(first.stdout) == "read=41 scored=40 unchanged=0 rejected=1"
    assert query(engine, "SELECT count(*) FROM review_scores")[0][0] == 40
    for _, body in rows:
        assert body is not None
        assert body[:40] not in first.stdout

    query(
        engine,
        "INSERT INTO reviews VALUES (:id, :text)",
        *({"id": n, "text": "Très bon film"} for n in (3, 9, 41)),
    )
    second = airflow_home.dags_test("score_film_reviews", engine, job)
    assert summary(second.stdout) == "read=3 scored=3 unchanged=0 rejected=0"

    third = airflow_home.dags_test("score_film_reviews", engine, job)
    assert third.returncode == 0, third.stdout
    assert summary(third.stdout) == "read=0 scored=0 unchanged=0 rejected=0"


def test_all_problems_of_a_job_are_reported_at_once_before_the_model_is_loaded(
    airflow_home: AirflowHome, engine: Engine
) -> None:
    fill(engine, [(1, "bien")])
    job = {"source_table": "reviews", "text_column": "body", "updated_at_column": "changed"}
    run = airflow_home.dags_test("score_film_reviews", engine, job)
    assert run.returncode == 1
    assert "preflight found 2 problems:" in run.stdout, run.stdout
    assert "no column 'body' (text_column); it has id, text" in run.stdout
    assert "no column 'changed' (updated_at_column)" in run.stdout
    assert "loaded in" not in run.stdout


def test_the_real_sample_is_scored_with_the_accuracy_of_the_model_card(
    airflow_home: AirflowHome, postgres_engine: Engine, allocine: Path
) -> None:
    engine = postgres_engine
    with (allocine / "allocine_test_sample.csv").open(encoding="utf-8", newline="") as stream:
        sample = list(csv.DictReader(stream))
    query(engine, "CREATE TABLE films (review_id bigint PRIMARY KEY, review_text text, label text)")
    # Odd ids, so that ten even ones can come late in the middle of the range.
    query(
        engine,
        "INSERT INTO films VALUES (:review_id, :review_text, :label)",
        *({**r, "review_id": int(r["review_id"]) * 2 + 1} for r in sample),
    )
    job = {"source_table": "films", "id_column": "review_id", "text_column": "review_text"}

    first = airflow_home.dags_test("score_film_reviews", engine, job)
    assert summary(first.stdout) == "read=1367 scored=1367 unchanged=0 rejected=0", first.stdout
    right = query(
        engine,
        "SELECT count(*) FROM review_scores s JOIN films f ON f.review_id::text = s.review_id WHERE s.label = f.label",
    )[0][0]
    # The model card: 0.9093 in float32, 0.9100 in bfloat16, on these rows.
    assert right / 1367 == pytest.approx(0.9093, abs=0.005)
    print(f"accuracy on the AlloCiné sample: {right / 1367:.4f}")

    second = airflow_home.dags_test("score_film_reviews", engine, job)
    assert summary(second.stdout) == "read=0 scored=0 unchanged=0 rejected=0"

    late = [{"id": 700 + 2 * n, "t": "Une merveille, courez-y."} for n in range(10)]
    query(engine, "INSERT INTO films VALUES (:id, :t, 'pos')", *late)
    third = airflow_home.dags_test("score_film_reviews", engine, job)
    assert summary(third.stdout) == "read=10 scored=10 unchanged=0 rejected=0"


def tables_query(engine: Engine) -> str:
    here = {"postgresql": "'public'", "mysql": "database()"}
    if engine.dialect.name == "sqlite":
        return "SELECT name FROM sqlite_master WHERE type = 'table'"
    return f"SELECT table_name FROM information_schema.tables WHERE table_schema = {here[engine.dialect.name]}"


def test_the_first_run_over_a_backlog_takes_its_budget_with_the_newest_reviews(
    airflow_home: AirflowHome, postgres_engine: Engine
) -> None:
    engine = postgres_engine
    query(engine, "CREATE TABLE reviews (id bigint PRIMARY KEY, text text)")
    query(engine, "INSERT INTO reviews SELECT n, 'Un film sans surprise, vu en ' || n FROM generate_series(1, 50000) n")
    query(engine, "INSERT INTO reviews SELECT 60000 + n, 'Une merveille' FROM generate_series(1, 10) n")
    job = {"source_table": "reviews", "max_reviews": 1000}

    dry = airflow_home.dags_test("score_film_reviews", engine, job, dry_run=True)
    assert "waiting=50010 reviews=1000" in dry.stdout, dry.stdout
    assert "All of them take 51 runs" in dry.stdout

    first = airflow_home.dags_test("score_film_reviews", engine, job)
    assert first.returncode == 0, first.stdout
    assert "read=1000 scored=1000 unchanged=0 rejected=0 waiting=49010" in first.stdout
    assert query(engine, "SELECT count(*) FROM review_scores WHERE CAST(review_id AS bigint) > 60000")[0][0] == 10

    wrong = airflow_home.dags_test("score_film_reviews", engine, job, start_after="hier")
    assert wrong.returncode == 1
    assert "start_after is 'hier', which is no value of column 'id' of reviews; give an id" in wrong.stdout
