"""Whether a night looks like the month before it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import sqrt
from statistics import fmean

WINDOW = timedelta(days=30)
FEWEST_NIGHTS = 10
"""Of fewer, the deviation is a guess: with five, one usual night in twenty would be called unusual (Student's t)."""
FEWEST_REVIEWS = 30
"""A night with fewer says little: it neither makes a band nor is held against one."""

DEVIATIONS = 3.0
"""As on a control chart (Shewhart, 1931): two would cry wolf every third week."""


@dataclass(frozen=True)
class Point:
    """One night's value, made of `reviews` reviews."""

    at: datetime
    value: float
    reviews: int


@dataclass(frozen=True)
class Band:
    """What was usual: the mean of the nights of the month before, three standard deviations either side."""

    low: float
    high: float


def bands(points: Sequence[Point]) -> list[Band | None]:
    """Return the band of each point, from the points of the 30 days before it; None where they are too few.

    :param points: in the order of time
    """
    return [_band([p.value for p in points[:n] if _counts(p, points[n].at)]) for n in range(len(points))]


def is_unusual(point: Point, band: Band | None) -> bool:
    """Say whether a night lies outside its band."""
    return band is not None and point.reviews >= FEWEST_REVIEWS and not band.low <= point.value <= band.high


def _counts(point: Point, before: datetime) -> bool:
    return point.reviews >= FEWEST_REVIEWS and before - WINDOW <= point.at < before


def _band(values: Sequence[float]) -> Band | None:
    if len(values) < FEWEST_NIGHTS:
        return None
    middle = fmean(values)  # `statistics.stdev` is exact, in fractions, and takes a tenth of a second for a page
    spread = DEVIATIONS * sqrt(sum((value - middle) ** 2 for value in values) / (len(values) - 1))
    return Band(max(middle - spread, 0.0), min(middle + spread, 1.0))
