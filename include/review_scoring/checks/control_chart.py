"""Control chart (Shewhart): whether a day's value lies within the control limits of the 28 days before it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import sqrt
from statistics import fmean

WINDOW = timedelta(days=28)
"""Whole weeks, so that each weekday counts as often as the others."""

FEWEST_DAYS = 10
"""With fewer, the standard deviation is unreliable: with five, one usual day in 20 would be unusual (Student's t)."""
FEWEST_REVIEWS = 30
"""A day with fewer reviews is too noisy: it has no part in a band, and is not compared with one."""

DEVIATIONS = 3.0
"""Width of the band, as usual for control charts (Shewhart, 1931). Two would give a false alarm every third week."""


@dataclass(frozen=True)
class Point:
    """The value of one day.

    :param reviews: the number of reviews from which it was computed; at least one
    """

    at: datetime
    value: float
    reviews: int


@dataclass(frozen=True)
class Band:
    """Control limits: the mean of the 28 days before, plus and minus some standard deviations, within 0 and 1."""

    low: float
    high: float


def bands(points: Sequence[Point]) -> list[Band | None]:
    """Return the band of each point, computed from the points of the 28 days before it; None if they are too few.

    :param points: the oldest first
    """
    return [band_of(point, points[:n]) for n, point in enumerate(points)]


def band_of(
    point: Point,
    before: Sequence[Point],
    *,
    deviations: float = DEVIATIONS,
    least: float = 0.0,
    is_share: bool = False,
) -> Band | None:
    """Return the band of a point, computed from those of the points before it that lie in the 28 days before it.

    It is wider for a point with fewer reviews, such as a day in progress: its width is proportional to
    1 / sqrt(reviews), as on control charts with samples of different sizes. The usual number of reviews is the harmonic
    mean, since the variance of a day is proportional to 1 / reviews: one day with a large backlog does not change it.

    :param deviations: half the width, in standard deviations
    :param least: the smallest half of the width, for values of which smaller changes do not matter
    :param is_share: whether the value is a share of the reviews, whose deviation is never below that of the binomial
        distribution: a few days that were alike by chance do not make the band too narrow
    """
    month = [each for each in before if _counts(each, point.at)]
    if len(month) < FEWEST_DAYS:
        return None
    middle = fmean(p.value for p in month)  # `statistics.stdev` computes with fractions, and takes 0.1 s
    spread = deviations * sqrt(sum((p.value - middle) ** 2 for p in month) / (len(month) - 1))
    usual = 1 / fmean(1 / p.reviews for p in month)
    spread *= sqrt(max(1.0, usual / point.reviews))
    if is_share:
        spread = max(spread, deviations * sqrt(middle * (1 - middle) / point.reviews))
    spread = max(spread, least)
    return Band(max(middle - spread, 0.0), min(middle + spread, 1.0))


def is_unusual(point: Point, band: Band | None) -> bool:
    """Return whether a point lies outside its band. It does not if it has no band, or too few reviews."""
    return band is not None and point.reviews >= FEWEST_REVIEWS and not band.low <= point.value <= band.high


def _counts(point: Point, before: datetime) -> bool:
    return point.reviews >= FEWEST_REVIEWS and before - WINDOW <= point.at < before
