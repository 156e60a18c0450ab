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
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnClause, func, select
from sqlalchemy.types import Integer

from review_scoring.errors import ConfigurationError
from review_scoring.job import Order, ScoringJob
from review_scoring.request import Selection
from review_scoring.warehouse.ledger.cursor_state import CursorState
from review_scoring.warehouse.source.rows import parse_id
from review_scoring.warehouse.source.stretches import CursorValue, Position, Stretch
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

    Values of the cursor are texts as :func:`kept` returns them.

    :param since: only rows whose cursor is at or above this value, or NULL; None for all rows
    :param highest: the cursor's highest value when the scan began; None if the scan does not move the cursor
    :param backlog: rows whose cursor is at or below this value are read as well, after the recent ones
    :param reached: the value at which the budget of the run ends; None if it covers all rows
    """

    since: str | None = None
    highest: str | None = None
    backlog: str | None = None
    reached: str | None = None

    @property
    def is_full(self) -> bool:
        """Whether all rows are read."""
        return self.since is None

    def stretches(self, source: SourceTable, selection: Selection) -> tuple[Stretch, ...]:
        """Return the rows that a run for new reviews reads, in its order: recent ones, the backlog, those undated."""
        newest_first = selection.order is Order.NEWEST
        floor = start_of(source, selection.start_after)
        since, until, backlog = map(_value, (self.since, self.highest, self.backlog))
        if until is None or not source.id_is_unique:  # rows with the same id have to be read together
            return (Stretch(newest_first=newest_first, since=since, floor=floor),)
        earliest = EARLIEST if isinstance(until, datetime) else None
        by_cursor = Stretch(by_cursor=True, newest_first=newest_first, since=earliest, until=until, floor=floor)
        undated = Stretch(undated=True, newest_first=newest_first, since=earliest, until=until)
        if since is None or (backlog is not None and backlog >= since):  # type: ignore[operator]  # both of the column
            return by_cursor, undated
        recent = [replace(by_cursor, since=since)]
        older = [] if backlog is None else [replace(by_cursor, until=backlog)]
        # A full pass over several runs reads what is below `earliest` at its end, as one over a single run does.
        return *recent, *older, undated if older else replace(undated, since=None)

    def as_text(self) -> str:
        """Return what is read, without where the budget ends, as text, to be kept for another try of its run."""
        return json.dumps(asdict(replace(self, reached=None)))

    @classmethod
    def from_text(cls, text: str) -> Scan:
        """Read the text that :meth:`as_text` returned."""
        return cls(**json.loads(text))

    def ending_at(self, stretch: Stretch, position: Position | None) -> Scan:
        """Return the scan of a run that ends at a position of a stretch; None for where the stretch begins."""
        if self.highest is None or stretch.undated:
            return self
        if not stretch.by_cursor:  # in the order of ids, every value of the cursor may wait
            return replace(self, highest=None)
        first = stretch.until if stretch.newest_first else stretch.since
        value = first if position is None else position.value
        return replace(self, reached=kept(json.loads(self.highest)[0], value))


FULL_SCAN = Scan()


def next_scan(job: ScoringJob, source: SourceTable, order: Order, look_up: Callable[[], CursorState]) -> Scan:
    """Return which rows the next run reads: the recent ones and the backlog, or all if the last full scan is old.

    :param look_up: called for a source with a cursor
    """
    if source.cursor is None:
        return FULL_SCAN
    seen, backlog, full_pass_at, now = look_up()
    value = _highest(source, source.cursor, now)
    if value is None:
        return FULL_SCAN
    highest = kept(source.cursor.name, value)
    since = None if seen is None else _since(source.cursor, seen, value, job.cursor_lookback)
    is_late = full_pass_at is None or now - full_pass_at >= timedelta(days=job.full_pass_days)
    if since is None or is_late or (backlog is not None and order is Order.OLDEST):
        return Scan(highest=highest)
    return Scan(kept(source.cursor.name, since), highest, backlog)


def start_of(source: SourceTable, start_after: int | str | None) -> Position | None:
    """Return the position that a job's `start_after` names.

    :raises ConfigurationError: if it is no value of the cursor column, or no id of a job without one
    """
    if start_after is None:
        return None
    column = source.id if source.cursor is None else source.cursor
    try:
        if source.cursor is None:
            return Position(parse_id(str(start_after), source.id_type))
        if isinstance(source.cursor.type, Integer):
            return Position(None, int(start_after))
        return Position(None, _in_zone(datetime.fromisoformat(str(start_after)), source.cursor))
    except ValueError:
        raise ConfigurationError(
            f"start_after is {start_after!r}, which is no value of column {column.name!r} of {source.name}; give "
            f"{'an id' if source.cursor is None else 'a value of the cursor column, such as 2026-01-31'}"
        ) from None


def before_start(source: SourceTable, start_after: int | str | None) -> Stretch | None:
    """Return the rows that a job's `start_after` excludes, the newest first; None without one."""
    start = start_of(source, start_after)
    if start is None or start.value is None:
        return None if start is None else Stretch(upto=start)
    earliest = EARLIEST if isinstance(start.value, datetime) else None
    return Stretch(by_cursor=True, newest_first=True, since=earliest, until=start.value)


def _in_zone(moment: datetime, cursor: ColumnClause[Any]) -> datetime:
    """Return a time with a zone where the column has one, and without one elsewhere; UTC if it has none."""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return aware if getattr(cursor.type, "timezone", False) else aware.astimezone(UTC).replace(tzinfo=None)


def _highest(source: SourceTable, cursor: ColumnClause[Any], now: datetime) -> CursorValue | None:
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


def kept(column: str, value: object) -> str:
    """Return a cursor's value as text, with its column's name, since a job may change its cursor column."""
    return json.dumps([column, value.isoformat() if isinstance(value, datetime) else value], default=str)


def _value(text: str | None) -> CursorValue | None:
    if text is None:
        return None
    _, value = json.loads(text)
    return datetime.fromisoformat(value) if isinstance(value, str) else int(value)


def _since(cursor: ColumnClause[Any], text: str, highest: Any, lookback: int) -> CursorValue | None:
    """Return the kept value less the lookback, or None if it is of another column or type.

    Also None for a value above the highest credible one: the rows that it has hidden may be anywhere below it.
    """
    column, value = json.loads(text)
    if column != cursor.name or isinstance(value, str) is isinstance(cursor.type, Integer):
        return None
    seen = _value(text)
    assert seen is not None
    if isinstance(seen, datetime):
        unlike = (seen.tzinfo is None) is not (highest.tzinfo is None)
        return None if unlike or seen > highest else seen - timedelta(seconds=lookback)
    return None if seen > highest else seen - lookback
