"""Check of volume: are there as many new reviews as is usual for this weekday and time of day?"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from statistics import median

from review_scoring.check_settings import Checks
from review_scoring.checks.finding import Finding
from review_scoring.warehouse.history.run_figures import PastRun, RunFigures

WEEKS = 8
"""How many weeks are compared."""

FEWEST_WEEKS = 3
"""With fewer, one unusual week would decide."""

FEWEST_USUAL = 100
"""Where fewer reviews are usual, a quiet day is no alarm."""

DAY, LATER = timedelta(days=1), timedelta(hours=1)
"""The day of a run is the 24 hours up to an hour after it began: schedules are not exact to the second."""


def check_volume(settings: Checks, run: RunFigures, past: Sequence[PastRun]) -> Finding:
    """Compare the new reviews within a day with the median of the same day of the weeks before.

    The median ignores single weeks, such as the one in which a backlog was scored. There is no upper limit: reviews may
    become more.
    """
    if run.is_cut:
        return Finding("The run used up its budget, so its volume is not compared.")
    reviews = run.counts.done + (_within_day(past, run.started_at) or 0)
    weeks = [_within_day(past, run.started_at - timedelta(weeks=n)) for n in range(1, WEEKS + 1)]
    known = [each for each in weeks if each is not None]
    if len(known) < FEWEST_WEEKS:
        return Finding(f"Fewer than {FEWEST_WEEKS} of the {WEEKS} weeks before had a run on this weekday.")
    usual = median(known)
    if usual < FEWEST_USUAL:
        return Finding(f"On this weekday, {usual:,.0f} new reviews are usual; a comparison needs {FEWEST_USUAL}.")
    limit = settings.least_volume * usual
    return Finding(
        f"There were {reviews:,} new reviews within a day; on this weekday, {usual:,.0f} are usual, and the limit is "
        f"{limit:,.0f}.",
        reviews,
        limit,
        is_beyond=reviews < limit,
    )


def _within_day(past: Sequence[PastRun], at: datetime) -> int | None:
    """Return the new reviews of the runs within the day of a time; None if there was no run, or one used up its budget.

    While a backlog is worked off, the budget decides how many reviews a day has.
    """
    until = at + LATER
    runs = [each for each in past if until - DAY < each.started_at <= until]
    return sum(each.counts.done for each in runs) if runs and not any(each.is_cut for each in runs) else None
