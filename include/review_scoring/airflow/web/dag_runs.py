"""DAG runs in Airflow's metadata: those that failed before they scored, or never started, are in no other place.

The pages run in the API server, which has access to the metadata database. They only read it.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

log = logging.getLogger(__name__)

NEWEST_RUNS = 30
"""The number of newest runs that are read."""

FAILED, RUNNING, QUEUED, SUCCESS = "failed", "running", "queued", "success"


@dataclass(frozen=True, kw_only=True)
class DagRunState:
    """A DAG run in Airflow: when it was due, when it started, its state, and the tasks that failed."""

    dag_id: str
    dag_run_id: str
    state: str
    is_scheduled: bool
    due_at: datetime
    started_at: datetime | None
    failed_tasks: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class DagState:
    """A DAG in Airflow.

    :param next_due_at: when the next run is due; in the past if the scheduler has not created that run
    :param runs: the newest runs, the newest first
    """

    dag_id: str
    is_paused: bool
    has_import_errors: bool
    next_due_at: datetime | None
    runs: Sequence[DagRunState]


def dag_state(dag_id: str) -> DagState | None:
    """Return a DAG with its newest runs.

    None for a DAG that Airflow does not know, and if the metadata cannot be read: the pages do without it.
    """
    from airflow.models.dag import DagModel
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session

    try:
        with create_session() as session:
            dag = session.get(DagModel, dag_id)
            if dag is None:
                return None
            runs = session.query(DagRun).filter(DagRun.dag_id == dag_id)
            newest = runs.order_by(DagRun.run_after.desc(), DagRun.id.desc()).limit(NEWEST_RUNS).all()
            tasks = session.query(TaskInstance.run_id, TaskInstance.task_id).filter(
                TaskInstance.dag_id == dag_id,
                TaskInstance.run_id.in_([run.run_id for run in newest]),
                TaskInstance.state == FAILED,
            )
            failed: dict[str, list[str]] = {}
            for run_id, task_id in tasks.order_by(TaskInstance.start_date):
                failed.setdefault(run_id, []).append(task_id)
            return DagState(
                dag_id=dag_id,
                is_paused=bool(dag.is_paused),
                has_import_errors=bool(dag.has_import_errors),
                next_due_at=_utc(dag.next_dagrun_create_after),
                runs=[_run(run, failed.get(run.run_id, ())) for run in newest],
            )
    except Exception as error:  # noqa: BLE001 no failure of the metadata hides the warehouse
        log.warning("cannot read the runs of DAG %s from Airflow's metadata: %s", dag_id, type(error).__name__)
        return None


def _run(run: object, failed: Sequence[str]) -> DagRunState:
    return DagRunState(
        dag_id=getattr(run, "dag_id", ""),
        dag_run_id=getattr(run, "run_id", ""),
        state=str(getattr(run, "state", "")),
        is_scheduled=getattr(run, "run_type", "") == "scheduled",
        due_at=_utc(getattr(run, "run_after", None)) or datetime.now(UTC),
        started_at=_utc(getattr(run, "start_date", None)),
        failed_tasks=tuple(dict.fromkeys(failed)),
    )


def _utc(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.astimezone(UTC)
