"""The row of a run in `scoring_runs`: what it was asked to do, its state, and the counts of its shards added up.

A transaction that needs several rows locks the job first, then the run, then the shard.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from functools import reduce
from operator import add
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, insert, select, update

from review_scoring.request import RunKey, RunRequest
from review_scoring.reviews import canonical_id
from review_scoring.warehouse.dialects import dialect_of
from review_scoring.warehouse.ledger.counts import Counts
from review_scoring.warehouse.ledger.jobs import JobRecord
from review_scoring.warehouse.schema import FAILED, RUNNING, SUCCESS, YIELDED


def begin_run(
    connection: Connection,
    job: JobRecord,
    request: RunRequest,
    model_id: int,
    now: datetime,
    *,
    shards: int | None = None,
) -> int:
    """Write that a run is in progress, a new one or another try, lock its row, and return its id.

    The caller has locked the job.

    :param shards: how many shards the run is planned as; None for a shard of it, which knows its own part alone
    """
    runs, key = job.tables.runs, request.key
    values: dict[str, Any] = {"state": RUNNING, "ended_at": None, "checks": None, "model_id": model_id}
    same = select(runs.c.id, runs.c.shards).where(of_task(job, key))
    known = connection.execute(dialect_of(connection).locked(same)).one_or_none()
    if shards is not None or known is None:
        values |= {"shards": shards or key.map_index + 1, **_request(request)}
    elif key.map_index >= known.shards:  # mapped over something else than a plan; Airflow numbers such tasks from 0
        values["shards"] = key.map_index + 1
    if known is not None:
        connection.execute(update(runs).where(runs.c.id == known.id).values(values))
        return int(known.id)
    values |= {"job_id": job.id, "dag_id": key.dag_id, "task_id": key.task_id, "dag_run_id": key.dag_run_id}
    inserted = connection.execute(
        insert(runs).values(**values, **Counts().as_columns(), started_at=now)
    ).inserted_primary_key
    assert inserted is not None
    return int(inserted[0])


def lock_run(connection: Connection, job: JobRecord, run_id: int) -> None:
    """Lock a run's row until the transaction ends."""
    runs = job.tables.runs
    connection.execute(dialect_of(connection).locked(select(runs.c.id).where(runs.c.id == run_id))).one()


def add_up(connection: Connection, job: JobRecord, run_id: int, now: datetime) -> None:
    """Write the sum of the shards' counts, and the state that those of the plan give. The caller has locked the run.

    A run that has failed stays so until it is planned or a shard of it begins: its counts may have been compared.
    """
    runs = job.tables.runs
    rows = _shards(connection, job, run_id)
    counts = reduce(add, map(Counts.from_row, rows), Counts())
    run = connection.execute(select(runs.c.shards, runs.c.state).where(runs.c.id == run_id)).one()
    state = _state({row.state for row in of_plan(rows, run.shards)})
    ended = {} if run.state == FAILED else {"state": state, "ended_at": None if state == RUNNING else now}
    connection.execute(update(runs).where(runs.c.id == run_id).values(**ended, **counts.as_columns()))


def end_run(connection: Connection, job: JobRecord, key: RunKey, *, succeeded: bool) -> None:
    """Write what the comparison of a run's counts with the tables has found.

    A run whose counts are right succeeds if all shards of its plan have; otherwise it keeps its state.
    """
    runs = job.tables.runs
    mine = select(runs.c.id, runs.c.shards).where(of_task(job, key))
    run = connection.execute(dialect_of(connection).locked(mine)).one_or_none()
    if run is None:
        return
    done = [row for row in of_plan(_shards(connection, job, run.id), run.shards) if row.state == SUCCESS]
    if succeeded and len(done) < run.shards:
        return
    ended = {"state": SUCCESS if succeeded else FAILED, "ended_at": dialect_of(connection).now(connection)}
    connection.execute(update(runs).where(runs.c.id == run.id).values(ended))


def of_task(job: JobRecord, key: RunKey) -> ColumnElement[bool]:
    """Return the condition that a row of `scoring_runs` is of a task, all its map indexes together."""
    runs = job.tables.runs
    return and_(
        runs.c.job_id == job.id,
        runs.c.dag_id == key.dag_id,
        runs.c.task_id == key.task_id,
        runs.c.dag_run_id == key.dag_run_id,
    )


def _shards(connection: Connection, job: JobRecord, run_id: int) -> Sequence[Row[Any]]:
    shards = job.tables.shards
    return connection.execute(select(shards).where(shards.c.run_id == run_id)).all()


def of_plan(shards: Sequence[Row[Any]], planned: int) -> Sequence[Row[Any]]:
    """Return the shards of a run that its plan has, without those that only an earlier plan had.

    The counts of the others stay the run's, their states do not. A task that scores a run alone has the map index -1.

    :param shards: rows of one run
    :param planned: how many shards the run is planned as
    """
    mapped = [row for row in shards if 0 <= row.map_index < planned]
    return mapped or [row for row in shards if row.map_index < 0]


def _state(states: Collection[str]) -> str:
    """Return the state of a run by those of its shards. It succeeds when its counts have been compared, not before."""
    if RUNNING in states or not set(states) - {SUCCESS}:
        return RUNNING
    return YIELDED if not set(states) - {SUCCESS, YIELDED} else FAILED


def _request(request: RunRequest) -> dict[str, Any]:
    """Return the columns of what the run was asked to do."""
    selection, scored = request.selection, request.selection.scored
    return {
        "rescore": selection.rescore.value,
        "reject_reason": selection.reject_reason,
        "key_after": canonical_id(selection.keys.after),
        "key_upto": canonical_id(selection.keys.upto),
        "scored_since": None if scored is None else scored.since,
        "scored_until": None if scored is None else scored.until,
        "max_reviews": request.budget.reviews,
        "max_minutes": request.budget.minutes,
    }
