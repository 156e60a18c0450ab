"""The catalogue of a deployment is found wherever a DAG file is parsed, and a typo in it breaks no other model."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, text

from review_scoring.importing import import_model
from tests.airflow.runner import AirflowHome
from tests.airflow.test_score_reviews_dag import fill, query, summary
from tests.models.own_catalogue import archive_entry, settings

JOB = {"source_table": "reviews"}


def test_a_wrong_entry_does_not_stop_a_run_with_the_bundled_champion(
    airflow_home: AirflowHome, sqlite_engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = settings(tmp_path, '[wrong]\nkind = "hub"\n')
    monkeypatch.setenv("AIRFLOW__REVIEW_SCORING__CATALOGUE", str(own.catalogue))
    fill(sqlite_engine, [(1, "Une merveille, courez-y.")])
    night = airflow_home.dags_test("score_film_reviews", sqlite_engine, JOB)
    assert summary(night.stdout) == "read=1 scored=1 unchanged=0 rejected=0", night.stdout
    assert "[wrong], key" in night.stdout


def test_a_catalogue_of_the_configuration_is_found_by_dags_test_and_stays_in_the_forms(
    airflow_home: AirflowHome, sqlite_engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = settings(tmp_path, archive_entry("mini-bert"))
    monkeypatch.setenv("AIRFLOW__REVIEW_SCORING__CATALOGUE", str(own.catalogue))
    monkeypatch.setenv("AIRFLOW__REVIEW_SCORING__MODEL_STORE", str(own.store))
    monkeypatch.setenv("AIRFLOW__CORE__MIN_SERIALIZED_DAG_UPDATE_INTERVAL", "0")
    fill(sqlite_engine, [(1, "Une merveille, courez-y.")])
    revision = import_model("mini-bert", own).revision
    night = airflow_home.dags_test("score_film_reviews", sqlite_engine, JOB, model="mini-bert")
    assert summary(night.stdout) == "read=1 scored=1 unchanged=0 rejected=0", night.stdout
    assert query(sqlite_engine, "SELECT model, revision FROM review_labels") == [("mini-bert", revision)]
    for dag_id in ("score_film_reviews", "rescore_reviews", "promote_model", "import_model"):
        assert '"mini-bert"' in kept(airflow_home, dag_id), f"the form of {dag_id} has lost it"


def kept(home: AirflowHome, dag_id: str) -> str:
    """Return a serialized DAG with the fields of its form."""
    with create_engine(f"sqlite:///{home.folder / 'airflow.db'}").connect() as connection:
        newest = text("SELECT data FROM serialized_dag WHERE dag_id = :dag_id ORDER BY created_at DESC LIMIT 1")
        return str(connection.scalar(newest, {"dag_id": dag_id}))
