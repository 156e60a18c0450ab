"""Cursor column: narrows a scan of the source to recent rows, with a full scan every few days.

An increasing id or a creation time narrows a nightly scan to the rows at or above the highest value that an earlier
scan has seen, less a lookback for rows that were committed late. The cursor is never trusted: the next full scan finds
what it hides. One wrong value must not hide later rows: times count up to the database's clock, and integers up to a
jump.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnClause, ColumnElement, func, or_, select
from sqlalchemy.types import Integer

from review_scoring.job import ScoringJob
from review_scoring.warehouse.ledger.cursor_state import CursorState
from review_scoring.warehouse.source.table import SourceTable

log = logging.getLogger(__name__)

AHEAD = timedelta(hours=14)
"""How far a time without a zone may be ahead of UTC: that of Kiritimati."""

EARLIEST = datetime(1, 1, 2)
"""Earlier times, such as `-infinity`, cannot be fetched by drivers."""

JUMP_ROWS = 1000
"""A jump with at least this many rows above it is not a few wrong values: the cursor follows it."""

SMALLEST_JUMP = 1000

FEWEST = 3
"""With no more values than these, a jump cannot be detected, and all rows are read."""


@dataclass(frozen=True)
class Scan:
    """Which rows of a source a run reads. Plain values, since all shards of a run share one scan.

    :param since: only rows whose cursor is at or above this value, as text, or NULL; None for all rows
    :param highest: the cursor's highest value when the scan began; None if the scan does not move the cursor
    """

    since: str | None = None
    highest: str | None = None

    @property
    def is_full(self) -> bool:
        """Whether all rows are read."""
        return self.since is None

    def condition(self, source: SourceTable) -> ColumnElement[bool] | None:
        """Return the SQL condition of the rows that are read; None for all."""
        if self.since is None:
            return None
        assert source.cursor is not None
        recent = source.cursor >= _value(self.since)
        return or_(recent, source.cursor.is_(None)) if source.cursor_is_nullable else recent

    def as_text(self) -> str:
        """Return the scan as text, to be kept for another try of its run."""
        return json.dumps(asdict(self))

    @classmethod
    def from_text(cls, kept: str) -> Scan:
        """Read the text that :meth:`as_text` returned."""
        return cls(**json.loads(kept))


FULL_SCAN = Scan()


def next_scan(job: ScoringJob, source: SourceTable, look_up: Callable[[], CursorState]) -> Scan:
    """Return which rows the next run reads: the recent ones, or all if the last full scan was too long ago.

    :param look_up: called for a source with a cursor
    """
    if source.cursor is None:
        return FULL_SCAN
    kept, full_pass_at, now = look_up()
    value = _highest(source, source.cursor, now)
    highest = None if value is None else _kept(source.cursor.name, value)
    since = None if kept is None or value is None else _since(source.cursor, kept, value, job.cursor_lookback)
    if since is None or full_pass_at is None or now - full_pass_at >= timedelta(days=job.full_pass_days):
        return Scan(highest=highest)
    return Scan(_kept(source.cursor.name, since), highest)


def _highest(source: SourceTable, cursor: ColumnClause[Any], now: datetime) -> int | datetime | None:
    """Return the highest credible value of the cursor; None if there is none."""
    if isinstance(cursor.type, Integer):
        lowest = source.fetch(select(func.min(cursor).label("value")))[0].value
        top = select(cursor.label("value")).where(cursor.is_not(None)).order_by(cursor.desc()).limit(JUMP_ROWS)
        return _before_a_jump(source.name, cursor.name, [row.value for row in source.fetch(top)], lowest)
    upto = now if getattr(cursor.type, "timezone", False) else now.replace(tzinfo=None) + AHEAD
    believed = select(func.max(cursor).label("value")).where(cursor >= EARLIEST, cursor <= upto)
    highest: datetime | None = source.fetch(believed)[0].value
    return highest


def _before_a_jump(table: str, column: str, top: Sequence[int], lowest: int | None) -> int | None:
    """Return the highest integer below the first gap that is wider than the range of all values below it.

    :param top: the highest values, the highest first
    """
    rising = sorted(top)
    if lowest is None or len(rising) <= FEWEST:
        return None
    highest = rising[FEWEST - 1]
    for place in range(FEWEST, len(rising)):
        value = rising[place]
        if value - highest > max(highest - lowest, SMALLEST_JUMP):
            log.warning(
                "cursor column %r of %s jumps from %d to %d, which %d rows are at or above: the cursor stays below the "
                "jump, and these rows are read each time; correct them, or wait until there are %d",
                column, table, highest, value, len(rising) - place, JUMP_ROWS,
            )  # fmt: skip
            break
        highest = value
    return highest


def _kept(column: str, value: object) -> str:
    """Return a cursor's value as text, with its column's name, since a job may change its cursor column."""
    return json.dumps([column, value.isoformat() if isinstance(value, datetime) else value], default=str)


def _value(kept: str) -> int | datetime:
    _, value = json.loads(kept)
    return datetime.fromisoformat(value) if isinstance(value, str) else int(value)


def _since(cursor: ColumnClause[Any], kept: str, highest: Any, lookback: int) -> int | datetime | None:
    """Return the kept value less the lookback, or None if it is of another column or type.

    Also None for a value above the highest credible one: the rows that it has hidden may be anywhere below it.
    """
    column, value = json.loads(kept)
    if column != cursor.name or isinstance(value, str) is isinstance(cursor.type, Integer):
        return None
    seen = _value(kept)
    if isinstance(seen, datetime):
        unlike = (seen.tzinfo is None) is not (highest.tzinfo is None)
        return None if unlike or seen > highest else seen - timedelta(seconds=lookback)
    return None if seen > highest else seen - lookback
