"""Job, shards and required benchmark come from Airflow Variables, and are resolved once per run."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from sqlalchemy import Engine

from review_scoring.airflow.run_variables import job_of_deployment, most_shards
from review_scoring.errors import ConfigurationError, NoSuchJobError
from tests.airflow.runner import ROOT, AirflowHome, airflow, connection
from tests.airflow.test_score_reviews_dag import fill, query

FILMS = {"source_conn_id": "reviews", "source_table": "reviews"}
JOBS = {"films": FILMS, "books": {**FILMS, "text_column": "text"}}
HANDED_ON = {"job": "job", "require_benchmark": "require_benchmark", "most": "most_shards"}
"""Field of our operators -> what the first task hands on."""

TASKS = """
import json, sys
from airflow.dag_processing.dagbag import DagBag
bag = DagBag(sys.argv[1], bundle_path=sys.argv[1])
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
        env=airflow_home.environment(),
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


def scored(engine: Engine) -> list[str]:
    """Return the jobs that were scored."""
    rows = query(engine, "SELECT j.name FROM scoring_runs r JOIN scoring_jobs j ON j.id = r.job_id ORDER BY r.id")
    return [name for (name,) in rows]


def test_the_job_is_read_from_the_variable_in_the_metadata_database(
    airflow_home: AirflowHome, sqlite_engine: Engine
) -> None:
    fill(sqlite_engine, [(1, "Une merveille, courez-y.")])
    environment = airflow_home.environment(
        AIRFLOW_CONN_REVIEWS=connection(sqlite_engine), AIRFLOW_VAR_REVIEW_SCORING_JOBS=json.dumps(JOBS)
    )

    def command(*words: str) -> str:
        done = subprocess.run(
            [airflow(), *words],
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        return done.stdout

    undecided = command("dags", "test", "score_reviews")
    assert "has 2 scoring jobs (films, books), and none is selected: set the Variable" in undecided
    command("variables", "set", "review_scoring_job", "books")
    try:
        assert "job: books" in command("dags", "test", "score_reviews")
    finally:
        command("variables", "delete", "review_scoring_job")
    assert scored(sqlite_engine) == ["books"]


@pytest.mark.parametrize("setting", ["JOB", "SHARDS", "REQUIRE_BENCHMARK", "BENCHMARK_SET"])
def test_an_environment_variable_in_place_of_a_variable_is_refused_by_every_dag(
    airflow_home: AirflowHome, setting: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", TASKS, str(ROOT / "dags"), "[]"],
        env=airflow_home.environment(**{f"REVIEW_SCORING_{setting}": "books"}),
        text=True,
        capture_output=True,
        check=False,
    )
    command = f"airflow variables set review_scoring_{setting.lower()} "
    told = (
        f"REVIEW_SCORING_{setting} is not read: set the Airflow Variable instead, which all processes share: `{command}"
    )
    assert done.stderr.count(told) >= len(list((ROOT / "dags").glob("*.py"))), done.stderr


def test_the_job_is_the_chosen_one_or_the_only_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert job_of_deployment({"films": {}}) == "films"
    with pytest.raises(NoSuchJobError, match=r"2 scoring jobs \(films, books\).*set the Variable 'review_scoring_job'"):
        job_of_deployment(JOBS)
    with pytest.raises(
        NoSuchJobError, match="no Airflow Variable 'review_scoring_jobs' with a scoring job in it; set it"
    ):
        job_of_deployment({})
    monkeypatch.setenv("AIRFLOW_VAR_REVIEW_SCORING_JOB", "books")
    assert job_of_deployment(JOBS) == "books"


@pytest.mark.parametrize("wrong", ["0", "many", "-1", "2.5"])
def test_a_number_of_shards_that_is_not_positive_is_refused(monkeypatch: pytest.MonkeyPatch, wrong: str) -> None:
    assert most_shards() == 4
    monkeypatch.setenv("AIRFLOW_VAR_REVIEW_SCORING_SHARDS", wrong)
    with pytest.raises(ConfigurationError, match=f"'review_scoring_shards' is '{wrong}'"):
        most_shards()
