"""DAG runs of Airflow: models are evaluated, stopped by the gate, promoted, and used by scoring."""

from __future__ import annotations

import csv
import shutil
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from airflow.sdk import DAG
from airflow.sdk.execution_time.comms import AssetEventDagRunReferenceResult
from airflow.sdk.execution_time.context import TriggeringAssetEventsAccessor
from safetensors.torch import load_file, save_file
from sqlalchemy import Engine, inspect

from review_scoring.airflow.assets import MODEL_STORE
from review_scoring.airflow.compat import AssetOrTimeSchedule
from review_scoring.airflow.dags.benchmarking import create_benchmark_dag
from review_scoring.airflow.operators.evaluate_models import (
    BenchmarkModelOperator,
    LoadBenchmarkOperator,
    models_to_evaluate,
)
from review_scoring.airflow.operators.promote_model import PromoteModelOperator
from review_scoring.demo import sample_reviews
from review_scoring.importing import import_model
from review_scoring.job import ScoringJob
from review_scoring.models.catalogue import BUNDLED, DEFAULT_MODEL
from review_scoring.models.settings import ModelSettings
from tests.airflow.runner import ROOT, AirflowHome
from tests.airflow.test_score_reviews_dag import fill, query, summary
from tests.models.own_catalogue import entry, settings

JOB = {"source_table": "reviews"}
OURS = "films-small"
REVIEWS = sample_reviews()[:100]

SETS = """
[films]
title = "Labelled films"
kind = "file"
path = "films.csv"
id_column = "id"
text_column = "text"
label_column = "label"
labels = { neg = "neg", pos = "pos" }
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelSettings:
    """A catalogue with one model and a labelled set, which Airflow finds by environment variables."""
    shutil.copytree(BUNDLED / DEFAULT_MODEL, tmp_path / "model")
    found = settings(tmp_path, entry(OURS, "folder", 'folder = "model"'))
    with (tmp_path / "films.csv").open("w", encoding="utf-8", newline="") as stream:
        rows = csv.DictWriter(stream, ["id", "text", "label"], extrasaction="ignore")
        rows.writeheader()
        rows.writerows(REVIEWS)
    (tmp_path / "sets.toml").write_text(SETS)
    monkeypatch.setenv("AIRFLOW__REVIEW_SCORING__CATALOGUE", str(found.catalogue))
    monkeypatch.setenv("AIRFLOW__REVIEW_SCORING__MODEL_STORE", str(found.store))
    monkeypatch.setenv("AIRFLOW__REVIEW_SCORING__BENCHMARK_SETS", str(tmp_path / "sets.toml"))
    return found


def disturb(folder: Path) -> None:
    """Add noise to the weights of a model and negate its last layer: it is significantly worse on any machine."""
    torch.manual_seed(0)
    weights = load_file(folder / "model.safetensors")
    shaken = {
        name: w + 0.6 * w.float().std() * torch.randn(w.shape).to(w.dtype) if w.dim() == 2 else w
        for name, w in weights.items()
    }
    shaken["classifier.weight"] *= -1
    save_file({k: w.half() for k, w in shaken.items()}, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.timeout(1800)  # seven runs of Airflow, and two imports
def test_a_model_that_got_worse_fails_the_gate_is_refused_by_scoring_and_replaced_by_a_promotion(
    airflow_home: AirflowHome,
    sqlite_engine: Engine,
    own: ModelSettings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine = sqlite_engine
    fill(engine, [(int(row["id"]), row["text"]) for row in REVIEWS[:20]])
    monkeypatch.setenv("AIRFLOW_VAR_REVIEW_SCORING_REQUIRE_BENCHMARK", "films")
    good = import_model(OURS, own).revision

    chosen = [OURS, "allocine-camembert"]
    first = airflow_home.dags_test("benchmark_models", engine, JOB, models=chosen, benchmark_set="films")
    assert first.returncode == 0, first.stdout
    assert "set films, 100 reviews" in first.stdout
    assert "not evaluated: model 'allocine-camembert' is in the catalogue, but not in the model store" in first.stdout
    for row in REVIEWS[:20]:
        assert row["text"][:40] not in first.stdout

    disturb(tmp_path / "model")
    bad = import_model(OURS, own).revision
    assert bad != good
    second = airflow_home.dags_test("benchmark_models", engine, JOB, models=[OURS], benchmark_set="films")
    assert second.returncode == 1, second.stdout
    assert f"{OURS} at revision {bad[:12]} on set 'films': " in second.stdout
    assert "points since evaluation 1 of" in second.stdout

    night = airflow_home.dags_test("score_film_reviews", engine, JOB, model=OURS)
    assert night.returncode == 1
    assert f"model '{OURS}' at revision {bad[:12]} has not passed evaluation 2" in night.stdout, night.stdout
    assert "loaded in" not in night.stdout

    promoted = airflow_home.dags_test("promote_model", engine, JOB, model=OURS, reason="it was good", evaluation=1)
    assert promoted.returncode == 0, promoted.stdout
    ((model, revision, evaluation, who, reason),) = query(
        engine, "SELECT model, revision, benchmark_run_id, promoted_by, reason FROM promotions"
    )
    assert (model, revision, evaluation, reason) == (OURS, good, 1, "it was good")
    assert who == "dag_test"  # the user by whose name `airflow dags test` triggers

    champion = airflow_home.dags_test("score_film_reviews", engine, JOB)
    assert summary(champion.stdout) == "read=20 scored=20 unchanged=0 rejected=0", champion.stdout
    assert query(engine, "SELECT DISTINCT model, revision FROM review_labels") == [(OURS, good)]

    monkeypatch.delenv("AIRFLOW_VAR_REVIEW_SCORING_REQUIRE_BENCHMARK")
    choice: dict[str, Any] = {"model": DEFAULT_MODEL, "reason": "it needs no store", "without_passing": True}
    monkeypatch.setenv("AIRFLOW__REVIEW_SCORING__UNPASSED_PROMOTIONS", "allowed")
    assert airflow_home.dags_test("promote_model", engine, JOB, **choice).returncode == 0
    new = [{"id": 1000 + n, "text": row["text"]} for n, row in enumerate(REVIEWS[:5])]
    query(engine, "INSERT INTO reviews VALUES (:id, :text)", *new)
    after = airflow_home.dags_test("score_film_reviews", engine, JOB)
    assert summary(after.stdout) == "read=5 scored=5 unchanged=0 rejected=0", after.stdout
    by_model = query(engine, "SELECT model, count(*) FROM review_labels GROUP BY model ORDER BY model")
    assert by_model == [(OURS, 20), (DEFAULT_MODEL, 5)], "a promotion changes what new reviews get, and no old score"


def test_a_run_evaluates_the_chosen_models_or_the_champion_and_the_imported_ones() -> None:
    def context(*extras: dict[str, Any]) -> Any:
        """Return the context of a task with asset events."""
        asset = {"name": MODEL_STORE.name, "uri": MODEL_STORE.uri, "extra": {}}
        source = dict.fromkeys(f"source_{each}" for each in ("task_id", "dag_id", "run_id", "map_index"))
        same: dict[str, Any] = {"asset": asset, **source, "source_aliases": [], "timestamp": datetime.now(UTC)}
        events = [AssetEventDagRunReferenceResult(**same, extra=extra) for extra in extras]
        return {"triggering_asset_events": TriggeringAssetEventsAccessor.build(events)}

    imported = {"name": "m", "revision": "abc"}
    assert models_to_evaluate(["a", "b", "a"], context(imported)) == ["a", "b"]
    assert models_to_evaluate([], {}) == ["champion"]
    assert models_to_evaluate([], context()) == ["champion"]
    assert models_to_evaluate([], context(imported, imported)) == ["champion", "m@abc"]


def test_the_benchmark_runs_every_week_and_on_the_event_of_an_imported_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__REVIEW_SCORING__BENCHMARK_SCHEDULE", "0 5 * * 6")
    timetable: Any = create_benchmark_dag(str(ROOT / "dags" / "benchmark_models.py")).timetable
    assert isinstance(timetable, AssetOrTimeSchedule)
    weekly: Any = timetable.timetable
    assert weekly.expression == "0 5 * * 6"
    imported: Any = timetable.asset_condition
    assert list(imported.objects) == [MODEL_STORE]


def test_a_limit_of_nothing_is_refused() -> None:
    from review_scoring.airflow.compat import AirflowFailException

    with DAG("d", schedule=None, start_date=datetime(2026, 1, 1)):
        job = ScoringJob(name="films", source_conn_id="reviews", source_table="reviews")
        operator = BenchmarkModelOperator(task_id="evaluate", job=job, loaded={"id": 1}, limit=0)
    with pytest.raises(AirflowFailException):
        operator.execute({})


@pytest.mark.parametrize("operator", ["load", "promote"])
def test_tables_that_a_dba_creates_are_only_checked(
    sqlite_engine: Engine, monkeypatch: pytest.MonkeyPatch, operator: str
) -> None:
    from review_scoring.airflow.compat import AirflowFailException

    monkeypatch.setenv("AIRFLOW_CONN_REVIEWS", f"sqlite:///{sqlite_engine.url.database}")
    fill(sqlite_engine, [(1, "un film")])
    options: dict[str, Any] = {"task_id": operator, "migrate": False}
    options["job"] = ScoringJob(name="films", source_conn_id="reviews", source_table="reviews")
    with DAG("d", schedule=None, start_date=datetime(2026, 1, 1)):
        if operator == "load":
            task: Any = LoadBenchmarkOperator(**options)
        else:
            task = PromoteModelOperator(**options, model=DEFAULT_MODEL, reason="smaller")
    run = SimpleNamespace(dag_id="d", run_id="1", run_type="manual")
    with pytest.raises(AirflowFailException, match="tables in connection 'reviews' are missing"):
        task.execute({"dag_run": run})
    assert inspect(sqlite_engine).get_table_names() == ["reviews"]
