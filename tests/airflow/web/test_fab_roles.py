"""The pages with Airflow's FAB auth manager, whose roles may read single DAGs: a role decides which pages a user sees.

`bin/matrix.py --only fab` installs the provider, which is not compatible with two packages of requirements.txt.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import httpx
import pytest

from review_scoring import demo
from tests.airflow.runner import AirflowHome, airflow
from tests.airflow.web.server import free_ports

pytestmark = [pytest.mark.services, pytest.mark.timeout(600)]

MANAGER = "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager"
PASSWORD = "of a test"  # noqa: S105 of users that exist while the test runs
START_S = 180
ROLES = {"films": "score_films", "books": "score_books", "imports": "import_model"}
"""User and role -> the one DAG that it may read."""

# Creates users and roles in one process: a command of Airflow for each of them would take 10 s.
SET_UP = """
import json, sys
from airflow.providers.fab.auth_manager.cli_commands.utils import get_application_builder
from airflow.providers.fab.auth_manager.models import Permission

roles, password = json.loads(sys.argv[1]), sys.argv[2]
with get_application_builder() as builder:
    manager = builder.sm
    for name, dag_id in roles.items():
        role = manager.add_role(name)
        for action, resource in [("can_read", "DAG:" + dag_id), ("can_read", "Website"), ("menu_access", "DAGs")]:
            manager.add_permission_to_role(role, manager.create_permission(action, resource))
        manager.add_user(name, name, name, name + "@example.org", role, password)
"""


@dataclass(frozen=True)
class FabServer:
    """An API server with the users of `ROLES`."""

    address: str
    log: Path

    def user(self, name: str) -> httpx.Client:
        """Return a client that has logged in over HTTP."""
        given = httpx.post(
            f"{self.address}/auth/token", json={"username": name, "password": PASSWORD}, timeout=60, trust_env=False
        )
        assert given.status_code == 201, f"{given.status_code}: {given.text}\n{self.log.read_text()[-3000:]}"
        token = given.json()["access_token"]
        headers = {"Authorization": f"Bearer {token}", "Accept": "text/html"}
        return httpx.Client(base_url=self.address, headers=headers, timeout=60, trust_env=False)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FabServer]:
    """An API server with FAB's users, and a warehouse that has no scores yet."""
    if find_spec("airflow.providers.fab") is None:
        pytest.skip("apache-airflow-providers-fab is not installed: bin/matrix.py --only fab")  # it never is in CI
    folder = tmp_path_factory.mktemp("fab")
    demo.prepare(str(folder / "reviews.db"))
    (port,) = free_ports(1)
    address = f"http://127.0.0.1:{port}"
    job = {"source_conn_id": "reviews", "source_table": "film_reviews"}
    environment = AirflowHome(folder).environment(
        AIRFLOW__API__BASE_URL=address,
        AIRFLOW__API__PORT=str(port),
        AIRFLOW__API__WORKERS="1",
        AIRFLOW__CORE__AUTH_MANAGER=MANAGER,
        AIRFLOW_CONN_REVIEWS=json.dumps({"conn_type": "sqlite", "host": str(folder / "reviews.db")}),
        AIRFLOW_VAR_REVIEW_SCORING_JOBS=json.dumps({"books": job, "films": job}),
    )
    for command in (
        [airflow(), "db", "migrate"],
        [airflow(), "dags", "reserialize"],
        [sys.executable, "-c", SET_UP, json.dumps(ROLES), PASSWORD],
    ):
        done = subprocess.run(command, env=environment, text=True, capture_output=True, check=False)
        assert done.returncode == 0, f"{command[:3]}: {done.stdout}\n{done.stderr}"
    log = folder / "api-server.log"
    with log.open("w") as output:
        process = subprocess.Popen([airflow(), "api-server"], env=environment, stdout=output, stderr=output)
    try:
        wait_for(address, process, log)
        yield FabServer(address, log)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def wait_for(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until the API server answers."""
    deadline = time.monotonic() + START_S
    while True:
        assert process.poll() is None, log.read_text()[-3000:]
        assert time.monotonic() < deadline, log.read_text()[-3000:]
        try:
            if httpx.get(f"{address}/api/v2/version", timeout=5, trust_env=False).is_success:
                return
        except httpx.HTTPError:
            time.sleep(0.5)


def status(server: FabServer, user: str, path: str) -> int:
    """Return the status of a page for a user."""
    with server.user(user) as client:
        return client.get(path).status_code


def test_without_a_login_no_page_is_shown(server: FabServer) -> None:
    assert httpx.get(f"{server.address}/review-scoring/", timeout=60, trust_env=False).status_code == 401


@pytest.mark.parametrize(("user", "dag_id"), ROLES.items())
def test_airflow_itself_lets_a_role_read_one_dag(server: FabServer, user: str, dag_id: str) -> None:
    assert status(server, user, f"/api/v2/dags/{dag_id}") == 200
    assert {status(server, user, f"/api/v2/dags/{other}") for other in ROLES.values() if other != dag_id} == {403}


@pytest.mark.parametrize("path", ["/review-scoring/", "/review-scoring/reviews", "/review-scoring/models"])
def test_a_role_that_may_read_the_dag_of_one_job_sees_its_pages_and_no_others(server: FabServer, path: str) -> None:
    for user, other in (("films", "books"), ("books", "films")):
        with server.user(user) as client:
            for own in (path, f"{path}?job={user}"):
                shown = client.get(own)
                assert shown.status_code == 200
                assert other not in shown.text
            refused = client.get(f"{path}?job={other}")
            assert refused.status_code == 403
            assert other not in refused.text
    assert status(server, "imports", path) == 403


def test_a_dag_that_the_query_names_gives_no_access(server: FabServer) -> None:
    assert status(server, "imports", "/review-scoring/?dag_id=import_model&job=films") == 403
