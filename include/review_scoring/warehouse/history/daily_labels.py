"""Daily label counts: how many new reviews of each day got which label, from the rows of `scoring_shards`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from sqlalchemy import Connection, or_, select

from review_scoring.job import Rescore
from review_scoring.warehouse.dialects import dialect_of
from review_scoring.warehouse.ledger.counts import LabelCounts, add_labels, labelled, shares_of
from review_scoring.warehouse.ledger.held_lease import in_progress
from review_scoring.warehouse.ledger.jobs import JobRecord
from review_scoring.warehouse.schema import RUNNING

MOST_TASKS = 20_000
"""The most rows of `scoring_shards` that are read. A job with more of them gets fewer days."""


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
    runs, shards = job.tables.runs, job.tables.shards
    now = dialect_of(connection).now(connection)
    since = (now - back).replace(hour=0, minute=0, second=0, microsecond=0)
    statement = (
        select(runs.c.dag_id, runs.c.dag_run_id, runs.c.started_at)
        .add_columns(shards.c.label_counts, in_progress(job.tables, now).label("in_progress"))
        .join_from(runs, shards, runs.c.id == shards.c.run_id)
        .where(runs.c.job_id == job.id, runs.c.started_at >= since, runs.c.rescore == Rescore.NOTHING.value)
        .where(or_(shards.c.scored > 0, shards.c.state == RUNNING))
        .order_by(shards.c.id.desc())
        .limit(MOST_TASKS)
    )
    rows = connection.execute(statement).all()
    unfinished = {(row.dag_id, row.dag_run_id) for row in rows if row.in_progress}
    found: dict[date, LabelCounts] = {}
    for row in rows:
        if (row.dag_id, row.dag_run_id) not in unfinished:
            day = row.started_at.date()
            found[day] = add_labels(found.get(day, {}), json.loads(row.label_counts))
    if len(rows) == MOST_TASKS:
        found.pop(min(found, default=date.min), None)
    return [DailyLabels(day, labels) for day, labels in sorted(found.items()) if labelled(labels)]
