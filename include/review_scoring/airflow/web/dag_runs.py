"""DAG runs in Airflow's metadata: those that failed before they scored, or never started, are in no other place.

The pages run in the API server, which has access to the metadata database. They only read it.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import func, select

log = logging.getLogger(__name__)

NEWEST_RUNS = 30
"""The number of newest runs of a DAG that are read."""

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


def dag_states(dag_ids: Collection[str], *, newest: int = NEWEST_RUNS) -> Mapping[str, DagState]:
    """Return DAGs with their newest runs, in three queries.

    DAGs that Airflow does not know are left out; all of them are if the metadata cannot be read.

    :param newest: the number of newest runs that are read of each DAG
    """
    from airflow.models.dag import DagModel
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session

    try:
        with create_session() as session:
            newest_first = (DagRun.run_after.desc(), DagRun.id.desc())
            rank = func.row_number().over(partition_by=DagRun.dag_id, order_by=newest_first)
            ranked = select(DagRun.id, rank.label("rank")).where(DagRun.dag_id.in_(dag_ids)).subquery()
            is_newest = select(ranked.c.id).where(ranked.c.rank <= newest)
            runs = session.scalars(select(DagRun).where(DagRun.id.in_(is_newest)).order_by(*newest_first)).all()
            tasks = select(TaskInstance.dag_id, TaskInstance.run_id, TaskInstance.task_id).where(
                TaskInstance.dag_id.in_(dag_ids),
                TaskInstance.run_id.in_([run.run_id for run in runs]),
                TaskInstance.state == FAILED,
            )
            failed: dict[tuple[str, str], list[str]] = {}
            for dag_id, run_id, task_id in session.execute(tasks.order_by(TaskInstance.start_date)):
                failed.setdefault((dag_id, run_id), []).append(task_id)
            return {
                dag.dag_id: DagState(
                    dag_id=dag.dag_id,
                    is_paused=bool(dag.is_paused),
                    has_import_errors=bool(dag.has_import_errors),
                    next_due_at=_utc(dag.next_dagrun_create_after),
                    runs=[
                        _run(run, failed.get((run.dag_id, run.run_id), ())) for run in runs if run.dag_id == dag.dag_id
                    ],
                )
                for dag in session.scalars(select(DagModel).where(DagModel.dag_id.in_(dag_ids)))
            }
    except Exception as error:  # noqa: BLE001 no failure of the metadata hides the warehouse
        log.warning("cannot read the runs of DAGs from Airflow's metadata: %s", type(error).__name__)
        return {}


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
