"""Runs DAGs with Airflow in a separate process, with a temporary AIRFLOW_HOME."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from sqlalchemy import Engine

from review_scoring.airflow.variables import CONTEXT
from tests.airflow.prepared_process import PreparedProcess
from tests.requirements import require_torch

ROOT = Path(__file__).parent.parent.parent
ONE_JOB = {
    "AIRFLOW_VAR_REVIEW_SCORING_JOBS": '{"film_reviews": {"source_conn_id": "reviews", "source_table": "reviews"}}'
}
"""The environment of a deployment with one job."""


@dataclass
class AirflowHome:
    """An Airflow with a metadata database, the project's DAGs and one job."""

    folder: Path
    _prepared: PreparedProcess | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._usual = self.environment()  # before a test changes it

    def migrate(self) -> None:
        """Create the metadata database."""
        subprocess.run([airflow(), "db", "migrate"], env=self.environment(), check=True, capture_output=True)

    def environment(self, **more: str) -> dict[str, str]:
        """Return the environment of every process of this Airflow."""
        inherited = {name: value for name, value in os.environ.items() if name != CONTEXT}
        return {
            **inherited,
            "AIRFLOW_HOME": str(self.folder),
            "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
            # Each test has other jobs, and a DAG of the last half minute would keep those of the test before.
            "AIRFLOW__CORE__MIN_SERIALIZED_DAG_UPDATE_INTERVAL": "0",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{self.folder / 'airflow.db'}",
            **more,
        }

    def dags_test(
        self,
        dag_id: str,
        engine: Engine,
        job: dict[str, Any],
        *,
        dags: Path | None = None,
        loads_model: bool = True,
        **conf: Any,
    ) -> subprocess.CompletedProcess[str]:
        """Run `airflow dags test` with a job on a database, and return its exit code and output.

        It runs in a fork of a prepared process, unless its environment has what an import may read.

        :param dags: another DAG folder than the project's
        :param loads_model: False if the run ends before it loads a model, so that it does not need torch
        """
        if loads_model:
            require_torch()
        environment, command = self._dags_test(dag_id, engine, job, conf)
        if dags is not None:
            environment["AIRFLOW__CORE__DAGS_FOLDER"] = str(dags)
        if self._prepared is None or self._prepared.has_ended:
            self._prepared = PreparedProcess(self._usual, self.folder)
        if self._prepared.can_run(environment):
            return self._prepared.run(command, environment)
        return subprocess.run(
            command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
        )

    def close(self) -> None:
        """End the prepared process."""
        if self._prepared is not None:
            self._prepared.close()

    def start_dags_test(
        self, dag_id: str, engine: Engine, job: dict[str, Any], output: IO[str], **conf: Any
    ) -> subprocess.Popen[str]:
        """Start `airflow dags test` in a new process group."""
        require_torch()
        environment, command = self._dags_test(dag_id, engine, job, conf)
        return subprocess.Popen(
            command, env=environment, text=True, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )

    def _dags_test(
        self, dag_id: str, engine: Engine, job: dict[str, Any], conf: dict[str, Any]
    ) -> tuple[dict[str, str], list[str]]:
        environment = self.environment(
            AIRFLOW_CONN_REVIEWS=connection(engine),
            AIRFLOW_VAR_REVIEW_SCORING_JOBS=json.dumps({"film_reviews": {"source_conn_id": "reviews", **job}}),
        )
        return environment, [airflow(), "dags", "test", dag_id, *(["--conf", json.dumps(conf)] if conf else [])]


def airflow() -> str:
    """Return the path of the `airflow` command in the tests' environment."""
    return str(Path(sys.executable).with_name("airflow"))


def connection(engine: Engine) -> str:
    """Return an Airflow Connection to an engine's database, as JSON for an environment variable."""
    url = engine.url
    if url.get_backend_name() == "sqlite":
        return json.dumps({"conn_type": "sqlite", "host": url.database})
    fields = {
        "host": url.host,
        "login": url.username,
        "password": url.password,
        "port": url.port,
        "schema": url.database,
    }
    kind = {"postgresql": "postgres"}.get(url.get_backend_name(), url.get_backend_name())
    return json.dumps({"conn_type": kind, **{key: value for key, value in fields.items() if value is not None}})
