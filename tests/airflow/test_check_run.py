"""The task check_run of the DAG score_reviews, run by Airflow with the bundled model."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine, create_engine, insert, select, text

from review_scoring.airflow.web import dag_runs
from review_scoring.airflow.web.app import create_app
from review_scoring.demo import sample_reviews
from review_scoring.settings import Settings
from review_scoring.warehouse.engine import writing
from review_scoring.warehouse.ledger.counts import Counts
from review_scoring.warehouse.ledger.verdicts import verdicts_in
from review_scoring.warehouse.schema import tables
from tests.airflow.runner import AirflowHome, connection
from tests.airflow.test_score_reviews_dag import fill, query
from tests.airflow.web.app_state import without_login

JOB = {"source_table": "reviews"}
EMPTY: list[tuple[int, str | None]] = [(n, "") for n in range(200)]


def last_run(engine: Engine) -> Any:
    """Return the newest row of `scoring_runs`."""
    runs = tables().runs
    with engine.connect() as database:
        return database.execute(select(runs).order_by(runs.c.id.desc()).limit(1)).one()


def xcoms(home: AirflowHome, run_id: str) -> dict[str, Any]:
    """Return what check_run has sent by XCom."""
    of_task = text("SELECT key, value FROM xcom WHERE task_id = 'check_run' AND run_id = :run_id")
    with create_engine(f"sqlite:///{home.folder / 'airflow.db'}").connect() as database:
        return {row.key: json.loads(row.value) for row in database.execute(of_task, {"run_id": run_id})}


def states(engine: Engine) -> dict[str, str]:
    """Return what the checks said of the newest run."""
    return {each.name: each.state for each in verdicts_in(last_run(engine).checks)}


def test_a_night_that_rejects_everything_fails_the_dag_and_is_shown(
    airflow_home: AirflowHome, sqlite_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(sqlite_engine, EMPTY)
    run = airflow_home.dags_test("score_film_reviews", sqlite_engine, JOB)
    assert run.returncode == 1, run.stdout
    found = "200 of 200 reviews were rejected (100.0%; the limit is 50.0%): 200 empty_text."
    assert f"check rejects failed: {found}" in run.stdout
    assert "AirflowFailException" in run.stdout
    assert f"job 'film_reviews': 1 of 8 checks failed. rejects: {found}" in run.stdout
    assert "read=200 scored=0 unchanged=0 rejected=200" in run.stdout
    assert states(sqlite_engine)["rejects"] == "failed"
    assert last_run(sqlite_engine).state == "success", "what the run wrote is complete, and stays"
    sent = xcoms(airflow_home, last_run(sqlite_engine).dag_run_id)
    assert "200 rejected. It took" in sent["paragraph"]
    assert sent["paragraph"].endswith(f"Checks: 1 failed, 7 skipped. rejects failed: {found}")
    assert [each["state"] for each in sent["checks"] if each["name"] == "rejects"] == ["failed"]

    monkeypatch.setattr(dag_runs, "dag_states", lambda _, **__: {})
    monkeypatch.setenv("AIRFLOW_CONN_REVIEWS", connection(sqlite_engine))
    monkeypatch.setenv(
        "AIRFLOW_VAR_REVIEW_SCORING_JOBS", json.dumps({"film_reviews": {"source_conn_id": "reviews", **JOB}})
    )
    client = TestClient(without_login(create_app(Settings())), headers={"Accept": "text/html"})
    overview = client.get("/").text
    assert '<span class="state state-failed">1 check failed</span>' in overview.split('id="runs-title"')[1]
    assert f"The check <code>rejects</code> has failed:</strong> {found}" in overview
    shown = client.get(
        "/run", params={"dag_id": "score_film_reviews", "run_id": last_run(sqlite_engine).dag_run_id}
    ).text
    assert f"<td>{found}</td>" in shown


def test_a_warning_fails_nothing(airflow_home: AirflowHome, sqlite_engine: Engine) -> None:
    fill(sqlite_engine, EMPTY)
    job = {**JOB, "checks": {"rejects": "warn"}}
    run = airflow_home.dags_test("score_film_reviews", sqlite_engine, job)
    assert run.returncode == 0, run.stdout
    assert "check rejects warned: 200 of 200 reviews were rejected" in run.stdout
    assert "Checks: 1 warned, 7 skipped. rejects warned: 200 of 200" in run.stdout
    assert states(sqlite_engine)["rejects"] == "warned"


def test_a_dry_run_is_not_checked(airflow_home: AirflowHome, sqlite_engine: Engine) -> None:
    fill(sqlite_engine, EMPTY)
    run = airflow_home.dags_test("score_film_reviews", sqlite_engine, JOB, dry_run=True)
    assert run.returncode == 0, run.stdout
    assert "a dry run writes nothing that could be checked" in run.stdout


def test_a_night_of_one_label_fails_after_thirty_ordinary_nights(
    airflow_home: AirflowHome, sqlite_engine: Engine
) -> None:
    engine = sqlite_engine
    fill(engine, [(int(row["id"]), row["text"]) for row in sample_reviews()[:10]])
    first = airflow_home.dags_test("score_film_reviews", engine, JOB)
    assert first.returncode == 0, first.stdout
    assert states(engine)["labels"] == "skipped"
    add_ordinary_nights(engine, 30)
    ordinary = [row["text"] for row in sample_reviews()[100:140]]
    query(engine, "INSERT INTO reviews VALUES (:id, :text)", *rows(1000, ordinary))
    usual = airflow_home.dags_test("score_film_reviews", engine, JOB)
    assert usual.returncode == 0, usual.stdout
    assert states(engine)["labels"] == "passed"
    bad = [f"Nul, ennuyeux, mal joué : à fuir. Note : {n} sur 1000." for n in range(60)]
    query(engine, "INSERT INTO reviews VALUES (:id, :text)", *rows(2000, bad))
    night = airflow_home.dags_test("score_film_reviews", engine, JOB)
    assert night.returncode == 1, night.stdout
    assert "labels: neg has a share of 100.0%, outside the limits" in night.stdout
    assert states(engine)["labels"] == "failed"
    assert query(engine, "SELECT count(*) FROM review_scores")[0][0] == 110
    assert not any(each[:20] in night.stdout for each in [*bad, *ordinary])


def rows(first: int, texts: list[str]) -> list[dict[str, Any]]:
    return [{"id": first + n, "text": each} for n, each in enumerate(texts)]


def add_ordinary_nights(engine: Engine, nights: int) -> None:
    """Add runs before the only one, about half of whose labels are negative."""
    runs, newest = tables().runs, last_run(engine)._asdict()
    del newest["id"]
    values = []
    for n in range(1, nights + 1):
        counts = Counts(read=60, scored=60, labels={"neg": (30 + n % 5, 25.0), "pos": (30 - n % 5, 25.0)})
        back = {name: newest[name] - timedelta(days=n) for name in ("started_at", "ended_at")}
        values.append({**newest, **counts.as_columns(), **back, "dag_run_id": f"night {n}"})
    with writing(engine).begin() as database:
        database.execute(insert(runs), values)
