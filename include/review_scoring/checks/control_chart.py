"""Control chart (Shewhart): whether a day's value lies within three standard deviations of the month before it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import sqrt
from statistics import fmean

WINDOW = timedelta(days=30)
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
    """Control limits: the mean of the 30 days before, plus and minus three standard deviations, within 0 and 1."""

    low: float
    high: float


def bands(points: Sequence[Point]) -> list[Band | None]:
    """Return the band of each point, computed from the points of the 30 days before it; None if they are too few.

    :param points: the oldest first
    """
    return [_band([p for p in points[:n] if _counts(p, point.at)], point) for n, point in enumerate(points)]


def is_unusual(point: Point, band: Band | None) -> bool:
    """Return whether a point lies outside its band. It does not if it has no band, or too few reviews."""
    return band is not None and point.reviews >= FEWEST_REVIEWS and not band.low <= point.value <= band.high


def _counts(point: Point, before: datetime) -> bool:
    return point.reviews >= FEWEST_REVIEWS and before - WINDOW <= point.at < before


def _band(month: Sequence[Point], point: Point) -> Band | None:
    """Return the band of a point. It is wider for a point with fewer reviews, such as a day in progress.

    The width is proportional to 1 / sqrt(reviews), as on control charts with samples of different sizes.
    """
    if len(month) < FEWEST_DAYS:
        return None
    middle = fmean(p.value for p in month)  # `statistics.stdev` computes with fractions, and takes 0.1 s
    spread = DEVIATIONS * sqrt(sum((p.value - middle) ** 2 for p in month) / (len(month) - 1))
    spread *= sqrt(max(1.0, fmean(p.reviews for p in month) / point.reviews))
    return Band(max(middle - spread, 0.0), min(middle + spread, 1.0))
