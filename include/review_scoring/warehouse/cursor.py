"""A cursor column as an accelerator: look at what is recent, and at everything from time to time.

An increasing id or a created-at narrows a nightly pass to the rows above the highest value that an earlier pass has
seen, less a lookback for rows that were committed late. It is never trusted: what it hides, the next full pass finds.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import ColumnClause, ColumnElement
from sqlalchemy.types import Integer

from review_scoring.job import ScoringJob
from review_scoring.warehouse.source import ReviewSource


class Kept(NamedTuple):
    """What is kept of a job's cursor: its highest value seen, when a full pass last began; and the time now."""

    seen: str | None
    full_pass_at: datetime | None
    now: datetime


@dataclass(frozen=True)
class Pass:
    """One pass over a source. Plain values, since the tasks of a run that is cut into shards share one.

    :param since: only rows whose cursor is above this value, kept as text; None for all rows
    :param highest: the cursor's highest value when the pass began; None if the pass does not move the cursor
    """

    since: str | None = None
    highest: str | None = None

    @property
    def is_full(self) -> bool:
        """Say whether every row is looked at."""
        return self.since is None

    def condition(self, source: ReviewSource) -> ColumnElement[bool] | None:
        """Return which rows are looked at; None for all."""
        if self.since is None:
            return None
        assert source.cursor is not None
        _, value = json.loads(self.since)
        return source.cursor > (datetime.fromisoformat(value) if isinstance(value, str) else value)


def next_pass(job: ScoringJob, source: ReviewSource, look_up: Callable[[], Kept]) -> Pass:
    """Say which rows the next run looks at: the recent ones, or all if that was too long ago or never done.

    :param look_up: called for a source with a cursor
    """
    if source.cursor is None:
        return Pass()
    value = source.highest_cursor()
    highest = None if value is None else _kept(source.cursor.name, value)
    kept, full_pass_at, now = look_up()
    since = None if kept is None else _since(source.cursor, kept, job.cursor_lookback)
    if since is None or full_pass_at is None or now - full_pass_at >= timedelta(days=job.full_pass_days):
        return Pass(highest=highest)
    return Pass(_kept(source.cursor.name, since), highest)


def _kept(column: str, value: object) -> str:
    """Return a cursor's value as it is kept: with its column's name, since a job may come to use another."""
    return json.dumps([column, value.isoformat() if isinstance(value, datetime) else value], default=str)


def _since(cursor: ColumnClause[Any], kept: str, lookback: int) -> int | datetime | None:
    """Return the kept value less the lookback, or None if it is another column's or of another type."""
    column, value = json.loads(kept)
    if column != cursor.name:
        return None
    if isinstance(cursor.type, Integer):
        return value - lookback if isinstance(value, int) else None
    return datetime.fromisoformat(value) - timedelta(seconds=lookback) if isinstance(value, str) else None
