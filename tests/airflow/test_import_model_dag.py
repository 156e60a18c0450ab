"""DAG runs of Airflow: models are imported and used by their catalogue names."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from review_scoring.demo import sample_reviews
from review_scoring.importing import import_model
from review_scoring.models.catalogue import find_model
from review_scoring.models.settings import ModelSettings
from tests.airflow.runner import AirflowHome
from tests.airflow.test_score_reviews_dag import fill, query, summary
from tests.models.own_catalogue import settings

JOB = {"source_table": "reviews"}


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelSettings:
    """A catalogue and a store that Airflow finds by environment variables."""
    found = settings(tmp_path)
    monkeypatch.setenv("AIRFLOW__REVIEW_SCORING__CATALOGUE", str(found.catalogue))
    monkeypatch.setenv("AIRFLOW__REVIEW_SCORING__MODEL_STORE", str(found.store))
    return found


def test_a_missing_model_is_reported_then_imported_by_the_dag_and_then_scores_reviews(
    airflow_home: AirflowHome, sqlite_engine: Engine, own: ModelSettings
) -> None:
    fill(sqlite_engine, [(int(row["id"]), row["text"]) for row in sample_reviews()[:12]])

    missing = airflow_home.dags_test("score_film_reviews", sqlite_engine, JOB, model="mini-xlm-roberta")
    assert missing.returncode == 1
    assert "'mini-xlm-roberta' is in the catalogue, but not in the model store" in missing.stdout, missing.stdout
    assert 'airflow dags trigger import_model --conf \'{"model": "mini-xlm-roberta"}\'' in missing.stdout

    imported = airflow_home.dags_test("import_model", sqlite_engine, JOB, model="mini-xlm-roberta")
    assert imported.returncode == 0, imported.stdout
    revision = find_model("mini-xlm-roberta", own).revision
    assert f"imported mini-xlm-roberta at revision {revision[:12]}" in imported.stdout
    assert asset_events(airflow_home) == [{"name": "mini-xlm-roberta", "revision": revision}]

    night = airflow_home.dags_test("score_film_reviews", sqlite_engine, JOB, model="mini-xlm-roberta")
    assert night.returncode == 0, night.stdout
    assert summary(night.stdout) == "read=12 scored=12 unchanged=0 rejected=0"
    assert models_of(sqlite_engine) == [("mini-xlm-roberta", revision)]


@pytest.mark.parametrize("name", ["mini-bert", "mini-distilbert"])
def test_an_imported_model_scores_reviews_under_its_catalogue_name(
    airflow_home: AirflowHome, sqlite_engine: Engine, own: ModelSettings, name: str
) -> None:
    fill(sqlite_engine, [(int(row["id"]), row["text"]) for row in sample_reviews()[:12]])
    revision = import_model(f"{name}-alias", own).revision
    night = airflow_home.dags_test("score_film_reviews", sqlite_engine, JOB, model=name)
    assert summary(night.stdout) == "read=12 scored=12 unchanged=0 rejected=0", night.stdout
    assert models_of(sqlite_engine) == [(name, revision)]


def models_of(engine: Engine) -> list[tuple[str, str]]:
    return [tuple(row) for row in query(engine, "SELECT DISTINCT model, revision FROM review_labels")]


def asset_events(home: AirflowHome) -> list[object]:
    """Return the events of the model store in Airflow's database."""
    import json

    from sqlalchemy import create_engine

    with create_engine(f"sqlite:///{home.folder / 'airflow.db'}").connect() as connection:
        rows = connection.execute(
            text("SELECT e.extra FROM asset_event e JOIN asset a ON a.id = e.asset_id WHERE a.name = :name"),
            {"name": "review_scoring_models"},
        )
        return [json.loads(extra) for (extra,) in rows]
