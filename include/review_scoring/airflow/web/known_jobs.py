"""The jobs that the pages know: those that DAGs in Airflow's metadata score, and those in the Variable.

The API server may have neither the DAG files nor the job files. But Airflow keeps each DAG in its metadata, with the
settings of its job, as the scheduler runs it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import or_

from review_scoring.airflow.jobs import TAG, jobs_of_variable, score_dag_id
from review_scoring.errors import ConfigurationError
from review_scoring.job_definition import JobDefinition

log = logging.getLogger(__name__)

KEEP_S = 10.0
"""Seconds for which the jobs of DAGs are kept: the DAG processor needs longer to notice a change."""


@dataclass(frozen=True)
class KnownJob:
    """A job, and the DAG whose readers may see it.

    :param keys: its settings, which are not checked yet
    """

    name: str
    dag_id: str
    keys: object

    def definition(self) -> JobDefinition:
        """Return the job.

        :raises ConfigurationError: if its settings are wrong
        """
        return JobDefinition.from_mapping(self.name, self.keys)


class KnownJobs:
    """Finds the jobs, and keeps those of the DAGs for some seconds."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._of_dags: tuple[float, Mapping[str, KnownJob]] | None = None

    def all(self) -> Mapping[str, KnownJob]:
        """Return the jobs by name, sorted. What a DAG scores counts, rather than a newer definition in the Variable.

        :raises ConfigurationError: if the Variable is not a JSON object, and no DAG has a job
        """
        of_dags = self._jobs_of_dags()
        try:
            of_variable = jobs_of_variable()
        except ConfigurationError:
            if not of_dags:
                raise
            of_variable = {}
        found = {name: KnownJob(name, score_dag_id(name), keys) for name, keys in of_variable.items()}
        return dict(sorted({**found, **of_dags}.items()))

    def _jobs_of_dags(self) -> Mapping[str, KnownJob]:
        with self._lock:
            if self._of_dags is None or time.monotonic() - self._of_dags[0] >= KEEP_S:
                # A job has one DAG: its own, if several DAGs score it.
                found = sorted(jobs_in_metadata(), key=lambda job: (job.dag_id == score_dag_id(job.name), job.dag_id))
                self._of_dags = (time.monotonic(), {job.name: job for job in found})
            return self._of_dags[1]


def jobs_in_metadata() -> list[KnownJob]:
    """Return the jobs of the DAGs in Airflow's metadata; none if it cannot be read: the pages do without them."""
    from airflow.models.dag import DagModel, DagTag
    from airflow.models.serialized_dag import SerializedDagModel
    from airflow.utils.session import create_session

    try:
        with create_session() as session:
            tagged = session.query(DagModel.dag_id).join(DagTag, DagTag.dag_id == DagModel.dag_id)
            # Airflow marks a DAG as stale when its file has an import error, too; its job still has pages.
            is_there = or_(DagModel.is_stale.is_(False), DagModel.has_import_errors.is_(True))
            ids = [dag_id for (dag_id,) in tagged.filter(DagTag.name == TAG, is_there)]
            rows = SerializedDagModel.get_latest_serialized_dags(dag_ids=sorted(ids), session=session)
            return [job for row in rows for job in _jobs_of(row.dag_id, row.data or {})]
    except Exception as error:  # noqa: BLE001 no failure of the metadata hides the jobs of the Variable
        log.warning("cannot read the jobs of DAGs from Airflow's metadata: %s", type(error).__name__)
        return []


def _jobs_of(dag_id: str, data: Mapping[str, Any]) -> Iterator[KnownJob]:
    """Yield the jobs of the tasks of a serialized DAG: each task of ours has the settings of its job in `job`."""
    for task in data.get("dag", {}).get("tasks", ()):
        keys = task.get("__var", task).get("job")
        if isinstance(keys, Mapping) and "name" in keys and "source_conn_id" in keys:
            yield KnownJob(str(keys["name"]), dag_id, {key: value for key, value in keys.items() if key != "name"})
        elif isinstance(keys, str) and keys.startswith("Truncated."):
            log.warning("DAG %s: raise [core] max_templated_field_length, the pages cannot read its job", dag_id)
