"""Thirty jobs on one PostgreSQL, in a running Airflow: DAGs, asset events, a consumer, notifications, approvals."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine

from tests.airflow.runner import connection
from tests.airflow.test_score_reviews_dag import query
from tests.airflow.web.server import Server, running
from tests.conftest import temporary_postgres

pytestmark = pytest.mark.timeout(900)

JOBS = [f"job_{n:02}" for n in range(1, 31)]
PLAUSIBLE, IMPLAUSIBLE, EMPTY, LATE = JOBS[:4]
"""The jobs that are run: with reviews, with rejects only, without a row, and one that waits beyond its deadline."""

WRONG = "wrong"
DAG_FILE = """
from review_scoring.airflow.dags import create_dags
create_dags(__file__)
"""
CONSUMER = """
import json
from datetime import datetime
from airflow.sdk import DAG, Asset, task

SCORES = Asset("review_scores/job_01")
with DAG("consumer", schedule=SCORES, start_date=datetime(2026, 1, 1)):
    @task
    def follow(triggering_asset_events):
        with open({file!r}, "a") as file:
            file.write(json.dumps([event.extra for event in triggering_asset_events[SCORES]]) + "\\n")
    follow()
"""
NOTIFIER = """
from airflow.sdk import BaseNotifier

class FileNotifier(BaseNotifier):
    template_fields = ("text",)

    def __init__(self, file, text, context=None):
        super().__init__(context)
        self.file, self.text = file, text

    def notify(self, context):
        with open(self.file, "a") as file:
            file.write(self.text + "\\n")

    async def async_notify(self, context):
        self.notify(context)
"""
NOTIFICATION = """
[[dag.notifications]]
on = ["success", "warning", "failure"]
dags = ["score", "rescore_reviews", "promote_model"]
notifier = "notifier_of_the_tests.FileNotifier"
[dag.notifications.arguments]
file = "{file}"
text = "{{{{ job }}}} {{{{ event }}}} {{{{ failed_tasks }}}}: {{{{ paragraph }}}} {{{{ run_url }}}}"
"""


DEADLINE = """
[[dag.notifications]]
on = ["deadline"]
notifier = "notifier_of_the_tests.FileNotifier"
arguments = {{ file = "{file}", text = "{{{{ dag_run.dag_id }}}} is late" }}
"""


class Deployment:
    """A running Airflow with thirty jobs, and what its consumer and notifier have written."""

    def __init__(self, server: Server, folder: Path, engine: Engine) -> None:
        self.server, self.folder, self.engine = server, folder, engine
        self.triggered: list[str] = []
        self.client = self.client_of("admin")

    def client_of(self, user: str) -> httpx.Client:
        login = {"username": user, "password": self.server.passwords[user]}
        token = httpx.post(f"{self.server.address}/auth/token", json=login, timeout=60).json()["access_token"]
        header = {"Authorization": f"Bearer {token}"}
        return httpx.Client(base_url=f"{self.server.address}/api/v2", timeout=60, headers=header)

    def dag_ids(self) -> set[str]:
        return {dag["dag_id"] for dag in self.get("/dags", limit=100)["dags"]}

    def get(self, path: str, **query: Any) -> Any:
        answer: httpx.Response = eventually(
            lambda: found if (found := self.client.get(path, params=query)).status_code < 500 else None
        )
        assert answer.is_success, answer.text
        return answer.json()

    def unpause(self, *dag_ids: str) -> None:
        for dag_id in dag_ids:
            eventually(lambda dag_id=dag_id: self.client.patch(f"/dags/{dag_id}", json={"is_paused": False}).is_success)

    def trigger(self, dag_id: str, **conf: Any) -> str:
        """Trigger a run, and return its address."""
        run = {"dag_run_id": f"run_{len(self.triggered)}", "logical_date": None, "conf": conf}
        self.triggered.append(dag_id)
        # Airflow's metadata are in SQLite here: a request may find it locked, and is made again.
        made = {HTTPStatus.OK, HTTPStatus.CONFLICT}
        eventually(lambda: self.client.post(f"/dags/{dag_id}/dagRuns", json=run).status_code in made)
        return f"/dags/{dag_id}/dagRuns/{run['dag_run_id']}"

    def run(self, dag_id: str, **conf: Any) -> dict[str, Any]:
        """Trigger a run, wait for its end and return it with the states of its tasks."""
        address = self.trigger(dag_id, **conf)
        run = self.ended(address)
        tasks = self.get(f"{address}/taskInstances")["task_instances"]
        return {**run, "tasks": {task["task_id"]: task["state"] for task in tasks}}

    def ended(self, address: str) -> dict[str, Any]:
        found: dict[str, Any] = eventually(
            lambda: run if (run := self.get(address))["state"] in {"success", "failed"} else None
        )
        return found

    def events(self, job: str) -> list[dict[str, Any]]:
        """Return the extras of the events of a job's asset."""
        events = self.get("/assets/events", limit=100)["asset_events"]
        return [event["extra"] for event in events if event["name"] == f"review_scores/{job}"]

    def lines(self, name: str) -> list[str]:
        file = self.folder / name
        return file.read_text().splitlines() if file.exists() else []


def eventually(condition: Any, patience_s: float = 240) -> Any:
    deadline = time.monotonic() + patience_s
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(1)
    return found


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with temporary_postgres() as engine:
        yield from started(tmp_path_factory.mktemp("deployment"), engine)


def started(tmp_path: Path, postgres_engine: Engine) -> Iterator[Deployment]:
    """Start an Airflow with the jobs, and stop it at the end."""
    dags = tmp_path / "dags"
    jobs = dags / "review_scoring_jobs"
    jobs.mkdir(parents=True)
    (dags / "ours.py").write_text(DAG_FILE)
    (dags / "consumer.py").write_text(CONSUMER.replace("{file!r}", repr(str(tmp_path / "consumed"))))
    (dags / "notifier_of_the_tests.py").write_text(NOTIFIER)
    for job in JOBS:
        definition = f'source_conn_id = "reviews"\nsource_table = "{job}"\n[dag]\nschedule = "none"\n'
        if job == LATE:
            definition += "deadline_minutes = 1\n" + DEADLINE.format(file=tmp_path / "late")
        (jobs / f"{job}.toml").write_text(definition + NOTIFICATION.format(file=tmp_path / "sent"))
    (jobs / f"{WRONG}.toml").write_text('source_conn_id = "reviews"\nsource_tabel = "reviews"\n')
    for job in JOBS[:3]:
        query(postgres_engine, f"CREATE TABLE {job} (id INTEGER PRIMARY KEY, text TEXT)")
    texts = ["Une merveille, courez-y.", "Quel ennui.", "Superbe film.", "À fuir.", "Très beau.", ""]
    rows = [{"id": n, "text": text} for n, text in enumerate(texts)]
    query(postgres_engine, f"INSERT INTO {PLAUSIBLE} VALUES (:id, :text)", *rows)
    query(postgres_engine, f"INSERT INTO {IMPLAUSIBLE} SELECT n, '' FROM generate_series(1, 200) n")
    folder = tmp_path / "airflow"
    folder.mkdir()
    with running(
        folder,
        AIRFLOW__CORE__DAGS_FOLDER=str(dags),
        PYTHONPATH=str(dags),  # the triggerer imports the notifier
        AIRFLOW_CONN_REVIEWS=connection(postgres_engine),
        AIRFLOW__REVIEW_SCORING__SCHEDULE="none",
        AIRFLOW__REVIEW_SCORING__RECONCILE_SCHEDULE="none",
        AIRFLOW__REVIEW_SCORING__BENCHMARK_SCHEDULE="none",
    ) as server:
        yield Deployment(server, tmp_path, postgres_engine)


@pytest.mark.services
def test_thirty_jobs_have_a_dag_each_and_tell_others_what_they_have_written(deployment: Deployment) -> None:
    ours = {f"score_{job}" for job in [*JOBS, WRONG]}
    eventually(lambda: {*ours, "consumer", "rescore_reviews"} <= deployment.dag_ids())
    deployment.unpause(*(f"score_{job}" for job in [*JOBS[:3], WRONG]), "consumer", "rescore_reviews")
    assert deployment.get("/importErrors")["import_errors"] == []

    deployment.trigger(f"score_{LATE}")  # its DAG is paused, so the run waits
    dry = deployment.run(f"score_{PLAUSIBLE}", dry_run=True)
    assert (dry["state"], dry["tasks"]["update_asset"]) == ("success", "skipped")
    first = deployment.run(f"score_{PLAUSIBLE}")
    assert first["state"] == "success"
    again = deployment.run(f"score_{PLAUSIBLE}")
    assert (again["state"], again["tasks"]["update_asset"]) == ("success", "skipped")
    failed = deployment.run(f"score_{IMPLAUSIBLE}")
    assert (failed["state"], failed["tasks"]["check_run"]) == ("failed", "failed")
    assert (failed["tasks"]["update_asset"], failed["tasks"]["notify"]) == ("upstream_failed", "success")
    assert deployment.run(f"score_{EMPTY}")["state"] == "success"
    wrong = deployment.run(f"score_{WRONG}")
    assert (wrong["state"], wrong["tasks"]["report_problem"]) == ("failed", "failed")

    (event,) = deployment.events(PLAUSIBLE)
    labels = dict(query(deployment.engine, "SELECT label, count(*) FROM review_labels GROUP BY label"))
    assert event["labels"] == labels
    assert (event["read"], event["scored"], event["rejected"], event["waiting"]) == (6, 5, 1, 0)
    assert (event["run_id"], event["dag_id"]) == (first["dag_run_id"], f"score_{PLAUSIBLE}")
    assert event["model"] == "french-reviews-small"
    assert len(event["revision"]) == 64
    assert deployment.events(IMPLAUSIBLE) == deployment.events(EMPTY) == []
    (consumed,) = eventually(lambda: deployment.lines("consumed"))
    assert json.loads(consumed) == [event]

    rescored = deployment.run("rescore_reviews", job=PLAUSIBLE, rescore="all")
    assert rescored["state"] == "success"
    assert len(deployment.events(PLAUSIBLE)) == 2

    sent = deployment.lines("sent")
    assert [line.split(": ")[0] for line in sent] == [
        f"{PLAUSIBLE} success []",
        f"{PLAUSIBLE} success []",
        f"{IMPLAUSIBLE} failure ['check_run']",
        f"{EMPTY} success []",
        f"{PLAUSIBLE} success []",
    ]
    assert f"{PLAUSIBLE}: 6 reviews read, 5 scored" in sent[4]
    assert f"{PLAUSIBLE}: 6 reviews read, 5 scored" in sent[0]
    assert "Checks: " in sent[0]
    assert "rejects failed: 200 of 200 reviews were rejected" in sent[2]
    assert f"{deployment.server.address}/plugin/review-scoring/review-scoring/run?job={PLAUSIBLE}" in sent[0]
    assert eventually(lambda: deployment.lines("late")) == [f"score_{LATE} is late"]


@pytest.mark.services
def test_a_model_that_has_not_passed_is_promoted_once_another_person_has_approved_it(deployment: Deployment) -> None:
    eventually(lambda: "promote_model" in deployment.dag_ids())
    deployment.unpause("promote_model")
    choice = {"job": EMPTY, "model": "french-reviews-small", "reason": "to try it", "without_passing": True}

    def answered(user: str) -> dict[str, Any]:
        """Trigger a promotion, approve it as a user, and return the run."""
        run = deployment.trigger("promote_model", **choice)
        (asked,) = eventually(lambda: deployment.get(f"{run}/hitlDetails")["hitl_details"])
        assert asked["subject"].startswith("Promote french-reviews-small to champion of job_03 without a passing")
        assert "has no evaluation on any benchmark set" in asked["body"]
        # Like a person, and not within a second: Airflow's scheduler would not have noted yet that the task waits, and
        # would take the end of its process for a failure of the task that is queued again.
        time.sleep(10)
        address = f"{run}/taskInstances/promote_model/-1/hitlDetails"
        answer = {"chosen_options": ["Approve"], "params_input": {}}
        eventually(lambda: client_of[user].patch(address, json=answer).status_code in {200, 409})
        return deployment.ended(run)

    client_of = {user: deployment.client_of(user) for user in ("admin", "colleague")}
    before = deployment.lines("sent")
    assert answered("admin")["state"] == "failed"
    assert answered("colleague")["state"] == "success"
    refused, promoted = deployment.lines("sent")[len(before) :]
    assert refused.startswith(f"{EMPTY} failure ['promote_model']: {EMPTY}: the run failed in promote_model.")
    assert promoted.startswith(f"{EMPTY} success []: {EMPTY}: admin has promoted french-reviews-small at revision")
    assert "to champion, approved by colleague. " in promoted
    promotions = query(deployment.engine, "SELECT promoted_by, approved_by, model, dag_run_id FROM promotions")
    assert promotions == [("admin", "colleague", "french-reviews-small", f"run_{len(deployment.triggered) - 1}")]
