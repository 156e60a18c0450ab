"""The DAGs of jobs as Airflow parses them: schedules, places, forms, and jobs whose definition is wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.airflow.runner import AirflowHome

JOBS = {
    "daily": 'schedule = "30 1 * * *"\ntimezone = "Europe/Paris"',
    "default": "",
    "hourly": 'schedule = "@hourly"',
    "by_hand": 'schedule = "none"',
    "follows": 'assets = ["raw_reviews", "s3://lake/reviews"]\nassets_mode = "any"',
    "follows_or_daily": 'assets = ["raw_reviews"]\nschedule = "15 4 * * *"',
    "placed": 'pool = "gpu"\nqueue = "scoring"\npriority = 7\nshards = 2\nowner = "films"\ntags = ["of films"]\n'
    "retries = 1\ntimeout_minutes = 90",
    "offering": 'models = ["allocine-camembert"]',
    "wrong_key": 'pol = "gpu"',
    "wrong_cron": 'schedule = "at night"',
    "broken_notifier": 'notifications = [{on = ["failure"], notifier = "broken_package.notifiers.Notifier"}]',
    "wrong_notifier": 'notifications = [{on = ["failure"], notifier = "no_such_package.Notifier"}]',
}
PARSE = """
import json, sys, time
import airflow.sdk, airflow.sdk.exceptions
try:
    from airflow.dag_processing.dagbag import DagBag
    from airflow.serialization.serialized_objects import DagSerialization
except ModuleNotFoundError:  # Airflow 3.1
    from airflow.models.dagbag import DagBag
    from airflow.serialization.serialized_objects import SerializedDAG as DagSerialization
started = time.process_time()
bag = DagBag(sys.argv[1], bundle_path=sys.argv[1])
seconds = time.process_time() - started
found = {}
for dag in bag.dags.values():
    data = DagSerialization.to_dict(dag)["dag"]
    tasks = {task["__var"]["task_id"]: task["__var"] for task in data["tasks"]}
    found[dag.dag_id] = {
        "timetable": data["timetable"], "tags": sorted(dag.tags), "owner": dag.owner, "doc": dag.doc_md,
        "tasks": tasks, "params": {name: dict(param.schema, default=param.value) for name, param in dag.params.items()},
        "most_shards": getattr(dag.get_task("resolve_run"), "shards", None),
    }
print(json.dumps({"errors": bag.import_errors, "dags": found, "seconds": seconds}, default=str))
"""


def parse(
    home: AirflowHome, folder: Path, jobs: dict[str, str], create: str = "create_score_dags", **environment: str
) -> dict[str, Any]:
    """Write a DAG folder with jobs, and return what Airflow makes of it."""
    definitions = folder / "review_scoring_jobs"
    definitions.mkdir()
    (folder / "broken_package").mkdir()
    (folder / "broken_package" / "__init__.py").write_text("raise RuntimeError('no such device')")
    (folder / "ours.py").write_text(f"from review_scoring.airflow.dags import {create}\n{create}(__file__)\n")
    for name, dag in jobs.items():
        keys = f'source_conn_id = "no_such_connection"\nsource_table = "reviews"\n[dag]\n{dag}\n'
        (definitions / f"{name}.toml").write_text(keys)
    done = subprocess.run(
        [sys.executable, "-c", PARSE, str(folder)],
        env=home.environment(**environment),
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.fixture(scope="module")
def dags(airflow_home: AirflowHome, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    found = parse(airflow_home, tmp_path_factory.mktemp("dags"), JOBS)
    assert found["errors"] == {}
    return dict(found["dags"])


def test_each_job_has_a_dag_and_a_wrong_one_is_no_import_error(dags: dict[str, Any]) -> None:
    assert sorted(dags) == sorted(f"score_{job}" for job in JOBS)
    invalid = {dag_id for dag_id, dag in dags.items() if "invalid" in dag["tags"]}
    assert invalid == {f"score_{job}" for job in JOBS if job.startswith(("wrong", "broken"))}


@pytest.mark.parametrize(
    ("job", "problem"),
    [
        ("wrong_key", "file wrong_key.toml in .*key 'dag.pol': there is no such key; did you mean 'pool'?"),
        ("wrong_cron", "key 'dag.schedule': 'at night' is not a cron expression"),
        ("wrong_notifier", "there is no module 'no_such_package'; install its provider"),
    ],
)
def test_the_dag_of_a_wrong_job_shows_the_problem_and_keeps_a_schedule(
    dags: dict[str, Any], job: str, problem: str
) -> None:
    dag = dags[f"score_{job}"]
    assert all(part in dag["doc"] for part in problem.split(".*"))
    assert "0 2 * * *" in json.dumps(dag["timetable"])
    assert sorted(dag["tasks"]) == ["report_problem", "resolve_run"]


@pytest.mark.parametrize(
    ("job", "parts"),
    [
        ("daily", ["CronTriggerTimetable", "30 1 * * *", "Europe/Paris"]),
        ("default", ["CronTriggerTimetable", "0 2 * * *", "UTC"]),
        ("hourly", ["CronTriggerTimetable"]),  # Airflow 3.2 writes a preset as it is, others as an expression
        ("by_hand", ["NullTimetable"]),
        ("follows", ["AssetTriggeredTimetable", "asset_any", "raw_reviews", "s3://lake/reviews"]),
        ("follows_or_daily", ["AssetOrTimeSchedule", "15 4 * * *", "raw_reviews"]),
    ],
)
def test_a_job_runs_at_times_after_assets_or_by_hand(dags: dict[str, Any], job: str, parts: list[str]) -> None:
    timetable = json.dumps(dags[f"score_{job}"]["timetable"])
    assert [part for part in parts if part not in timetable] == [], timetable


def test_a_job_says_where_its_tasks_run_and_whose_they_are(dags: dict[str, Any]) -> None:
    dag = dags["score_placed"]
    score = dag["tasks"]["score"]["partial_kwargs"]
    assert (score["pool"], score["queue"], score["priority_weight"]) == ("gpu", "scoring", 7)
    assert (dag["owner"], dag["tags"], dag["most_shards"]) == ("films", ["of films", "review_scoring"], 2)
    assert dag["tasks"]["preflight"]["retries"] == 1
    assert "5400" in json.dumps(dag["tasks"]["preflight"]["execution_timeout"])


def test_the_form_of_a_job_offers_its_own_models_alone(dags: dict[str, Any]) -> None:
    assert dags["score_offering"]["params"]["model"]["enum"] == ["champion", "allocine-camembert"]
    assert len(dags["score_default"]["params"]["model"]["enum"]) > 5


def test_the_serialized_dag_has_the_settings_of_its_job(dags: dict[str, Any]) -> None:
    """The pages find the jobs there."""
    job = dags["score_daily"]["tasks"]["resolve_run"]["job"]
    assert job == {"name": "daily", "source_conn_id": "no_such_connection", "source_table": "reviews"}


def test_thirty_jobs_are_parsed_without_a_connection_and_a_task_builds_its_own_dag_alone(
    airflow_home: AirflowHome, tmp_path: Path
) -> None:
    jobs = {f"job_{n}": 'timezone = "Europe/Paris"' for n in range(30)}
    found = parse(airflow_home, tmp_path, jobs)
    print(f"parsing 30 jobs took {found['seconds']:.2f} s of CPU time")
    assert len(found["dags"]) == 30
    (tmp_path / "of_a_task").mkdir()
    of_a_task = parse(airflow_home, tmp_path / "of_a_task", jobs, _AIRFLOW_PARSING_CONTEXT_DAG_ID="score_job_7")
    assert list(of_a_task["dags"]) == ["score_job_7"]


def test_a_dag_of_several_jobs_notifies_if_one_of_them_asks_for_it(airflow_home: AirflowHome, tmp_path: Path) -> None:
    notification = (
        '{on = ["failure"], notifier = "broken_package.Notifier", dags = ["reconcile_reviews", "promote_model"]}'
    )
    jobs = {"silent": "", "told": f"notifications = [{notification}]", "wrong": 'pol = "gpu"'}
    (tmp_path / "dags").mkdir()
    dags = parse(airflow_home, tmp_path / "dags", jobs, "create_dags")["dags"]
    notifying = {dag_id for dag_id, dag in dags.items() if "notify" in dag["tasks"]}
    assert notifying == {"reconcile_reviews", "promote_model"}
    tasks = dags["reconcile_reviews"]["tasks"].items()
    before = {name for name, task in tasks if "notify" in task.get("downstream_task_ids", ())}
    assert before == {"reconcile", "apply_retention", "update_asset"}
