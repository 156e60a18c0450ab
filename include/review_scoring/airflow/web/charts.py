"""Charts as tables: the page shows the table to those who want it, and its script draws the same cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from review_scoring.checks.control_chart import Band, Point, bands, is_unusual
from review_scoring.warehouse.history.daily_labels import DailyLabels
from review_scoring.warehouse.history.runs import Run

TWO = 2
DAY = "Day (UTC)"


@dataclass(frozen=True)
class Series:
    """One column of a chart.

    :param role: `bar`, `line`, `low` or `high` (of a band), `x` or `label` (of a point)
    :param values: one for each row; None leaves a gap
    :param form: how a value reads: `number`, `percent` or `score`
    """

    name: str
    role: str
    values: Sequence[float | str | None]
    form: str = "number"


@dataclass(frozen=True)
class Chart:
    """A chart with its table.

    :param kind: `shares` (bars that add up to one), `bars`, `control` (a line with its band), `line` or `points`
    :param rows: what each row is of: a day (UTC), a time, or a name
    :param summary: what the chart shows, in a sentence, for those who do not see it
    :param unusual: rows that are outside of their band
    """

    title: str
    kind: str
    row_title: str
    rows: Sequence[date | datetime | str]
    series: Sequence[Series]
    summary: str
    unusual: frozenset[int] = frozenset()
    y_title: str = ""
    x_title: str = ""


@dataclass(frozen=True)
class Shift:
    """A day that does not look like the month before it."""

    what: str
    day: date
    value: float
    band: Band
    form: str


def shares_chart(oldest_first: Sequence[DailyLabels], until: date | None = None) -> Chart:
    """Return each day's shares of the labels.

    :param until: the day to which days without a run are shown as gaps; None for the last one with a run
    """
    gaps = _Gaps(oldest_first, until)
    labels = _labels(oldest_first)
    newest = oldest_first[-1].shares if oldest_first else {}
    told = ", ".join(f"{share:.0%} {label}" for label, share in newest.items())
    unusual = frozenset[int]().union(*(_unusual(_shares(oldest_first, label)) for label in labels))
    return Chart(
        title="Labels per day",
        kind="shares",
        row_title=DAY,
        rows=gaps.dates,
        series=[
            Series(label, "bar", gaps.filled([d.shares.get(label, 0.0) for d in oldest_first]), "percent")
            for label in labels
        ],
        summary=f"Share of each label on {len(oldest_first)} days; the newest: {told}.{gaps.told}",
        unusual=gaps.placed(unusual),
    )


def score_chart(oldest_first: Sequence[DailyLabels], until: date | None = None) -> Chart:
    """Return each day's mean score with the band of the month before it; `until` as of :func:`shares_chart`."""
    gaps = _Gaps(oldest_first, until)
    points = _mean_scores(oldest_first)
    usual, unusual = bands(points), _unusual(points)
    return Chart(
        title="Mean score per day",
        kind="control",
        row_title=DAY,
        rows=gaps.dates,
        series=[
            Series("mean score", "line", gaps.filled([point.value for point in points]), "score"),
            Series("usual from", "low", gaps.filled([band.low if band else None for band in usual]), "score"),
            Series("usual to", "high", gaps.filled([band.high if band else None for band in usual]), "score"),
        ],
        summary=f"Mean score of {len(points)} days; {len(unusual)} outside of what was usual in the 30 days before."
        f"{gaps.told}",
        unusual=gaps.placed(unusual),
    )


def throughput_chart(oldest_first: Sequence[Run]) -> Chart:
    """Return each run's reviews per second of classifying, without what it took to load the model."""
    worked = [run for run in oldest_first if run.reviews_per_second]
    return Chart(
        title="Throughput per run",
        kind="bars",
        row_title="Run",
        rows=[run.started_at for run in worked],
        series=[Series("reviews per second", "bar", [run.reviews_per_second for run in worked])],
        summary=f"Reviews per second that one task classified, of {len(worked)} runs.",
        y_title="reviews/s",
    )


def shifts(oldest_first: Sequence[DailyLabels]) -> list[Shift]:
    """Return what is unusual about the newest day: its mean score, and the share of each label."""
    series = [("The mean score", "score", _mean_scores(oldest_first))]
    labels = _labels(oldest_first)
    telling = labels if len(labels) > TWO else labels[-1:]  # of two shares, one tells the other
    series += [(f"The share of {label}", "percent", _shares(oldest_first, label)) for label in telling]
    found = []
    for what, form, points in series:
        band = bands(points)[-1] if points else None
        if band is not None and is_unusual(points[-1], band):
            found.append(Shift(what, points[-1].at.date(), points[-1].value, band, form))
    return found


class _Gaps:
    """The days from the first to the last one, of which some had no run that scored anything."""

    def __init__(self, oldest_first: Sequence[DailyLabels], until: date | None) -> None:
        there = [day.date for day in oldest_first]
        last = max(there[-1], until or there[-1]) if there else None
        count = (last - there[0]).days + 1 if last is not None else 0
        self.dates = [there[0] + timedelta(days=n) for n in range(count)]
        self._places = [(date - there[0]).days for date in there]
        missing = count - len(there)
        self.told = f" {missing} days are empty: no run scored a new review." if missing else ""

    def filled(self, values: Sequence[float | None]) -> list[float | None]:
        """Return values of the days with a run, and None for the others."""
        found: list[float | None] = [None] * len(self.dates)
        for place, value in zip(self._places, values, strict=True):
            found[place] = value
        return found

    def placed(self, rows: frozenset[int]) -> frozenset[int]:
        """Return where days with a run are among all days."""
        return frozenset(self._places[n] for n in rows)


def _labels(days: Sequence[DailyLabels]) -> list[str]:
    return sorted({label for day in days for label in day.labels})


def _shares(days: Sequence[DailyLabels], label: str) -> list[Point]:
    return [Point(day.at, day.shares.get(label, 0.0), day.labelled) for day in days]


def _mean_scores(days: Sequence[DailyLabels]) -> list[Point]:
    return [Point(day.at, day.mean_score, day.labelled) for day in days]


def _unusual(points: Sequence[Point]) -> frozenset[int]:
    return frozenset(n for n, (p, band) in enumerate(zip(points, bands(points), strict=True)) if is_unusual(p, band))
