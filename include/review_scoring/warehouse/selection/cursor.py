"""A cursor column as an accelerator: look at what is recent, and at everything from time to time.

An increasing id or a created-at narrows a nightly pass to the rows at or above the highest value that an earlier pass
has seen, less a lookback for rows that were committed late. It is never trusted: what it hides, the next full pass
finds. One wrong value must not hide the others: times count up to the database's clock, and integers up to a jump.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import ColumnClause, ColumnElement
from sqlalchemy.types import Integer

from review_scoring.job import ScoringJob
from review_scoring.warehouse.source.review_source import ReviewSource

log = logging.getLogger(__name__)

AHEAD = timedelta(hours=14)
"""How far a time without a zone may be ahead of UTC: that of Kiritimati."""

JUMP_ROWS = 1000
"""A jump that more rows than these are above is no single wrong value: it is followed."""

SMALLEST_JUMP = 1000

FEWEST = 3
"""More values than these show which one jumps. Where there are fewer, all rows are looked at."""


class Kept(NamedTuple):
    """What is kept of a job's cursor: its highest value seen, when a full pass last began; and the time now."""

    seen: str | None
    full_pass_at: datetime | None
    now: datetime


@dataclass(frozen=True)
class Pass:
    """One pass over a source. Plain values, since the tasks of a run that is cut into shards share one.

    :param since: only rows whose cursor is at or above this value, kept as text, or NULL; None for all rows
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
        return source.from_cursor(_value(self.since))

    def as_text(self) -> str:
        """Return the pass as text, for another try of the run that makes it."""
        return json.dumps(asdict(self))

    @classmethod
    def from_text(cls, kept: str) -> Pass:
        """Read what :meth:`as_text` made."""
        return cls(**json.loads(kept))


def next_pass(job: ScoringJob, source: ReviewSource, look_up: Callable[[], Kept]) -> Pass:
    """Say which rows the next run looks at: the recent ones, or all if that was too long ago or never done.

    :param look_up: called for a source with a cursor
    """
    if source.cursor is None:
        return Pass()
    kept, full_pass_at, now = look_up()
    value = _highest(source, now)
    highest = None if value is None else _kept(source.cursor.name, value)
    since = None if kept is None or value is None else _since(source.cursor, kept, value, job.cursor_lookback)
    if since is None or full_pass_at is None or now - full_pass_at >= timedelta(days=job.full_pass_days):
        return Pass(highest=highest)
    return Pass(_kept(source.cursor.name, since), highest)


def _highest(source: ReviewSource, now: datetime) -> Any:
    """Return the highest value of the cursor that is to be believed; None if there is none."""
    assert source.cursor is not None
    if isinstance(source.cursor.type, Integer):
        return _before_a_jump(source.name, source.cursor.name, source.top_cursors(JUMP_ROWS), source.lowest_cursor())
    zoned = getattr(source.cursor.type, "timezone", False)
    return source.highest_cursor(now if zoned else now.replace(tzinfo=None) + AHEAD)


def _before_a_jump(table: str, column: str, top: Sequence[int], lowest: int | None) -> int | None:
    """Return the highest integer that no gap wider than everything below it stands under.

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
                "jump, and these rows are looked at each time; correct them, or wait until there are %d",
                column, table, highest, value, len(rising) - place, JUMP_ROWS,
            )  # fmt: skip
            break
        highest = value
    return highest


def _kept(column: str, value: object) -> str:
    """Return a cursor's value as it is kept: with its column's name, since a job may come to use another."""
    return json.dumps([column, value.isoformat() if isinstance(value, datetime) else value], default=str)


def _value(kept: str) -> int | datetime:
    _, value = json.loads(kept)
    return datetime.fromisoformat(value) if isinstance(value, str) else int(value)


def _since(cursor: ColumnClause[Any], kept: str, highest: Any, lookback: int) -> int | datetime | None:
    """Return the kept value less the lookback, or None if it is another column's or of another type.

    None as well for a value above the highest one that is believed: what it has hidden is anywhere below it.
    """
    column, value = json.loads(kept)
    if column != cursor.name or isinstance(value, str) is isinstance(cursor.type, Integer):
        return None
    seen = _value(kept)
    if isinstance(seen, datetime):
        unlike = (seen.tzinfo is None) is not (highest.tzinfo is None)
        return None if unlike or seen > highest else seen - timedelta(seconds=lookback)
    return None if seen > highest else seen - lookback
