"""Job, shards and required benchmark come from Airflow Variables, and are resolved once per run."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from review_scoring.airflow.run_variables import most_shards
from review_scoring.errors import ConfigurationError
from tests.airflow.runner import ONE_JOB, ROOT, AirflowHome

HANDED_ON = {"job": "job", "require_benchmark": "require_benchmark", "most": "most_shards"}
"""Field of our operators -> what the first task hands on."""

TASKS = """
import json, sys
from tests.airflow.dag_folder import dag_bag
bag = dag_bag(sys.argv[1])
assert not bag.import_errors, bag.import_errors
fields = json.loads(sys.argv[2])
found = {}
for dag in bag.dags.values():
    found[dag.dag_id] = {"roots": [task.task_id for task in dag.roots], "fields": {}}
    for task in dag.tasks:
        values = {**getattr(task, "partial_kwargs", {}), **vars(task)}
        for name in fields:
            value = values.get(name)
            if value is not None and task.task_id != "resolve_run":
                source = [getattr(getattr(value, "operator", None), "task_id", repr(value)), getattr(value, "key", "")]
                found[dag.dag_id]["fields"][f"{task.task_id}.{name}"] = source
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def parsed(airflow_home: AirflowHome) -> dict[str, Any]:
    """The parameters of the tasks of each DAG."""
    printed = subprocess.run(
        [sys.executable, "-c", TASKS, str(ROOT / "dags"), json.dumps(list(HANDED_ON))],
        env=airflow_home.environment(**ONE_JOB),
        text=True,
        capture_output=True,
        check=True,
    ).stdout
    found: dict[str, Any] = json.loads(printed.splitlines()[-1])
    return found


def test_every_dag_begins_with_the_task_that_checks_its_conf(parsed: dict[str, Any]) -> None:
    assert {dag_id: dag["roots"] for dag_id, dag in parsed.items()} == {dag_id: ["resolve_run"] for dag_id in parsed}


def test_no_task_resolves_the_job_of_its_run_itself(parsed: dict[str, Any]) -> None:
    fields = {f"{dag_id}.{field}": source for dag_id, dag in parsed.items() for field, source in dag["fields"].items()}
    assert len(fields) >= 15
    assert fields == {field: ["resolve_run", HANDED_ON[field.rpartition(".")[2]]] for field in fields}


@pytest.mark.parametrize("setting", ["SHARDS", "REQUIRE_BENCHMARK", "BENCHMARK_SET"])
def test_an_environment_variable_in_place_of_a_variable_is_refused_by_every_dag(
    airflow_home: AirflowHome, setting: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", TASKS, str(ROOT / "dags"), "[]"],
        env=airflow_home.environment(**ONE_JOB, **{f"REVIEW_SCORING_{setting}": "books"}),
        text=True,
        capture_output=True,
        check=False,
    )
    command = f"airflow variables set review_scoring_{setting.lower()} "
    told = (
        f"REVIEW_SCORING_{setting} is not read: set the Airflow Variable instead, which all processes share: `{command}"
    )
    assert done.stderr.count(told) >= len(list((ROOT / "dags").glob("*.py"))), done.stderr


@pytest.mark.parametrize("wrong", ["0", "many", "-1", "2.5"])
def test_a_number_of_shards_that_is_not_positive_is_refused(monkeypatch: pytest.MonkeyPatch, wrong: str) -> None:
    assert most_shards() == 4
    monkeypatch.setenv("AIRFLOW_VAR_REVIEW_SCORING_SHARDS", wrong)
    with pytest.raises(ConfigurationError, match=f"'review_scoring_shards' is '{wrong}'"):
        most_shards()
