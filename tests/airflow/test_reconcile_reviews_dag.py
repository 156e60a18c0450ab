"""Deleted reviews are erased by the DAGs reconcile_reviews and forget_reviews, and by the command, run by Airflow."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, text

from review_scoring.demo import sample_reviews
from tests.airflow.runner import AirflowHome, airflow, connection
from tests.airflow.test_score_reviews_dag import fill, query
from tests.conftest import long_form

REVIEWS: list[tuple[int, str | None]] = [(int(row["id"]), row["text"]) for row in sample_reviews()[:40]]
JOB: dict[str, Any] = {"source_table": "reviews"}


def test_a_reconciliation_erases_deleted_reviews_and_scores_edited_texts_again(
    airflow_home: AirflowHome, postgres_engine: Engine
) -> None:
    engine = postgres_engine
    fill(engine, REVIEWS)
    never = airflow_home.dags_test("reconcile_reviews", engine, JOB, dry_run=True)
    assert "the job has never been scored" in never.stdout, never.stdout
    assert airflow_home.dags_test("score_film_reviews", engine, JOB).returncode == 0
    ids = [id_ for id_, _ in REVIEWS]
    query(engine, "DELETE FROM reviews WHERE id = ANY(:ids)", {"ids": ids[:10]})
    query(engine, "UPDATE reviews SET text = 'Nul, raté, à fuir.' WHERE id = :id", {"id": ids[20]})

    kept = airflow_home.dags_test("reconcile_reviews", engine, JOB)
    assert kept.returncode == 0, kept.stdout
    assert "recorded=40 deleted=10 scores=10 rejects=0 benchmark_texts=0 superseded_texts=0 erased=0" in kept.stdout
    assert "read=30 scored=1 unchanged=29 rejected=0 relabelled=" in kept.stdout
    assert query(engine, "SELECT count(*) FROM review_scores")[0][0] == 40

    erasing = {**JOB, "on_delete": "erase"}
    refused = airflow_home.dags_test("reconcile_reviews", engine, erasing)
    assert refused.returncode == 1
    assert "10 of 40 recorded reviews (25.0%) are no longer in reviews" in refused.stdout
    assert "read=30 scored=0 unchanged=30 rejected=0" in refused.stdout  # the other half of the DAG does not wait

    done = airflow_home.dags_test("reconcile_reviews", engine, erasing, max_deleted_share=0.25)
    assert done.returncode == 0, done.stdout
    assert "superseded_texts=0 erased=10" in done.stdout
    assert "all runs and predictions are kept" in done.stdout
    assert query(engine, "SELECT count(*) FROM review_scores")[0][0] == 30
    assert query(engine, "SELECT count(*), min(reason) FROM erasures")[0] == (10, "deleted")
    for _, body in REVIEWS:
        assert body is not None
        assert body[:40] not in kept.stdout + refused.stdout + done.stdout


@long_form
def test_a_job_whose_rows_all_have_times_compares_no_texts(airflow_home: AirflowHome, sqlite_engine: Engine) -> None:
    engine = sqlite_engine
    query(engine, "CREATE TABLE reviews (id INTEGER PRIMARY KEY, text TEXT, changed INTEGER)")
    query(engine, "CREATE INDEX changed ON reviews (changed)")
    query(engine, "INSERT INTO reviews VALUES (1, 'Un film magnifique.', 1), (2, 'Nul.', 2)")
    job = {**JOB, "updated_at_column": "changed"}
    assert airflow_home.dags_test("score_film_reviews", engine, job).returncode == 0
    run = airflow_home.dags_test("reconcile_reviews", engine, job)
    assert run.returncode == 0, run.stdout
    assert "every row has a value in 'changed'" in run.stdout
    assert "recorded=2 deleted=0" in run.stdout
    query(engine, "INSERT INTO reviews VALUES (3, 'Sans date.', NULL)")
    assert airflow_home.dags_test("score_film_reviews", engine, job).returncode == 0
    query(engine, "UPDATE reviews SET text = 'Sans date, et changé.' WHERE id = 3")
    run = airflow_home.dags_test("reconcile_reviews", engine, job)
    assert "read=1 scored=1 unchanged=0 rejected=0 relabelled=" in run.stdout, run.stdout


def test_given_reviews_are_erased_by_the_form_and_by_the_command(
    airflow_home: AirflowHome, mariadb_engine: Engine, tmp_path: Path
) -> None:
    engine = mariadb_engine
    fill(engine, REVIEWS)
    assert airflow_home.dags_test("score_film_reviews", engine, JOB).returncode == 0
    one, two, three = (id_ for id_, _ in REVIEWS[:3])
    refused = airflow_home.dags_test("forget_reviews", engine, JOB, ids=[one])
    assert refused.returncode == 1
    assert "1 of 1 given ids still exist in reviews" in refused.stdout, refused.stdout
    query(engine, "DELETE FROM reviews WHERE id = :id", *({"id": id_} for id_ in (one, two, three)))
    done = airflow_home.dags_test("forget_reviews", engine, JOB, ids=[one, str(two)])
    assert done.returncode == 0, done.stdout
    assert "film_reviews: 2 ids given. 2 scores, 0 rejects and 0 texts of benchmark sets erased." in done.stdout

    (tmp_path / "ids.txt").write_text(f"{three}\n\n")
    environment = airflow_home.environment(
        AIRFLOW_CONN_REVIEWS=connection(engine),
        AIRFLOW_VAR_REVIEW_SCORING_JOBS=json.dumps({"film_reviews": {"source_conn_id": "reviews", **JOB}}),
    )
    command = [str(Path(sys.executable).with_name("review-scoring")), "forget", "film_reviews"]

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*command, *arguments], env=environment, text=True, capture_output=True, check=False)

    assert (
        "1 score, 0 rejects and 0 texts of benchmark sets would be erased"
        in run("--file", str(tmp_path / "ids.txt"), "--dry-run").stdout
    )
    assert run("--file", str(tmp_path / "ids.txt")).stdout.startswith("film_reviews: 1 id given. 1 score, 0 rejects")
    assert run("--file", "nowhere").stderr.startswith("review-scoring: the file of ids cannot be read")
    assert run("x1").stderr == (
        "review-scoring: 1 of 1 given ids cannot be ids of reviews, whose ids are of type integer; nothing was erased\n"
    )
    assert query(engine, "SELECT count(*) FROM erasures WHERE reason = 'requested'")[0][0] == 3


def test_a_run_that_names_no_job_starts_a_run_of_each(
    airflow_home: AirflowHome, sqlite_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = {"source_conn_id": "reviews", "source_table": "reviews"}
    jobs = json.dumps({"books": job, "films": job})
    environment = airflow_home.environment(
        AIRFLOW_CONN_REVIEWS=connection(sqlite_engine), AIRFLOW_VAR_REVIEW_SCORING_JOBS=jobs
    )
    command = [airflow(), "dags", "test", "reconcile_reviews", "--conf", json.dumps({"dry_run": True})]
    done = subprocess.run(command, env=environment, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    with create_engine(f"sqlite:///{airflow_home.folder / 'airflow.db'}").connect() as metadata:
        queued = text("SELECT conf FROM dag_run WHERE dag_id = 'reconcile_reviews' AND state = 'queued'")
        confs = [json.loads(conf) for (conf,) in metadata.execute(queued)]
        states = text(
            "SELECT task_id, state FROM task_instance WHERE dag_id = 'reconcile_reviews' AND run_id = (SELECT run_id"
            " FROM dag_run WHERE dag_id = 'reconcile_reviews' AND state = 'success' ORDER BY id DESC LIMIT 1)"
        )
        tasks = {row.task_id: row.state for row in metadata.execute(states)}
    assert sorted((conf["job"], conf["dry_run"]) for conf in confs) == [("books", True), ("films", True)]
    assert (tasks["start_run_of_job"], tasks["preflight"], tasks["reconcile"]) == ("success", "skipped", "skipped")
