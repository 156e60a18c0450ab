"""Checks against the control chart: label shares, mean score, uncertain scores and truncated texts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from itertools import groupby
from operator import add

from review_scoring.check_settings import Checks
from review_scoring.checks.control_chart import FEWEST_DAYS, FEWEST_REVIEWS, WINDOW, Band, Point, band_of, is_unusual
from review_scoring.checks.finding import Finding, percent
from review_scoring.warehouse.history.run_figures import PastRun, RunFigures, ScoreFigures
from review_scoring.warehouse.ledger.counts import Counts, labelled, shares_of

LEAST_SHIFT = 0.05
"""A share that differs from its mean by less is no alarm, however steady it was: five points."""

LEAST_SCORE_SHIFT = 0.02
"""The same for the mean score."""


def check_labels(settings: Checks, run: RunFigures, past: Sequence[PastRun]) -> Finding:
    """Compare the share of each label with its control limits, and report the label that is farthest out."""
    days = _days(past)
    today, shares = labelled(run.counts.labels), shares_of(run.counts.labels)
    names = sorted({*run.counts.labels, *(name for _, counts in days for name in counts.labels)})
    found = []
    for name in names:
        before = [Point(at, shares_of(counts.labels).get(name, 0.0), labelled(counts.labels)) for at, counts in days]
        point = Point(_midnight(run.started_at), shares.get(name, 0.0), today)
        found.append(_Comparison(f"{name} has a share of", point, before, settings.deviations))
    return max(found, key=lambda each: each.distance).finding if found else _too_few(0)


def check_mean_score(settings: Checks, run: RunFigures, past: Sequence[PastRun]) -> Finding:
    """Compare the mean score with its control limits."""
    before = [Point(at, _mean_score(counts), labelled(counts.labels)) for at, counts in _days(past)]
    today = labelled(run.counts.labels)
    if not today:
        return _too_few(0)
    point = Point(_midnight(run.started_at), _mean_score(run.counts), today)
    return _Comparison("The mean score is", point, before, settings.deviations, is_share=False).finding


def check_uncertain(settings: Checks, run: RunFigures, past: Sequence[PastRun]) -> Finding:
    """Compare the share of uncertain scores with its control limits."""
    return _check_scores(settings, run, past, "Scores up to 0.6 have a share of", lambda scores: scores.uncertain)


def check_truncated(settings: Checks, run: RunFigures, past: Sequence[PastRun]) -> Finding:
    """Compare the share of truncated texts with its control limits."""
    return _check_scores(settings, run, past, "Truncated texts have a share of", lambda scores: scores.truncated)


def _check_scores(
    settings: Checks,
    run: RunFigures,
    past: Sequence[PastRun],
    subject: str,
    count: Callable[[ScoreFigures], int],
) -> Finding:
    """Compare a share of the scores with those of earlier runs that were checked."""
    if not run.scores.scored:
        return _too_few(0)
    before = []
    for day, runs in _by_day(past):
        figures = [each.scores for each in runs if each.scores is not None and each.scores.scored]
        if figures:
            scored = sum(each.scored for each in figures)
            before.append(Point(day, sum(map(count, figures)) / scored, scored))
    point = Point(_midnight(run.started_at), count(run.scores) / run.scores.scored, run.scores.scored)
    return _Comparison(subject, point, before, settings.deviations).finding


@dataclass(frozen=True)
class _Comparison:
    """A value and the days before it.

    :param subject: the start of the sentence, before the value
    :param is_share: whether the value is a share; otherwise it is a mean score
    """

    subject: str
    point: Point
    before: Sequence[Point]
    deviations: float
    is_share: bool = True

    @property
    def band(self) -> Band | None:
        """The control limits; None with too few reviews or days."""
        if self.point.reviews < FEWEST_REVIEWS:
            return None
        least = LEAST_SHIFT if self.is_share else LEAST_SCORE_SHIFT
        return band_of(self.point, self.before, deviations=self.deviations, least=least, is_share=self.is_share)

    @property
    def distance(self) -> float:
        """How far the value is from the middle of its limits: 1 at a limit, less within them."""
        if (band := self.band) is None:
            return 0.0
        half = (band.high - band.low) / 2
        return abs(self.point.value - band.low - half) / half

    @property
    def finding(self) -> Finding:
        """The value, and whether it is outside its limits."""
        if self.point.reviews < FEWEST_REVIEWS:
            return _too_few(self.point.reviews)
        if (band := self.band) is None:
            return Finding(f"Fewer than {FEWEST_DAYS} of the {WINDOW.days} days before have {FEWEST_REVIEWS} reviews.")
        value, is_beyond = self.point.value, is_unusual(self.point, band)
        shown = percent if self.is_share else "{:.3f}".format
        return Finding(
            f"{self.subject} {shown(value)}, {'outside' if is_beyond else 'within'} the limits "
            f"{shown(band.low)} to {shown(band.high)} of the {WINDOW.days} days before "
            f"(\N{PLUS-MINUS SIGN}{self.deviations:g} standard deviations).",
            value,
            band.low if value - band.low < band.high - value else band.high,
            is_beyond,
        )


def _too_few(reviews: int) -> Finding:
    return Finding(f"The run scored {reviews} reviews; a comparison needs at least {FEWEST_REVIEWS}.")


def _days(past: Sequence[PastRun]) -> list[tuple[datetime, Counts]]:
    """Return the counts of each day (UTC) on which a review was scored, the oldest first."""
    days = [(day, reduce(add, (each.counts for each in runs), Counts())) for day, runs in _by_day(past)]
    return [(day, counts) for day, counts in days if labelled(counts.labels)]


def _by_day(past: Sequence[PastRun]) -> Iterator[tuple[datetime, Iterator[PastRun]]]:
    """Return the runs of each day (UTC), without those that failed a check.

    One such night would widen the limits for four weeks, and a defect that lasts would be taken for usual after two.
    """
    return groupby((each for each in past if not each.has_failed), key=lambda each: _midnight(each.started_at))


def _mean_score(counts: Counts) -> float:
    return sum(scores for _, scores in counts.labels.values()) / labelled(counts.labels)


def _midnight(at: datetime) -> datetime:
    return at.replace(hour=0, minute=0, second=0, microsecond=0)
