"""Cursor column: narrows a scan of the source to recent rows, with a full scan every few days.

An increasing id or a creation time narrows a nightly scan to the rows at or above the highest value that an earlier
scan has seen, less a lookback for rows that were committed late, and to the backlog that earlier budgets have left. In
the same way, `updated_at` narrows the comparison with recorded reviews. Neither is trusted: the next full scan finds
what they hide.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from review_scoring.job import OnChange, Order, ScoringJob
from review_scoring.request import Selection
from review_scoring.warehouse.ledger.cursor_state import CursorState
from review_scoring.warehouse.ledger.ledger import Ledger
from review_scoring.warehouse.selection.cursor_values import highest_value, kept, less_lookback, start_of
from review_scoring.warehouse.selection.scan import FULL_SCAN, ChangeScan, Scan
from review_scoring.warehouse.source.review_source import ReviewSource

MANY_ROWS = 1_000_000
"""Rows from which on a comparison with all of them every night takes too long."""


def next_scan(job: ScoringJob, source: ReviewSource, ledger: Ledger | None, selection: Selection) -> Scan:
    """Return which rows the next run reads: recent ones, the backlog and changed ones, or all, if that is due.

    :param ledger: None for a job that has nothing recorded
    """
    compares = source.updated_at is not None and job.on_change is OnChange.RESCORE
    if source.cursor is None and not compares:
        return FULL_SCAN
    state = CursorState.of_new_job() if ledger is None else ledger.cursor.state()
    scan = Scan(
        floor=_floor(source, selection),
        is_newest_first=selection.order is Order.NEWEST,
        changes=_next_changes(job, source, ledger, state) if compares else None,
        began=(state.seen, state.backlog, state.changes_seen),
    )
    value = None if source.cursor is None else highest_value(source, source.cursor, state.now)
    if source.cursor is None or value is None:
        return scan
    scan = replace(scan, highest=kept(source.cursor.name, value))
    since = None if state.seen is None else less_lookback(source.cursor, state.seen, value, job.cursor_lookback)
    if since is None or _is_due(state.full_pass_at, state.now, job.full_pass_days):
        return scan
    return replace(scan, since=kept(source.cursor.name, since), backlog=state.backlog)


def _floor(source: ReviewSource, selection: Selection) -> str | None:
    start = start_of(source, selection.start_after)
    if source.cursor is None or start is None or start.value is None:
        return None
    return kept(source.cursor.name, start.value)


def _next_changes(
    job: ScoringJob, source: ReviewSource, ledger: Ledger | None, state: CursorState
) -> ChangeScan | None:
    """Return which recorded reviews the next run compares; None for none."""
    is_due = _is_due(state.compared_at, state.now, job.full_pass_days)
    column = source.changed_by
    if column is None:
        rows = source.estimated_rows()
        return ChangeScan(is_full=True) if is_due or rows is None or rows < MANY_ROWS else None
    value = highest_value(source, column, state.now)
    if value is None:
        return ChangeScan(is_full=True)
    highest = kept(column.name, value)
    if state.changes_seen is None and not (ledger and ledger.shards.recorded()):
        return ChangeScan(highest, highest, is_full=True)
    known = state.changes_seen
    since = None if known is None or is_due else less_lookback(column, known, value, job.cursor_lookback)
    if since is None:
        return ChangeScan(highest=highest, is_full=True)
    return ChangeScan(kept(column.name, since), highest)


def _is_due(last: datetime | None, now: datetime, days: int) -> bool:
    return last is None or now - last >= timedelta(days=days)
