"""Run history of a job, merged from the warehouse (counts) and Airflow (failed, queued and overdue runs)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from review_scoring.airflow.web import dag_runs
from review_scoring.airflow.web.dag_runs import DagRunState, DagState
from review_scoring.warehouse.history.runs import Run
from review_scoring.warehouse.ledger import leases as runs

GRACE = timedelta(minutes=30)
"""How late a run may begin before the overview says so: schedulers and queues take their time."""


@dataclass(frozen=True)
class RunLine:
    """One run. `recorded` is None for a run that has written nothing to the warehouse.

    :param state: the worse one of what the warehouse and Airflow say
    :param failed_tasks: the tasks that failed, where Airflow knows
    """

    dag_id: str
    run_id: str
    state: str
    started_at: datetime
    failed_tasks: tuple[str, ...]
    recorded: Run | None

    @property
    def is_rescore(self) -> bool:
        """Whether it scored again what was scored before."""
        return self.recorded is not None and self.recorded.is_rescore


@dataclass(frozen=True)
class Overdue:
    """The last success is older than the schedule allows. `succeeded_at` is None where no run did, as far as is known.

    :param due_at: when a run was due that has not succeeded
    :param why: in a sentence
    """

    dag_id: str
    due_at: datetime
    succeeded_at: datetime | None
    why: str


def run_lines(newest_first: Sequence[Run], dags: Sequence[DagState]) -> list[RunLine]:
    """Return the runs of a job, the newest first: those in the warehouse, and those that never got there.

    A run without an entry in the warehouse that ended as success was a dry run, or one of another job.
    """
    known = {(state.dag_id, state.run_id): state for dag in dags for state in dag.runs}
    lines = [_with_airflow(run, known.get((run.dag_id, run.run_id))) for run in newest_first]
    there = {(run.dag_id, run.run_id) for run in newest_first}
    oldest = min((run.started_at for run in newest_first), default=None)
    for key, state in known.items():
        at = state.started_at or state.due_at
        if key not in there and state.state != dag_runs.SUCCESS and (oldest is None or at > oldest):
            lines.append(RunLine(*key, state.state, at, state.failed_tasks, None))
    return sorted(lines, key=lambda line: line.started_at, reverse=True)


def overdue(lines: Sequence[RunLine], dags: Sequence[DagState], now: datetime) -> Overdue | None:
    """Say whether the last success is older than the schedules of the DAGs allow; whichever of them succeeded counts.

    :param lines: what :func:`run_lines` returns
    """
    scored = [line for line in lines if not line.is_rescore]
    succeeded = next((line.started_at for line in scored if line.state == runs.SUCCESS), None)
    for dag in dags:
        due = _due(dag, now)
        if due is None or (succeeded is not None and succeeded >= due):
            continue
        since = [line for line in scored if line.started_at >= due]
        if not any(line.state == runs.RUNNING for line in since):
            own = next((line for line in since if line.dag_id == dag.dag_id), None)
            return Overdue(dag.dag_id, due, succeeded, _why(dag, own))
    return None


def _with_airflow(run: Run, known: DagRunState | None) -> RunLine:
    """Return a run's line: shards that succeeded do not make a run that did, if Airflow knows better."""
    state, failed = run.state, known.failed_tasks if known else ()
    if known is not None and known.state == dag_runs.FAILED:
        state = runs.FAILED
    elif known is not None and known.state in {dag_runs.RUNNING, dag_runs.QUEUED} and state == runs.SUCCESS:
        state = runs.RUNNING
    return RunLine(run.dag_id, run.run_id, state, run.started_at, failed, run)


def _due(dag: DagState, now: datetime) -> datetime | None:
    """Return when the last run was due that should have begun by now; None for a DAG without a schedule."""
    made = [run.due_at for run in dag.runs if run.is_scheduled]
    missed = [dag.next_due_at] if dag.next_due_at is not None else []
    return max((at for at in (*made, *missed) if at + GRACE < now), default=None)


def _why(dag: DagState, newest: RunLine | None) -> str:
    if dag.is_paused:
        return "The DAG is paused."
    if dag.has_import_errors:
        return "The file of the DAG has an import error."
    if newest is None:
        return "No run has come since: look whether Airflow's scheduler and DAG processor run."
    if newest.failed_tasks:
        return f"The newest one failed in {' and '.join(newest.failed_tasks)}."
    return f"The newest one is {newest.state.replace('_', ' ')}."
