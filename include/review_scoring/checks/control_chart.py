"""Control chart (Shewhart): whether a day's value lies within three standard deviations of the month before it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import sqrt
from statistics import fmean

WINDOW = timedelta(days=30)
FEWEST_DAYS = 10
"""Of fewer, the deviation is a guess: with five, one usual day in twenty would be called unusual (Student's t)."""
FEWEST_REVIEWS = 30
"""A day with fewer says little: it neither makes a band nor is held against one."""

DEVIATIONS = 3.0
"""As on a control chart (Shewhart, 1931): two would cry wolf every third week."""


@dataclass(frozen=True)
class Point:
    """One day's value, made of `reviews` reviews, of which there is one at least."""

    at: datetime
    value: float
    reviews: int


@dataclass(frozen=True)
class Band:
    """What was usual: the mean of the days of the month before, three standard deviations either side."""

    low: float
    high: float


def bands(points: Sequence[Point]) -> list[Band | None]:
    """Return the band of each point, from the points of the 30 days before it; None where they are too few.

    :param points: in the order of time
    """
    return [_band([p for p in points[:n] if _counts(p, point.at)], point) for n, point in enumerate(points)]


def is_unusual(point: Point, band: Band | None) -> bool:
    """Say whether a day lies outside its band."""
    return band is not None and point.reviews >= FEWEST_REVIEWS and not band.low <= point.value <= band.high


def _counts(point: Point, before: datetime) -> bool:
    return point.reviews >= FEWEST_REVIEWS and before - WINDOW <= point.at < before


def _band(month: Sequence[Point], point: Point) -> Band | None:
    """Return the band of a point: wider for one of fewer reviews than usual, such as a day that has only begun.

    By the root of the reviews, as the limits of a control chart are where samples differ in size.
    """
    if len(month) < FEWEST_DAYS:
        return None
    middle = fmean(p.value for p in month)  # `statistics.stdev` is exact, in fractions, and takes a tenth of a second
    spread = DEVIATIONS * sqrt(sum((p.value - middle) ** 2 for p in month) / (len(month) - 1))
    spread *= sqrt(max(1.0, fmean(p.reviews for p in month) / point.reviews))
    return Band(max(middle - spread, 0.0), min(middle + spread, 1.0))
