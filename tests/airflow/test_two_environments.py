"""A run with Airflow's processes, in which the DAG processor and the workers have different environments."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine

from tests.airflow.runner import AirflowHome, airflow, connection
from tests.airflow.test_score_reviews_dag import fill, query
from tests.airflow.web.server import free_ports
from tests.conftest import long_form
from tests.requirements import require_torch

FILMS = {"source_conn_id": "reviews", "source_table": "reviews"}
PATIENCE_S = 180


@contextmanager
def started(home: AirflowHome, component: str, environment: dict[str, str]) -> Iterator[None]:
    """Run a component of Airflow in a new session."""
    with (home.folder / f"{component}.log").open("w") as log:
        process = subprocess.Popen(
            [airflow(), component], env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        yield
    finally:
        process.terminate()
        process.wait(60)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # whatever it has started


def wait_for(condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + PATIENCE_S
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(1)
    return found


def ended(answer: httpx.Response) -> Any:
    """Return a run that has ended."""
    return answer.json() if answer.is_success and answer.json()["state"] in {"success", "failed"} else None


@long_form
@pytest.mark.timeout(600)
def test_the_job_does_not_depend_on_the_environment_of_the_workers(tmp_path: Path, sqlite_engine: Engine) -> None:
    require_torch()
    fill(sqlite_engine, [(1, "Une merveille, courez-y.")])
    home = AirflowHome(tmp_path)
    home.migrate()
    port, logs, triggerer_logs = free_ports(3)
    address = f"http://localhost:{port}"
    workers = home.environment(
        AIRFLOW_CONN_REVIEWS=connection(sqlite_engine),
        AIRFLOW__API__PORT=str(port),
        AIRFLOW__API__BASE_URL=address,
        AIRFLOW__API__WORKERS="1",
        AIRFLOW__CORE__EXECUTION_API_SERVER_URL=f"{address}/execution/",
        AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION="False",
        AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS="True",
        AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT=str(logs),
        AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT=str(triggerer_logs),
    )
    shared = [airflow(), "variables", "set", "review_scoring_jobs", json.dumps({"film_reviews": FILMS})]
    subprocess.run(shared, env=workers, check=True, capture_output=True)
    never = {f"AIRFLOW__REVIEW_SCORING__{name}": "0 0 29 2 *" for name in ("SCHEDULE", "RECONCILE_SCHEDULE")}
    elsewhere = json.dumps({"film_reviews": {**FILMS, "source_table": "another_table"}})
    parser = {**workers, "AIRFLOW_VAR_REVIEW_SCORING_JOBS": elsewhere, **never}
    client = httpx.Client(base_url=address, timeout=30)

    def answers() -> bool:
        try:
            return client.get("/api/v2/monitor/health").is_success
        except httpx.TransportError:
            return False

    with started(home, "api-server", workers):
        wait_for(answers)
        token = client.get("/auth/token").json()["access_token"]
        client.headers["Authorization"] = f"Bearer {token}"
        runs = "/api/v2/dags/score_film_reviews/dagRuns"
        with started(home, "scheduler", workers), started(home, "dag-processor", parser):
            wait_for(lambda: client.get("/api/v2/dags/score_film_reviews").is_success)
            once: dict[str, Any] = {"dag_run_id": "once", "logical_date": None, "conf": {}}
            # Airflow's metadata are in SQLite here: a request may find it locked, and is made again.
            wait_for(lambda: client.post(runs, json=once).status_code in {HTTPStatus.OK, HTTPStatus.CONFLICT})
            run = wait_for(lambda: ended(client.get(f"{runs}/once")))
    assert run["state"] == "success"
    scored = query(sqlite_engine, "SELECT j.name FROM scoring_runs r JOIN scoring_jobs j ON j.id = r.job_id")
    assert [name for (name,) in scored] == ["film_reviews"]
