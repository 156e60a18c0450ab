"""What each night did, from the runs' own rows: the shards of one DAG run together are one night."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from itertools import groupby
from operator import add
from typing import Any

from sqlalchemy import Connection, Row, and_, func, select

from review_scoring.warehouse.dialects import dialect_of
from review_scoring.warehouse.ledger.counts import Counts, labelled, shares_of
from review_scoring.warehouse.ledger.leases import FAILED, GAVE_WAY, RUNNING, SUCCESS
from review_scoring.warehouse.schema import Tables

STALLED = "stalled"
"""A run that says it is running, and has given no sign of life for longer than its lease."""


@dataclass(frozen=True)
class Night:
    """One DAG run that scored: its shards' counts, added up. Times are aware, UTC; `ended_at` is None while it goes.

    `is_rescore` says that none of its tasks scored what is new; `limit` is the most reviews that it does, if any.
    """

    dag_id: str
    run_id: str
    state: str
    started_at: datetime
    ended_at: datetime | None
    seen_at: datetime
    counts: Counts
    models: tuple[tuple[str, str], ...]
    devices: tuple[str, ...]
    shards: int
    shards_done: int
    is_rescore: bool
    limit: int | None

    @property
    def seconds(self) -> float:
        """How long it took, or has been going on."""
        return max(((self.ended_at or self.seen_at) - self.started_at).total_seconds(), 0.0)

    @property
    def reviews_per_second(self) -> float:
        """Reviews that one task classified per second; 0 where none was."""
        return self.counts.speed

    @property
    def has_begun(self) -> bool:
        """Whether its counts and devices say something: until its first commit, a run at work has neither."""
        return self.state != RUNNING or self.counts.read > 0

    @property
    def shares(self) -> Mapping[str, float]:
        """Each label's share of the scored reviews whose labels were counted."""
        return shares_of(self.counts.labels)

    @property
    def labelled(self) -> int:
        """How many reviews the shares are made of."""
        return labelled(self.counts.labels)


def nights(connection: Connection, owned: Tables, job_id: int, *, last: int) -> list[Night]:
    """Return the last nights of a job, the newest first.

    :param last: how many
    """
    runs = owned.runs
    newest = (
        select(runs.c.dag_id, runs.c.run_id, func.max(runs.c.id).label("newest"))
        .where(runs.c.job_id == job_id)
        .group_by(runs.c.dag_id, runs.c.run_id)
        .order_by(func.max(runs.c.id).desc())
        .limit(last)
        .subquery()
    )
    same = and_(newest.c.dag_id == runs.c.dag_id, newest.c.run_id == runs.c.run_id)
    statement = (
        select(runs, newest.c.newest)
        .join(newest, same)
        .where(runs.c.job_id == job_id)
        .order_by(newest.c.newest.desc(), runs.c.id)
    )
    return _grouped(connection, connection.execute(statement).all())


def night_of(connection: Connection, owned: Tables, job_id: int, dag_id: str, run_id: str) -> Night | None:
    """Return the night that a DAG run was, or None if it scored nothing of this job."""
    runs = owned.runs
    mine = and_(runs.c.job_id == job_id, runs.c.dag_id == dag_id, runs.c.run_id == run_id)
    found = _grouped(connection, connection.execute(select(runs).where(mine).order_by(runs.c.id)).all())
    return found[0] if found else None


def _grouped(connection: Connection, rows: Sequence[Row[Any]]) -> list[Night]:
    now = dialect_of(connection).now(connection)
    return [_night(list(shards), now) for _, shards in groupby(rows, key=lambda row: (row.dag_id, row.run_id))]


def _night(rows: Sequence[Row[Any]], now: datetime) -> Night:
    alive = [row for row in rows if row.state == RUNNING and row.lease_until > now]
    states = {row.state for row in rows}
    if alive:
        state = RUNNING
    elif RUNNING in states:
        state = STALLED
    elif GAVE_WAY in states and not states - {SUCCESS, GAVE_WAY}:
        state = GAVE_WAY
    else:
        state = SUCCESS if states == {SUCCESS} else FAILED
    ends = [row.ended_at or row.lease_until for row in rows]
    return Night(
        dag_id=rows[0].dag_id,
        run_id=rows[0].run_id,
        state=state,
        started_at=min(row.started_at for row in rows),
        ended_at=None if alive else max(ends),
        seen_at=now,
        counts=reduce(add, (Counts.from_row(row) for row in rows)),
        models=tuple(dict.fromkeys((row.model, row.revision) for row in rows)),
        devices=tuple(dict.fromkeys(row.device for row in rows if row.device)),
        shards=len(rows),
        shards_done=sum(row.state == SUCCESS for row in rows),
        is_rescore=all(row.is_rescore for row in rows),
        limit=max((row.review_limit for row in rows if row.review_limit is not None), default=None),
    )
