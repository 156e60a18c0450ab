"""Values of a column by which a source is ordered: the highest credible one, and how they are kept as text.

One wrong value must not hide later rows: times count up to the database's clock, and integers up to a jump.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnClause, func, select
from sqlalchemy.types import Integer

from review_scoring.errors import ConfigurationError
from review_scoring.warehouse.source.rows import parse_id
from review_scoring.warehouse.source.stretches import CursorValue, Position, Stretch
from review_scoring.warehouse.source.table import SourceTable

log = logging.getLogger(__name__)

AHEAD = timedelta(hours=14)
"""How far a time without a zone may be ahead of UTC: that of Kiritimati."""

EARLIEST = datetime(1000, 1, 1)
"""Earlier times, such as `-infinity`, cannot be fetched by drivers, or are sent without the zeros of their year."""

JUMP_ROWS = 1000
"""A jump with at least this many rows above it is not a few wrong values: the cursor follows it."""

SMALLEST_JUMP = 1000

FEWEST = 3
"""With no more values than these, a jump cannot be detected, and all rows are read."""


def start_of(source: SourceTable, start_after: int | str | None) -> Position | None:
    """Return the position that a job's `start_after` names.

    :raises ConfigurationError: if it is no value of the cursor column, or no id of a job without one
    """
    if start_after is None:
        return None
    column = source.id if source.cursor is None else source.cursor
    try:
        if source.cursor is None:
            number = _as_bigint(str(start_after)) if source.id_type == "integer" else None
            return Position(parse_id(str(start_after), source.id_type) if number is None else number)
        if isinstance(source.cursor.type, Integer):
            return Position(None, _as_bigint(str(start_after)))
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


def _as_bigint(text: str) -> int:
    """Return a number that a database can hold.

    :raises ValueError: for anything else
    """
    if not re.fullmatch(r"[+-]?\d{1,18}", text.strip()):
        raise ValueError(text)
    return int(text)


def _in_zone(moment: datetime, cursor: ColumnClause[Any]) -> datetime:
    """Return a time with a zone where the column has one, and without one elsewhere; UTC if it has none."""
    aware = as_utc(moment)
    return aware if getattr(cursor.type, "timezone", False) else aware.astimezone(UTC).replace(tzinfo=None)


def as_utc(moment: datetime) -> datetime:
    """Return a time with its zone: UTC if it has none."""
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def highest_value(source: SourceTable, cursor: ColumnClause[Any], now: datetime) -> CursorValue | None:
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


def value_of(text: str | None) -> CursorValue | None:
    """Return the value of a text that :func:`kept` returned; None for None."""
    if text is None:
        return None
    _, value = json.loads(text)
    return datetime.fromisoformat(value) if isinstance(value, str) else int(value)


def precedes(one: Any, other: Any) -> bool:
    """Return whether a value of a column is below another one of the same column, and so of the same type."""
    return bool(one < other)


def less_lookback(cursor: ColumnClause[Any], text: str, highest: Any, lookback: int) -> CursorValue | None:
    """Return the kept value less the lookback, or None if it is of another column or type.

    Also None for a value above the highest credible one: the rows that it has hidden may be anywhere below it.
    """
    column, value = json.loads(text)
    if column != cursor.name or isinstance(value, str) is isinstance(cursor.type, Integer):
        return None
    seen = value_of(text)
    assert seen is not None
    if isinstance(seen, datetime):
        unlike = (seen.tzinfo is None) is not (highest.tzinfo is None)
        return None if unlike or seen > highest else seen - timedelta(seconds=lookback)
    return None if seen > highest else seen - lookback
