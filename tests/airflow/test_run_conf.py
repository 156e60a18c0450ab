"""A run with an unknown conf key, or an ignored conf, fails before anything is read or written."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Engine

from review_scoring.demo import sample_reviews
from tests.airflow.runner import AirflowHome
from tests.airflow.test_score_reviews_dag import fill, query, tables_query

JOB = {"source_table": "reviews"}
CHOICES: dict[str, dict[str, Any]] = {
    "score_film_reviews": {},
    "rescore_reviews": {},
    "reconcile_reviews": {},
    "forget_reviews": {"ids": [1]},
    "publish_scores": {},
    "benchmark_models": {},
    "import_model": {"model": "allocine-camembert"},
    "promote_model": {"model": "french-reviews-small", "reason": "it is good"},
}
"""DAG -> the required fields of its form."""


@pytest.mark.parametrize("dag_id", CHOICES)
def test_a_mistyped_key_is_refused_by_name_in_every_dag_before_anything_is_written(
    airflow_home: AirflowHome, sqlite_engine: Engine, dag_id: str
) -> None:
    fill(sqlite_engine, [(int(row["id"]), row["text"]) for row in sample_reviews()[:3]])
    run = airflow_home.dags_test(
        dag_id, sqlite_engine, JOB, loads_model=False, **CHOICES[dag_id], modell="secret value"
    )
    assert run.returncode == 1, run.stdout
    assert "unknown key: 'modell'" in run.stdout, run.stdout
    assert "secret value" not in run.stdout.replace("'modell': 'secret value'", "")
    assert [name for (name,) in query(sqlite_engine, tables_query(sqlite_engine))] == ["reviews"]


def test_a_mistyped_dry_run_scores_nothing_and_the_error_suggests_the_key(
    airflow_home: AirflowHome, sqlite_engine: Engine
) -> None:
    fill(sqlite_engine, [(1, "Une merveille, courez-y.")])
    run = airflow_home.dags_test("score_film_reviews", sqlite_engine, JOB, loads_model=False, dryrun=True)
    assert run.returncode == 1, run.stdout
    assert "unknown key: 'dryrun' (did you mean 'dry_run'?)" in run.stdout
    keys = "dry_run, model, max_reviews, max_minutes, long_texts, order, start_after, shards, chunk_rows"
    assert f"The keys of this DAG are {keys}" in run.stdout
    assert [name for (name,) in query(sqlite_engine, tables_query(sqlite_engine))] == ["reviews"]


def test_a_dry_run_whose_conf_airflow_ignores_scores_nothing(
    airflow_home: AirflowHome, sqlite_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(sqlite_engine, [(1, "Une merveille, courez-y.")])
    monkeypatch.setenv("AIRFLOW__CORE__DAG_RUN_CONF_OVERRIDES_PARAMS", "False")
    run = airflow_home.dags_test("score_film_reviews", sqlite_engine, JOB, loads_model=False, dry_run=True)
    assert run.returncode == 1, run.stdout
    assert "Airflow ignores the conf of this run (dry_run)" in run.stdout
    assert [name for (name,) in query(sqlite_engine, tables_query(sqlite_engine))] == ["reviews"]
