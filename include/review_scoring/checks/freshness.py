"""Check of freshness: the age of the newest review when a run began."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from review_scoring.check_settings import Checks
from review_scoring.checks.finding import Finding
from review_scoring.warehouse.history.run_figures import PastRun, RunFigures


def check_newest(settings: Checks, run: RunFigures, past: Sequence[PastRun]) -> Finding:
    """Compare the age of the newest review with the job's limit."""
    del past
    if run.newest_at is None:
        return Finding(
            "The newest review is not known: that takes a cursor_column with times, and a run of all new reviews."
        )
    hours = max((run.started_at - run.newest_at) / timedelta(hours=1), 0.0)
    limit = settings.newest_hours
    return Finding(
        f"The newest review was {hours:,.1f} hours old when the run began; the limit is {limit:,.1f} hours.",
        hours,
        limit,
        is_beyond=hours > limit,
    )
