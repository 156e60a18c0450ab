"""A run for which no review waits: all tasks of the DAG run, and none loads a model."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from sqlalchemy import Engine

from tests.airflow.runner import AirflowHome
from tests.airflow.test_score_reviews_dag import query, summary


def test_a_run_for_which_no_review_waits_succeeds_without_loading_a_model(
    airflow_home: AirflowHome, sqlite_engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    query(sqlite_engine, "CREATE TABLE reviews (id INTEGER PRIMARY KEY, text TEXT)")
    (tmp_path / "torch.py").write_text("raise SystemExit('the model is loaded')\n")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    job = {"source_table": "reviews"}
    run = airflow_home.dags_test("score_film_reviews", sqlite_engine, job, loads_model=False, max_reviews=5)
    assert run.returncode == 0, run.stdout
    assert summary(run.stdout) == "read=0 scored=0 unchanged=0 rejected=0"
    assert query(sqlite_engine, "SELECT state FROM scoring_runs") == [("success",)]
