"""Run history of a job, merged from the warehouse (counts) and Airflow (failed, queued and overdue runs)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from review_scoring.airflow.web import dag_runs
from review_scoring.airflow.web.dag_runs import DagRunState, DagState
from review_scoring.warehouse.history.runs import STALLED, Run
from review_scoring.warehouse.ledger.verdicts import Verdict, beyond_limit
from review_scoring.warehouse.schema import FAILED, RUNNING, SUCCESS

GRACE = timedelta(minutes=30)
"""How late a run may start before the overview reports it as overdue. Schedulers and queues take some time."""


@dataclass(frozen=True)
class RunLine:
    """A run in the list of runs.

    :param state: the worse of its states in the warehouse and in Airflow
    :param failed_tasks: the tasks that failed, as far as Airflow knows
    :param recorded: the run in the warehouse; None for a run that has written nothing to it
    """

    dag_id: str
    dag_run_id: str
    state: str
    started_at: datetime
    failed_tasks: tuple[str, ...]
    recorded: Run | None

    @property
    def is_rescore(self) -> bool:
        """Whether the run scored reviews again, rather than new ones."""
        return self.recorded is not None and self.recorded.is_rescore

    @property
    def implausible(self) -> list[Verdict]:
        """The checks that failed or warned, the failed ones first."""
        return beyond_limit(self.recorded.verdicts) if self.recorded else []


@dataclass(frozen=True)
class Overdue:
    """A run is overdue: the last successful run is older than the schedule allows.

    :param due_at: when the run was due that has not succeeded
    :param succeeded_at: when the last successful run started; None if there is none
    :param why: the reason, in one sentence
    """

    dag_id: str
    due_at: datetime
    succeeded_at: datetime | None
    why: str


def run_lines(newest_first: Sequence[Run], dags: Sequence[DagState]) -> list[RunLine]:
    """Return the runs of a job, the newest first: those in the warehouse, and those that failed earlier.

    A successful run that is not in the warehouse is left out: it was a dry run, or a run of another job.
    """
    known = {(state.dag_id, state.dag_run_id): state for dag in dags for state in dag.runs}
    lines = [_with_airflow(run, known.get((run.dag_id, run.dag_run_id))) for run in newest_first]
    recorded = {(run.dag_id, run.dag_run_id) for run in newest_first}
    oldest = min((run.started_at for run in newest_first), default=None)
    for key, state in known.items():
        at = state.started_at or state.due_at
        if key not in recorded and state.state != dag_runs.SUCCESS and (oldest is None or at > oldest):
            lines.append(RunLine(*key, state.state, at, state.failed_tasks, None))
    return sorted(lines, key=lambda line: line.started_at, reverse=True)


def overdue(lines: Sequence[RunLine], dags: Sequence[DagState], now: datetime) -> Overdue | None:
    """Return the overdue run, or None if a run of any of the DAGs has succeeded since the last one was due.

    :param lines: the runs, as :func:`run_lines` returns them
    """
    scored = [line for line in lines if not line.is_rescore]
    succeeded = next((line.started_at for line in scored if line.state == SUCCESS), None)
    for dag in dags:
        due = _due(dag, now)
        if due is None or (succeeded is not None and succeeded >= due):
            continue
        since = [line for line in scored if line.started_at >= due]
        if not any(line.state == RUNNING for line in since):
            own = next((line for line in since if line.dag_id == dag.dag_id), None)
            return Overdue(dag.dag_id, due, succeeded, _why(dag, own))
    return None


def _with_airflow(run: Run, known: DagRunState | None) -> RunLine:
    """Return a run with its state in Airflow: shards may wait for workers, and the last task may still fail.

    A DAG without a task that compares the counts with the tables ends well in Airflow alone.
    """
    state, failed = run.state, known.failed_tasks if known else ()
    if known is not None and known.state == dag_runs.FAILED:
        state = FAILED
    elif known is not None and known.state in {dag_runs.RUNNING, dag_runs.QUEUED}:
        is_waiting = state == STALLED and not run.shards_running
        state = RUNNING if is_waiting or state == SUCCESS else state
    elif known is not None and known.state == dag_runs.SUCCESS and state == STALLED and run.shards_done == run.shards:
        state = SUCCESS
    return RunLine(run.dag_id, run.dag_run_id, state, run.started_at, failed, run)


def _due(dag: DagState, now: datetime) -> datetime | None:
    """Return when the last run was due that should have started by now; None for a DAG without a schedule."""
    made = [run.due_at for run in dag.runs if run.is_scheduled]
    missed = [dag.next_due_at] if dag.next_due_at is not None else []
    return max((at for at in (*made, *missed) if at + GRACE < now), default=None)


def _why(dag: DagState, newest: RunLine | None) -> str:
    if dag.is_paused:
        return "The DAG is paused."
    if dag.has_import_errors:
        return "The DAG file has an import error."
    if newest is None:
        return "No run has started since: check that Airflow's scheduler and DAG processor are running."
    if newest.failed_tasks:
        return f"The newest run failed in {' and '.join(newest.failed_tasks)}."
    return f"The newest run is {newest.state.replace('_', ' ')}."
