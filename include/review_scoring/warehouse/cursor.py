"""A cursor column as an accelerator: look at what is recent, and at everything from time to time.

An increasing id or a created-at narrows a nightly pass to the rows above the highest value that an earlier pass has
seen, less a lookback for rows that were committed late. It is never trusted: what it hides, the next full pass finds.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement
from sqlalchemy.types import Integer

from review_scoring.job import ScoringJob
from review_scoring.warehouse.ledger import Ledger
from review_scoring.warehouse.source import ReviewSource


@dataclass(frozen=True)
class Pass:
    """One pass over a source.

    :param condition: which rows are looked at; None for all
    :param highest: the cursor's highest value when the pass began, as text; None for a source without a cursor
    """

    condition: ColumnElement[bool] | None = None
    highest: str | None = None

    @property
    def is_full(self) -> bool:
        """Say whether every row is looked at."""
        return self.condition is None


def next_pass(job: ScoringJob, source: ReviewSource, ledger: Ledger) -> Pass:
    """Say which rows the next run looks at: the recent ones, or all if that was too long ago or never done."""
    if source.cursor is None:
        return Pass()
    value = source.highest_cursor()
    highest = None if value is None else value.isoformat() if isinstance(value, datetime) else str(value)
    seen, full_pass_at, now = ledger.cursor()
    if seen is None or full_pass_at is None or now - full_pass_at >= timedelta(days=job.full_pass_days):
        return Pass(highest=highest)
    since: int | datetime
    if isinstance(source.cursor.type, Integer):
        since = int(seen) - job.cursor_lookback
    else:
        since = datetime.fromisoformat(seen) - timedelta(seconds=job.cursor_lookback)
    return Pass(source.cursor > since, highest)
