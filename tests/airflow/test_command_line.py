"""Commands that use a Connection find one that was added in Airflow's UI, as well as one in the environment."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.airflow.runner import AirflowHome, airflow

CONN_ID = "only_in_metadata"


@pytest.fixture(scope="module")
def stored(airflow_home: AirflowHome, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A Connection in the metadata database, to an empty SQLite database."""
    file = tmp_path_factory.mktemp("stored") / "reviews.db"
    file.touch()
    added = [airflow(), "connections", "add", CONN_ID, "--conn-uri", f"sqlite:///{file}"]
    subprocess.run(added, env=airflow_home.environment(), check=True, capture_output=True)


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["check-connection", CONN_ID, "--as", "publish"], "scores cannot be published to sqlite"),
        (["downgrade", CONN_ID, "--to", "0001_tables"], "the tables are missing, and cannot be downgraded"),
        (["forget", "films", "1"], "job 'films' has never been scored"),
    ],
)
def test_a_connection_in_the_metadata_database_is_found(
    airflow_home: AirflowHome, arguments: list[str], message: str
) -> None:
    jobs = json.dumps({"films": {"source_conn_id": CONN_ID, "source_table": "reviews"}})
    environment = airflow_home.environment(AIRFLOW_VAR_REVIEW_SCORING_JOBS=jobs)
    command = [str(Path(sys.executable).with_name("review-scoring")), *arguments]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    assert message in ran.stderr
