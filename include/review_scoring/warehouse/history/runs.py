"""Run history: each DAG run that scored, with the counts of all its shards added up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import reduce
from itertools import chain, groupby
from operator import add
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, func, select, union

from review_scoring.job import Rescore
from review_scoring.warehouse.dialects import dialect_of
from review_scoring.warehouse.ledger.counts import Counts, Tally, labelled, shares_of
from review_scoring.warehouse.ledger.held_lease import in_progress
from review_scoring.warehouse.ledger.jobs import JobRecord
from review_scoring.warehouse.ledger.runs import of_plan
from review_scoring.warehouse.ledger.verdicts import Verdict, no_check_failed, verdicts_in
from review_scoring.warehouse.schema import FAILED, RUNNING, SUCCESS, YIELDED, Tables

STALLED = "stalled"
"""State of a run that is recorded as `running`, and is not in progress: a task stopped sending heartbeats, no task has
begun for a while, or nothing has compared the counts of its shards with the tables. Airflow may know better."""


@dataclass(frozen=True)
class Run:
    """One DAG run that scored reviews of the job: all its shards together. Times are aware, in UTC.

    :param state: `running`, `stalled`, `yielded`, `success` or `failed`
    :param ended_at: None while the run is in progress
    :param seen_at: the time of the query, by the database's clock
    :param models: name and revision of each model that it used
    :param shards: how many shards the run is planned as
    :param shards_done: how many of them have succeeded
    :param shards_running: how many shards are recorded as running, whether or not their leases have expired
    :param is_rescore: whether all its shards scored reviews again, rather than new ones
    :param limit: the most reviews that the run scores; None for a run without a limit
    :param verdicts: what its checks said; none until it was checked
    :param waiting: how many reviews it leaves: those beyond its budget when it was planned, and more if its minutes
        ended it; None if they were not counted
    """

    dag_id: str
    dag_run_id: str
    state: str
    started_at: datetime
    ended_at: datetime | None
    seen_at: datetime
    counts: Counts
    models: tuple[tuple[str, str], ...]
    devices: tuple[str, ...]
    shards: int
    shards_done: int
    shards_running: int
    is_rescore: bool
    limit: int | None
    verdicts: tuple[Verdict, ...] = ()
    waiting: Tally | None = None

    @property
    def seconds(self) -> float:
        """Duration in seconds, up to now for a run that is in progress."""
        return max(((self.ended_at or self.seen_at) - self.started_at).total_seconds(), 0.0)

    @property
    def reviews_per_second(self) -> float:
        """Reviews that one task classified per second; 0 if it classified none."""
        return self.counts.speed

    @property
    def has_begun(self) -> bool:
        """Whether counts and devices are known. They are written with the first commit of a run."""
        return self.state != RUNNING or self.counts.read > 0

    @property
    def shares(self) -> Mapping[str, float]:
        """Share of each label among the scored reviews whose labels were counted."""
        return shares_of(self.counts.labels)

    @property
    def labelled(self) -> int:
        """Number of reviews that the shares are computed from."""
        return labelled(self.counts.labels)


def last_runs(connection: Connection, job: JobRecord, *, limit: int) -> list[Run]:
    """Return the last runs of a job, the newest first."""
    runs, shards = job.tables.runs, job.tables.shards
    newest = (
        select(runs.c.dag_id, runs.c.dag_run_id, func.max(runs.c.id).label("newest"))
        .where(runs.c.job_id == job.id, select(shards.c.id).where(shards.c.run_id == runs.c.id).exists())
        .group_by(runs.c.dag_id, runs.c.dag_run_id)
        .order_by(func.max(runs.c.id).desc())
        .limit(limit)
        .subquery()
    )
    same = and_(newest.c.dag_id == runs.c.dag_id, newest.c.dag_run_id == runs.c.dag_run_id)
    now = dialect_of(connection).now(connection)
    statement = _shards(job.tables, [job.id], now).join(newest, same).order_by(newest.c.newest.desc(), shards.c.id)
    found = _grouped(connection.execute(statement).all(), now)
    return _with_verdicts(connection, job, found, _checked(job.tables, [job.id]).join(newest, same))


def newest_runs(connection: Connection, tables: Tables, job_ids: Sequence[int]) -> Mapping[int, list[Run]]:
    """Return job id -> up to three runs, the newest first: the last run, the last nightly one and its last success.

    A run is a success here if none of its checks failed. Two queries read those of all jobs. Jobs that have never run
    are left out.
    """
    runs, shards = tables.runs, tables.shards
    nightly = runs.c.rescore == Rescore.NOTHING.value
    succeeded = (nightly, runs.c.state == SUCCESS, no_check_failed(runs.c.checks))
    wanted = (_newest_of_each(tables, job_ids, *which) for which in ((), (nightly,), succeeded))
    newest = union(*wanted).subquery()
    of_run = select(runs.c.job_id, runs.c.dag_id, runs.c.dag_run_id).distinct()  # a run may have several tasks
    keys = of_run.join(newest, newest.c.id == runs.c.id).subquery()
    same = and_(*(keys.c[name] == runs.c[name] for name in ("job_id", "dag_id", "dag_run_id")))
    now = dialect_of(connection).now(connection)
    statement = _shards(tables, job_ids, now).join(keys, same)
    ordered = statement.order_by(runs.c.job_id, runs.c.dag_id, runs.c.dag_run_id, shards.c.id)
    found: dict[int, list[Run]] = {}
    for job_id, rows in groupby(connection.execute(ordered).all(), key=lambda row: int(row.job_id)):
        found[job_id] = sorted(_grouped(list(rows), now), key=lambda run: run.started_at, reverse=True)
    verdicts = _verdicts(connection, _checked(tables, job_ids).join(keys, same))
    return {
        job_id: [replace(run, verdicts=verdicts.get((job_id, run.dag_id, run.dag_run_id), ())) for run in of_job]
        for job_id, of_job in found.items()
    }


def _newest_of_each(tables: Tables, job_ids: Sequence[int], *which: ColumnElement[bool]) -> Select[Any]:
    """Return the statement of the newest id of each job's runs for which conditions hold.

    It looks at the newest runs first, and at no more than it needs: years of runs may be recorded.
    """
    jobs, runs, shards = tables.jobs, tables.runs, tables.shards
    has_begun = select(shards.c.id).where(shards.c.run_id == runs.c.id).exists()
    of_job = select(runs.c.id).where(runs.c.job_id == jobs.c.id, has_begun, *which)
    newest = of_job.order_by(runs.c.id.desc()).limit(1).correlate(jobs).scalar_subquery()
    return select(newest.label("id")).select_from(jobs).where(jobs.c.id.in_(job_ids))


def find_run(connection: Connection, job: JobRecord, *, dag_id: str, dag_run_id: str) -> Run | None:
    """Return one run of a job, or None if this DAG run scored nothing of the job."""
    runs = job.tables.runs
    now = dialect_of(connection).now(connection)
    mine = and_(runs.c.dag_id == dag_id, runs.c.dag_run_id == dag_run_id)
    statement = _shards(job.tables, [job.id], now).where(mine).order_by(job.tables.shards.c.id)
    found = _grouped(connection.execute(statement).all(), now)
    return next(iter(_with_verdicts(connection, job, found, _checked(job.tables, [job.id]).where(mine))), None)


def _shards(tables: Tables, job_ids: Sequence[int], now: datetime) -> Select[Any]:
    """Return the statement of the shards of jobs, each with its run and its model."""
    runs, shards, models = tables.runs, tables.shards, tables.models
    of_run = (
        runs.c.job_id,
        runs.c.dag_id,
        runs.c.dag_run_id,
        runs.c.rescore,
        runs.c.max_reviews,
        runs.c.waiting,
        runs.c.waiting_is_exact,
    )
    renamed = (runs.c.shards.label("planned"), runs.c.state.label("run_state"), models.c.name.label("model"))
    return (
        select(shards, *of_run, *renamed, models.c.revision, in_progress(tables, now).label("in_progress"))
        .join(runs, runs.c.id == shards.c.run_id)
        .join(models, models.c.id == shards.c.model_id)
        .where(runs.c.job_id.in_(job_ids))
    )


def _checked(tables: Tables, job_ids: Sequence[int]) -> Select[Any]:
    """Return the statement of what the checks of jobs' runs said: once for each run, and not for each shard."""
    runs = tables.runs
    checked = select(runs.c.job_id, runs.c.dag_id, runs.c.dag_run_id, runs.c.checks).select_from(runs)
    return checked.where(runs.c.job_id.in_(job_ids), runs.c.checks.is_not(None))


def _verdicts(connection: Connection, checked: Select[Any]) -> Mapping[tuple[int, str, str], tuple[Verdict, ...]]:
    """Return what the checks said, by job id, DAG id and run id."""
    found: dict[tuple[int, str, str], tuple[Verdict, ...]] = {}
    for row in connection.execute(checked):
        key = (int(row.job_id), row.dag_id, row.dag_run_id)
        found[key] = found.get(key, ()) + verdicts_in(row.checks)
    return found


def _with_verdicts(connection: Connection, job: JobRecord, found: Sequence[Run], checked: Select[Any]) -> list[Run]:
    verdicts = _verdicts(connection, checked)
    return [replace(run, verdicts=verdicts.get((job.id, run.dag_id, run.dag_run_id), ())) for run in found]


def _grouped(rows: Sequence[Row[Any]], now: datetime) -> list[Run]:
    return [_run(list(shards), now) for _, shards in groupby(rows, key=lambda row: (row.dag_id, row.dag_run_id))]


def _run(rows: Sequence[Row[Any]], now: datetime) -> Run:
    planned = {row.run_id: row.planned for row in rows}
    of_plans = [of_plan([row for row in rows if row.run_id == run_id], shards) for run_id, shards in planned.items()]
    done = sum(row.state == SUCCESS for row in chain.from_iterable(of_plans))
    ends = [row.ended_at or row.lease_until for row in rows]
    running = [row for row in rows if row.state == RUNNING]
    if any(row.in_progress for row in rows):
        state = RUNNING
    else:
        states = {STALLED if RUNNING in {row.state, row.run_state} else row.run_state for row in rows}
        state = next(each for each in (STALLED, FAILED, YIELDED, SUCCESS) if each in states)
    counts = reduce(add, (Counts.from_row(row) for row in rows))
    limit = max((row.max_reviews for row in rows if row.max_reviews is not None), default=None)
    return Run(
        dag_id=rows[0].dag_id,
        dag_run_id=rows[0].dag_run_id,
        state=state,
        started_at=min(row.started_at for row in rows),
        ended_at=None if state == RUNNING else max(ends),
        seen_at=now,
        counts=counts,
        models=tuple(dict.fromkeys((row.model, row.revision) for row in rows)),
        devices=tuple(dict.fromkeys(row.device for row in rows if row.device)),
        shards=sum(planned.values()),
        shards_done=done,
        shards_running=len(running),
        is_rescore=all(row.rescore != Rescore.NOTHING for row in rows),
        limit=limit,
        waiting=_left_waiting(rows, is_at_limit=limit is not None and counts.done >= limit),
    )


def _left_waiting(rows: Sequence[Row[Any]], *, is_at_limit: bool) -> Tally | None:
    counted = [row for row in rows if row.waiting is not None]
    if not counted:
        return None
    is_out_of_time = not is_at_limit and any(row.ended_early for row in rows)
    is_exact = all(row.waiting_is_exact for row in counted) and not is_out_of_time
    return Tally(max(row.waiting for row in counted), is_exact)
