"""Daily label counts: how many new reviews of each day got which label, from the rows of `scoring_runs`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from sqlalchemy import Connection, or_, select

from review_scoring.warehouse.dialects import dialect_of
from review_scoring.warehouse.ledger.counts import LabelCounts, add_labels, labelled, shares_of
from review_scoring.warehouse.ledger.leases import RUNNING
from review_scoring.warehouse.schema import Tables

MOST_TASKS = 20_000
"""Scoring tasks that are read at most: with more of them, the days go back less far."""


@dataclass(frozen=True)
class DailyLabels:
    """The new reviews of one day (UTC), by the beginning of the run that scored them."""

    date: date
    labels: LabelCounts

    @property
    def at(self) -> datetime:
        """The day's first moment."""
        return datetime(self.date.year, self.date.month, self.date.day, tzinfo=UTC)

    @property
    def labelled(self) -> int:
        """How many reviews were scored; one at least."""
        return labelled(self.labels)

    @property
    def shares(self) -> Mapping[str, float]:
        """Each label's share of them."""
        return shares_of(self.labels)

    @property
    def mean_score(self) -> float:
        """The mean of their scores."""
        return sum(scores for _, scores in self.labels.values()) / self.labelled


def daily_labels(connection: Connection, owned: Tables, job_id: int, *, back: timedelta) -> Sequence[DailyLabels]:
    """Return the days on which new reviews were scored, the oldest first.

    A rescore tells of old reviews, and is left out; so is a run that still goes, whose part may not be like the whole.

    :param back: how far to look back; the oldest day is whole
    """
    runs = owned.runs
    now = dialect_of(connection).now(connection)
    since = (now - back).replace(hour=0, minute=0, second=0, microsecond=0)
    statement = (
        select(runs.c.dag_id, runs.c.run_id, runs.c.state, runs.c.lease_until, runs.c.started_at, runs.c.label_counts)
        .where(runs.c.job_id == job_id, runs.c.started_at >= since, runs.c.is_rescore.is_not(True))
        .where(or_(runs.c.scored > 0, runs.c.state == RUNNING))
        .order_by(runs.c.id.desc())
        .limit(MOST_TASKS)
    )
    rows = connection.execute(statement).all()
    going = {(row.dag_id, row.run_id) for row in rows if row.state == RUNNING and row.lease_until > now}
    found: dict[date, LabelCounts] = {}
    for row in rows:
        if row.label_counts and (row.dag_id, row.run_id) not in going:
            day = row.started_at.date()
            found[day] = add_labels(found.get(day, {}), json.loads(row.label_counts))
    if len(rows) == MOST_TASKS:
        found.pop(min(found, default=date.min), None)
    return [DailyLabels(day, labels) for day, labels in sorted(found.items()) if labelled(labels)]
