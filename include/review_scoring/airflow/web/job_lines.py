"""The lines of the list of jobs: how each job is doing, those that need attention first.

The jobs whose scores are in the same schema of a database are read together, with six statements however many they are.
A database that does not answer affects the lines of its own jobs only.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from review_scoring.airflow.web.dag_runs import DagState
from review_scoring.airflow.web.databases import Databases
from review_scoring.airflow.web.error_pages import failure_of, named
from review_scoring.airflow.web.known_jobs import KnownJob
from review_scoring.airflow.web.run_history import Overdue, RunLine, overdue, run_lines
from review_scoring.errors import ReviewScoringError
from review_scoring.job import target_conn_id
from review_scoring.warehouse.errors import lacks_tables
from review_scoring.warehouse.history.daily_labels import DailyLabels, daily_labels_of
from review_scoring.warehouse.history.runs import STALLED, Run, newest_runs
from review_scoring.warehouse.ledger.counts import Tally
from review_scoring.warehouse.ledger.jobs import find_jobs
from review_scoring.warehouse.ledger.verdicts import FAILED as CHECK_FAILED
from review_scoring.warehouse.schema import FAILED, RUNNING, SUCCESS, tables

log = logging.getLogger(__name__)

BACK = timedelta(days=30)
"""How far back the label shares go."""

PATIENCE_S = 10.0
"""Seconds after which no further database is read."""

NEWEST = 5
"""The number of newest runs of each DAG that are read from Airflow."""


@dataclass(frozen=True)
class Recorded:
    """What the warehouse has of a job.

    :param newest_first: the last run, the last nightly one, and the last that succeeded
    :param days: the labels of each day
    """

    newest_first: Sequence[Run] = ()
    days: Sequence[DailyLabels] = ()


@dataclass(frozen=True)
class JobLine:
    """A job in the list of jobs.

    :param succeeded_at: when its last nightly run began that succeeded
    :param waiting: how many reviews its last nightly run that finished left beyond its budget; None if that is unknown
    :param problem: why nothing is known about it; empty if that is not so
    """

    name: str
    dag_id: str
    last: RunLine | None = None
    overdue: Overdue | None = None
    succeeded_at: datetime | None = None
    waiting: Tally | None = None
    days: Sequence[DailyLabels] = ()
    problem: str = ""

    @property
    def attention(self) -> int:
        """How urgently somebody should look at it: 0 is the most urgent."""
        state = self.last.state if self.last else ""
        checks = _checks_beyond(self.last) if self.last else set()
        urgent = (
            self.problem,
            state == FAILED,  # in Airflow also if a check failed
            self.overdue,
            state == STALLED,
            CHECK_FAILED in checks,
            checks,
            state == RUNNING,
        )
        return next((rank for rank, holds in enumerate(urgent) if holds), len(urgent))


def job_lines(
    jobs: Mapping[str, KnownJob], dags: Mapping[str, DagState], databases: Databases, now: datetime
) -> list[JobLine]:
    """Return a line for each job, those that need attention first.

    :param dags: the DAGs of the jobs, as far as they are known
    """
    found: dict[str, Recorded | str] = {}
    places: dict[tuple[str, str | None], list[str]] = {}
    for name, known in jobs.items():
        try:
            job = known.definition().job
            places.setdefault((target_conn_id(job), job.target_schema), []).append(name)
        except ReviewScoringError as error:
            found[name] = failure_of(error).heading
    deadline = time.monotonic() + PATIENCE_S
    for (conn_id, schema), names in places.items():
        if time.monotonic() > deadline:
            found |= dict.fromkeys(names, "Not read: another database took too long to answer.")
            continue
        try:
            found |= dict(_recorded(databases, conn_id, schema, names))
        except (SQLAlchemyError, ReviewScoringError) as error:
            log.warning("jobs %s: %s", ", ".join(names), named(error))
            found |= dict.fromkeys(names, failure_of(error).heading)
    lines = [_line(jobs[name], found.get(name, Recorded()), dags, now) for name in jobs]
    return sorted(lines, key=lambda line: (line.attention, line.name))


def _recorded(
    databases: Databases, conn_id: str, schema: str | None, names: Collection[str]
) -> Iterator[tuple[str, Recorded]]:
    """Yield what a database has of jobs. Those that have never run are left out."""
    tables_ = tables(schema)
    with databases.target_engine(conn_id).connect() as connection:
        try:
            records = find_jobs(connection, tables_, names)
        except DBAPIError as error:
            if lacks_tables(error):  # before the first run
                return
            raise
        ids = [record.id for record in records]
        runs = newest_runs(connection, tables_, ids)
        days = daily_labels_of(connection, tables_, ids, back=BACK)
    for record in records:
        yield record.name, Recorded(runs.get(record.id, ()), days.get(record.id, ()))


def _line(known: KnownJob, found: Recorded | str, dags: Mapping[str, DagState], now: datetime) -> JobLine:
    if isinstance(found, str):
        return JobLine(known.name, known.dag_id, problem=found)
    own = [dags[known.dag_id]] if known.dag_id in dags else []
    lines = run_lines(found.newest_first, own)
    finished = (run for run in found.newest_first if run.state == SUCCESS and not run.is_rescore)
    return JobLine(
        known.name,
        known.dag_id,
        last=lines[0] if lines else None,
        overdue=overdue(lines, own, now),
        succeeded_at=next((line.started_at for line in lines if _has_succeeded(line)), None),
        waiting=next((run.waiting for run in finished), None),
        days=found.days,
    )


def _has_succeeded(line: RunLine) -> bool:
    """Return whether a nightly run has succeeded. Airflow says so of its checks, too, but may not be readable."""
    return line.state == SUCCESS and not line.is_rescore and CHECK_FAILED not in _checks_beyond(line)


def _checks_beyond(line: RunLine) -> set[str]:
    """Return the states of the checks of a run that failed or warned."""
    return {each.state for each in line.implausible}
