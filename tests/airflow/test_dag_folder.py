"""Parsing of the DAG folder: no errors, no heavy imports; pools, queues and timeouts of the tasks."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from review_scoring.airflow.config import settings
from tests.airflow.runner import ONE_JOB, ROOT, AirflowHome

PARSE = """
import json, sys, time
import airflow.sdk, airflow.sdk.exceptions
from airflow.sdk import DAG, BaseOperator, Connection, Param, Variable, task
from tests.airflow.dag_folder import dag_bag
banned = ("alembic", "torch", "transformers", "numpy", "pandas", "sklearn", "scipy")
of_airflow = {name for name in banned if name in sys.modules}
started = time.process_time()
bag = dag_bag(sys.argv[1])
seconds = time.process_time() - started
heavy = [name for name in banned if name in sys.modules and name not in of_airflow]
names = ("pool", "queue", "priority_weight", "map_index_template", "execution_timeout")
tasks = {
    dag.dag_id: {task.task_id: {name: getattr(task, name, None) for name in names} for task in dag.tasks}
    for dag in bag.dags.values()
}
print(json.dumps({"errors": bag.import_errors, "tasks": tasks, "heavy": heavy, "seconds": seconds}, default=str))
"""
SETTINGS = {
    "AIRFLOW__REVIEW_SCORING__POOL": "of GPUs",
    "AIRFLOW__REVIEW_SCORING__QUEUE": "scoring",
    "AIRFLOW__REVIEW_SCORING__IMPORT_QUEUE": "imports",
}


@pytest.fixture(scope="module")
def parsed(airflow_home: AirflowHome) -> dict[str, Any]:
    """The DAGs of the folder, parsed in a deployment with a pool and a queue for scoring."""
    printed = subprocess.run(
        [sys.executable, "-c", PARSE, str(ROOT / "dags")],
        env={**airflow_home.environment(**ONE_JOB), **SETTINGS},
        text=True,
        capture_output=True,
        check=True,
    ).stdout
    found: dict[str, Any] = json.loads(printed.splitlines()[-1])
    return found


def test_the_dag_folder_parses_without_errors_and_without_heavy_imports(parsed: dict[str, Any]) -> None:
    print(f"parsing the DAG folder took {parsed['seconds']:.2f} s of CPU time")
    assert parsed["errors"] == {}
    assert sorted(parsed["tasks"]) == [
        "benchmark_models",
        "forget_reviews",
        "import_model",
        "promote_model",
        "publish_scores",
        "reconcile_reviews",
        "rescore_reviews",
        "score_film_reviews",
    ]
    assert parsed["heavy"] == []


@pytest.mark.parametrize("dag_id", ["score_film_reviews", "rescore_reviews", "reconcile_reviews"])
def test_shards_are_scored_in_the_pool_and_queue_of_the_settings(parsed: dict[str, Any], dag_id: str) -> None:
    places = {name: (task["pool"], task["queue"]) for name, task in parsed["tasks"][dag_id].items()}
    assert places.pop("score") == ("of GPUs", "scoring")
    assert set(places.values()) == {("default_pool", "default")}


def test_a_model_is_imported_in_the_import_queue_or_the_scoring_queue(
    parsed: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert parsed["tasks"]["import_model"]["import_model"]["queue"] == "imports"
    monkeypatch.setenv("AIRFLOW__REVIEW_SCORING__QUEUE", "scoring")
    assert settings().import_queue == "scoring"


@pytest.mark.parametrize("dag_id", ["score_film_reviews", "rescore_reviews", "reconcile_reviews"])
def test_each_mapped_task_is_named_by_the_range_of_its_shard(parsed: dict[str, Any], dag_id: str) -> None:
    assert parsed["tasks"][dag_id]["score"]["map_index_template"] == "{{ task.shard['name'] }}"


def test_a_free_pool_slot_goes_to_the_nightly_run_before_a_rescore(parsed: dict[str, Any]) -> None:
    night, rescore = (parsed["tasks"][dag_id]["score"] for dag_id in ("score_film_reviews", "rescore_reviews"))
    assert night["priority_weight"] > rescore["priority_weight"]


def test_every_task_has_a_timeout(parsed: dict[str, Any]) -> None:
    endless = [
        f"{dag}.{task}"
        for dag, tasks in parsed["tasks"].items()
        for task, settings in tasks.items()
        if settings["execution_timeout"] in {None, "None"}
    ]
    assert endless == []
