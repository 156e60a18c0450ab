"""Daily label counts: how many new reviews of each day got which label, from the rows of `scoring_shards`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, or_, select

from review_scoring.job import Rescore
from review_scoring.warehouse.dialects import dialect_of
from review_scoring.warehouse.ledger.counts import LabelCounts, add_labels, labelled, shares_of
from review_scoring.warehouse.ledger.held_lease import in_progress
from review_scoring.warehouse.ledger.jobs import JobRecord
from review_scoring.warehouse.schema import RUNNING, Tables

MOST_TASKS = 20_000
"""The most rows of `scoring_shards` that are read. Jobs with more of them get fewer days."""


@dataclass(frozen=True)
class DailyLabels:
    """Labels of the new reviews of one day (UTC): the day on which the run that scored them began."""

    date: date
    labels: LabelCounts

    @property
    def at(self) -> datetime:
        """Midnight at the start of the day (UTC)."""
        return datetime(self.date.year, self.date.month, self.date.day, tzinfo=UTC)

    @property
    def labelled(self) -> int:
        """Number of reviews that were scored: at least one."""
        return labelled(self.labels)

    @property
    def shares(self) -> Mapping[str, float]:
        """Share of each label."""
        return shares_of(self.labels)

    @property
    def mean_score(self) -> float:
        """Mean score of the reviews."""
        return sum(scores for _, scores in self.labels.values()) / self.labelled


def daily_labels(connection: Connection, job: JobRecord, *, back: timedelta) -> Sequence[DailyLabels]:
    """Return the labels of each day on which new reviews were scored, the oldest day first.

    Rescores are excluded, since they cover old reviews. So are runs in progress, since the reviews that they have
    scored so far may not be representative of the whole run.

    :param back: how far to look back; the oldest day is complete
    """
    return daily_labels_of(connection, job.tables, [job.id], back=back).get(job.id, [])


def daily_labels_of(
    connection: Connection, tables: Tables, job_ids: Sequence[int], *, back: timedelta
) -> Mapping[int, Sequence[DailyLabels]]:
    """Return job id -> :func:`daily_labels`, in one query. Jobs without scores are left out."""
    runs, shards = tables.runs, tables.shards
    now = dialect_of(connection).now(connection)
    since = (now - back).replace(hour=0, minute=0, second=0, microsecond=0)
    statement = (
        select(runs.c.job_id, runs.c.dag_id, runs.c.dag_run_id, runs.c.started_at)
        .add_columns(shards.c.label_counts, in_progress(tables, now).label("in_progress"))
        .join_from(runs, shards, runs.c.id == shards.c.run_id)
        .where(runs.c.job_id.in_(job_ids), runs.c.started_at >= since, runs.c.rescore == Rescore.NOTHING.value)
        .where(or_(shards.c.scored > 0, shards.c.state == RUNNING))
        .order_by(shards.c.id.desc())
        .limit(MOST_TASKS)
    )
    rows = connection.execute(statement).all()
    unfinished = {_run_key(row) for row in rows if row.in_progress}
    found: dict[int, dict[date, LabelCounts]] = {}
    for row in rows:
        if _run_key(row) not in unfinished:
            days, day = found.setdefault(row.job_id, {}), row.started_at.date()
            days[day] = add_labels(days.get(day, {}), json.loads(row.label_counts))
    if len(rows) == MOST_TASKS:
        incomplete = rows[-1].started_at.date()
        for days in found.values():
            days.pop(incomplete, None)
    return {
        job_id: [DailyLabels(day, labels) for day, labels in sorted(days.items()) if labelled(labels)]
        for job_id, days in found.items()
    }


def _run_key(row: Row[Any]) -> tuple[int, str, str]:
    return row.job_id, row.dag_id, row.dag_run_id
