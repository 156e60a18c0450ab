"""Check of rejects: the share of the reviews of a run that could not be scored."""

from __future__ import annotations

from collections.abc import Sequence

from review_scoring.check_settings import Checks
from review_scoring.checks.control_chart import FEWEST_REVIEWS
from review_scoring.checks.finding import Finding, percent
from review_scoring.warehouse.history.run_figures import PastRun, RunFigures


def check_rejects(settings: Checks, run: RunFigures, past: Sequence[PastRun]) -> Finding:
    """Compare the share of rejects with the job's limit.

    Rows that no key can hold are counted by every run that reads them: as many as an earlier run has counted are left
    out, so that they are reported once and not every night.
    """
    met_before = max((sum(each.counts.unkeyed.values()) for each in past), default=0)
    rejected = run.counts.rejected - min(sum(run.counts.unkeyed.values()), met_before)
    reviews = run.counts.scored + rejected
    if reviews < FEWEST_REVIEWS:
        return Finding(f"The run had {reviews} new reviews; a share of rejects needs at least {FEWEST_REVIEWS}.")
    share, limit = rejected / reviews, settings.most_rejects
    return Finding(
        f"{rejected:,} of {reviews:,} reviews were rejected ({percent(share)}; the limit is {percent(limit)})"
        f"{_reasons(run)}.",
        share,
        limit,
        is_beyond=share > limit,
    )


def _reasons(run: RunFigures) -> str:
    counts = {**run.reasons, **run.counts.unkeyed}
    most = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:3]
    return "".join(f"{', ' if n else ': '}{count:,} {reason}" for n, (reason, count) in enumerate(most))
