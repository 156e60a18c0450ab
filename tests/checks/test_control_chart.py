"""Control chart: unusual days are found, and days that differ by chance are not."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest

from review_scoring.checks.control_chart import FEWEST_DAYS, FEWEST_REVIEWS, Band, Point, band_of, bands, is_unusual

BEGAN = datetime(2026, 1, 1, 2, tzinfo=UTC)


def points(*values: float, reviews: int = 100) -> list[Point]:
    return [Point(BEGAN + timedelta(days=n), value, reviews) for n, value in enumerate(values)]


def test_a_band_is_made_of_the_days_before_and_never_of_the_day_itself() -> None:
    found = bands(points(*[0.5, 0.52, 0.48, 0.5, 0.5] * 2, 0.9))
    assert found[:FEWEST_DAYS] == [None] * FEWEST_DAYS
    band = found[-1]
    assert band is not None
    assert 0.4 < band.low < 0.5 < band.high < 0.6
    assert is_unusual(points(0.9)[0], band)
    assert not is_unusual(points(0.51)[0], band)


def test_days_before_the_last_four_weeks_are_forgotten() -> None:
    old = points(*[0.1] * FEWEST_DAYS)
    new = [Point(p.at + timedelta(days=40), 0.8, 100) for p in points(*[0] * (FEWEST_DAYS + 1))]
    assert bands([*old, *new])[-1] == Band(0.8, 0.8)
    month = points(0.1, *[0.8] * 28)
    assert band_of(Point(BEGAN + timedelta(days=28), 0.8, 100), month[:-1]) != Band(0.8, 0.8)
    assert band_of(Point(BEGAN + timedelta(days=29), 0.8, 100), month) == Band(0.8, 0.8)


def test_the_day_of_a_large_backlog_does_not_widen_the_bands_after_it() -> None:
    month = points(*[0.5, 0.52, 0.48, 0.5, 0.5] * 5, reviews=400)
    backlog = Point(BEGAN - timedelta(days=1), 0.5, 1_000_000)
    today = Point(BEGAN + timedelta(days=25), 0.5, 400)
    without, with_it = band_of(today, month), band_of(today, [backlog, *month])
    assert without is not None
    assert with_it is not None
    assert with_it.high - with_it.low < 1.05 * (without.high - without.low)


def test_a_band_has_its_smallest_width() -> None:
    found = band_of(points(0.5)[0], [Point(BEGAN - timedelta(days=n), 0.8, 100) for n in range(1, 20)], least=0.05)
    assert found is not None
    assert (found.low, found.high) == pytest.approx((0.75, 0.85))


def test_the_band_of_a_share_is_not_narrower_than_chance() -> None:
    steady = [Point(BEGAN - timedelta(days=n), 0.5, 100) for n in range(1, 20)]
    found = band_of(points(0.5)[0], steady, is_share=True)
    assert found is not None
    assert (found.low, found.high) == pytest.approx((0.35, 0.65))


def test_a_day_with_few_reviews_neither_makes_a_band_nor_breaks_one() -> None:
    few = Point(BEGAN + timedelta(days=19), 0.0, FEWEST_REVIEWS - 1)
    assert not is_unusual(few, Band(0.4, 0.6))
    assert bands([*points(*[0.5] * (FEWEST_DAYS + 1), reviews=FEWEST_REVIEWS - 1), few])[-1] is None


def test_a_day_in_progress_gets_a_wider_band() -> None:
    month = points(*[0.5, 0.52, 0.48, 0.5, 0.5] * 2, reviews=400)
    at = BEGAN + timedelta(days=20)
    whole, begun = (bands([*month, Point(at, 0.55, reviews)])[-1] for reviews in (400, 100))
    assert whole is not None
    assert begun is not None
    assert begun.high - begun.low == pytest.approx(2 * (whole.high - whole.low))
    assert is_unusual(Point(at, 0.55, 400), whole)
    assert not is_unusual(Point(at, 0.55, 100), begun)


def test_days_that_differ_by_chance_are_rarely_unusual() -> None:
    draw = random.Random(7)  # noqa: S311 reproducible, not secret
    months = [points(*(draw.gauss(0.5, 0.05) for _ in range(31))) for _ in range(200)]
    alarms = sum(is_unusual(p, band) for month in months for p, band in zip(month, bands(month), strict=True))
    assert 0 < alarms < 0.02 * 200 * 21
