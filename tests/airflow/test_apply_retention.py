"""The operator that applies the retention of the settings."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any

import pytest
from airflow.sdk import DAG

from review_scoring.airflow.compat import AirflowFailException, AirflowSkipException
from review_scoring.airflow.operators import ApplyRetentionOperator
from tests.airflow.runner import connection
from tests.evaluation import test_old_predictions as predictions
from tests.evaluation.synthetic import Bench
from tests.run.test_retention import kept, nights
from tests.stubs import Warehouse

DAYS = "AIRFLOW__REVIEW_SCORING__KEEP_RUNS_DAYS"


@pytest.fixture
def films(sqlite_engine: Any, monkeypatch: pytest.MonkeyPatch) -> Warehouse:
    """A job with two old runs and a recent one."""
    monkeypatch.setenv("AIRFLOW_CONN_REVIEWS", connection(sqlite_engine))
    warehouse = Warehouse(sqlite_engine)
    warehouse.create()
    nights(warehouse, a=500, b=400, c=0)
    return warehouse


def execute(warehouse: Warehouse, **options: Any) -> dict[str, Any]:
    with DAG("d", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)):
        task = ApplyRetentionOperator(task_id="retention", job=warehouse.job, **options)
    found: dict[str, Any] = task.execute({})
    return found


def test_what_the_settings_no_longer_keep_is_removed_and_reported(
    films: Warehouse, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    bench = Bench.on(films.engine)
    loaded = bench.load()
    for _ in range(3):
        bench.evaluate(loaded)
    predictions.age(bench, 100)
    monkeypatch.setenv(DAYS, "450")
    monkeypatch.setenv("AIRFLOW__REVIEW_SCORING__KEEP_PREDICTIONS_DAYS", "90")
    with caplog.at_level(logging.INFO):
        sent = execute(films, estimate_only="True")
    assert (sent["dry_run"], sent["runs"], sent["predictions"]) == (True, 1, 100)
    assert "would be removed" in sent["paragraph"]
    assert kept(films) == ["a", "b", "c"]
    with caplog.at_level(logging.INFO):
        sent = execute(films)
    assert kept(films) == ["b", "c"]
    assert (sent["runs"], sent["shards"], sent["predictions"], sent["keep_runs_days"]) == (1, 1, 100, 450)
    assert "runs=1 shards=1 predictions=100" in caplog.text
    assert sent["paragraph"] in caplog.text


def test_the_operators_own_days_replace_those_of_the_settings(
    films: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(DAYS, "450")
    assert execute(films, keep_runs_days="365", keep_predictions_days="None")["runs"] == 2
    with pytest.raises(AirflowSkipException):
        execute(films, keep_runs_days=0)


def test_without_days_the_task_is_skipped_with_the_settings_to_set(films: Warehouse) -> None:
    with pytest.raises(AirflowSkipException, match=r"keep_runs_days and keep_predictions_days .* are 0"):
        execute(films)
    assert len(kept(films)) == 3


@pytest.mark.parametrize("wrong", ["30", "-1", "a year"])
def test_wrong_days_fail_without_a_retry_and_say_why(films: Warehouse, wrong: str) -> None:
    with pytest.raises(AirflowFailException, match="keep_runs_days is"):
        execute(films, keep_runs_days=wrong)


def test_a_job_that_was_never_scored_has_nothing_to_remove(films: Warehouse) -> None:
    films.job = films.job.replace(name="others")
    with pytest.raises(AirflowSkipException, match="the job has never been scored"):
        execute(films, keep_runs_days=365)
