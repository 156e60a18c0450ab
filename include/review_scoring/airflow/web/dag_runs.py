"""What Airflow knows of a DAG's runs and the warehouse cannot: those that failed before they scored, or never came.

The pages live in the API server, which has Airflow's metadata at hand; they only read it.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

log = logging.getLogger(__name__)

LOOKED_AT = 30
"""Newest runs that are looked at."""

FAILED, RUNNING, QUEUED, SUCCESS = "failed", "running", "queued", "success"


@dataclass(frozen=True, kw_only=True)
class DagRunState:
    """A run as Airflow knows it: when it was due, when it began, how it ended, and which tasks failed."""

    dag_id: str
    run_id: str
    state: str
    is_scheduled: bool
    due_at: datetime
    started_at: datetime | None
    failed_tasks: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class DagState:
    """A DAG as Airflow knows it. `next_due_at` is in the past where the scheduler did not make the run."""

    dag_id: str
    is_paused: bool
    has_import_errors: bool
    next_due_at: datetime | None
    runs: Sequence[DagRunState]


def dag_state(dag_id: str) -> DagState | None:
    """Return what Airflow knows of a DAG and of its newest runs, the newest first.

    None for a DAG that Airflow does not know, and where its metadata cannot be read: the pages go without it.
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
            newest = runs.order_by(DagRun.run_after.desc(), DagRun.id.desc()).limit(LOOKED_AT).all()
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
    except Exception as error:  # noqa: BLE001 whatever Airflow's metadata is up to, the warehouse can be shown
        log.warning("the runs of DAG %s cannot be read from Airflow's metadata: %s", dag_id, type(error).__name__)
        return None


def _run(run: object, failed: Sequence[str]) -> DagRunState:
    values = {name: getattr(run, name) for name in ("dag_id", "run_id")}
    return DagRunState(
        **values,
        state=str(getattr(run, "state", "")),
        is_scheduled=getattr(run, "run_type", "") == "scheduled",
        due_at=_utc(getattr(run, "run_after", None)) or datetime.now(UTC),
        started_at=_utc(getattr(run, "start_date", None)),
        failed_tasks=tuple(dict.fromkeys(failed)),
    )


def _utc(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.astimezone(UTC)
