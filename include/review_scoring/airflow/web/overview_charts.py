"""Charts of the overview: labels per day, control chart of the mean score, throughput per run, and unusual values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from review_scoring.airflow.web.charts import Chart, Form, Series
from review_scoring.checks.control_chart import DEVIATIONS, WINDOW, Band, Point, bands, is_unusual
from review_scoring.warehouse.history.daily_labels import DailyLabels
from review_scoring.warehouse.history.runs import Run

DAY = "Day (UTC)"
CONTROL_LIMITS = f"control limits (±{DEVIATIONS:.0f} \N{GREEK SMALL LETTER SIGMA} of the previous {WINDOW.days} days)"


@dataclass(frozen=True)
class UnusualValue:
    """A value of the newest day that lies outside its control limits."""

    what: str
    day: date
    value: float
    band: Band
    form: Form


def shares_chart(oldest_first: Sequence[DailyLabels], until: date | None = None) -> Chart:
    """Return the share of each label per day.

    :param until: the last day of the chart; days without a run are gaps. None ends it with the last day that has a run
    """
    calendar = _Calendar(oldest_first, until)
    labels = _labels(oldest_first)
    newest = oldest_first[-1].shares if oldest_first else {}
    shares = ", ".join(f"{share:.0%} {label}" for label, share in newest.items())
    unusual = frozenset[int]().union(*(_unusual(_shares(oldest_first, label)) for label in labels))
    return Chart(
        title="Labels per day",
        kind="shares",
        row_title=DAY,
        rows=calendar.dates,
        series=[
            Series(label, "bar", calendar.spread([d.shares.get(label, 0.0) for d in oldest_first]), "percent")
            for label in labels
        ],
        summary=f"Share of each label on {len(oldest_first)} days; on the newest day: {shares}.{calendar.gaps}",
        unusual=calendar.rows_of(unusual),
    )


def score_chart(oldest_first: Sequence[DailyLabels], until: date | None = None) -> Chart:
    """Return the control chart of the mean score per day.

    :param until: the last day of the chart, as for :func:`shares_chart`
    """
    calendar = _Calendar(oldest_first, until)
    points = _mean_scores(oldest_first)
    limits, unusual = bands(points), _unusual(points)
    low = calendar.spread([band.low if band else None for band in limits])
    high = calendar.spread([band.high if band else None for band in limits])
    return Chart(
        title="Mean score per day",
        kind="control",
        row_title=DAY,
        rows=calendar.dates,
        series=[
            Series("mean score", "line", calendar.spread([point.value for point in points]), "score"),
            Series("lower limit", "low", low, "score", legend=""),
            Series("upper limit", "high", high, "score", legend=CONTROL_LIMITS),
        ],
        summary=f"Mean score of {len(points)} days; {len(unusual)} outside of their limits.{calendar.gaps}",
        unusual=calendar.rows_of(unusual),
    )


def throughput_chart(oldest_first: Sequence[Run]) -> Chart:
    """Return the reviews per second that each run classified, not counting the time to load the model."""
    measured = [run for run in oldest_first if run.reviews_per_second]
    return Chart(
        title="Throughput per run",
        kind="bars",
        row_title="Run",
        rows=[run.started_at for run in measured],
        series=[Series("reviews per second", "bar", [run.reviews_per_second for run in measured])],
        summary=f"Reviews per second and task of {len(measured)} runs.",
        y_title="reviews/s",
    )


def unusual_values(oldest_first: Sequence[DailyLabels]) -> list[UnusualValue]:
    """Return which values of the newest day are unusual: its mean score, or the share of a label."""
    series: list[tuple[str, Form, list[Point]]] = [("The mean score", "score", _mean_scores(oldest_first))]
    labels = _labels(oldest_first)
    charted = labels if len(labels) > 2 else labels[-1:]  # of two shares, one determines the other
    series += [(f"The share of {label}", "percent", _shares(oldest_first, label)) for label in charted]
    found = []
    for what, form, points in series:
        band = bands(points)[-1] if points else None
        if band is not None and is_unusual(points[-1], band):
            found.append(UnusualValue(what, points[-1].at.date(), points[-1].value, band, form))
    return found


class _Calendar:
    """All days from the first day with a run to the last day of a chart; days without a run are gaps."""

    def __init__(self, oldest_first: Sequence[DailyLabels], until: date | None) -> None:
        with_run = [day.date for day in oldest_first]
        last = max(with_run[-1], until or with_run[-1]) if with_run else None
        count = (last - with_run[0]).days + 1 if last is not None else 0
        self.dates = [with_run[0] + timedelta(days=n) for n in range(count)]
        self._rows = [(date - with_run[0]).days for date in with_run]
        missing = count - len(with_run)
        self.gaps = f" {missing} days are empty: no run scored a new review." if missing else ""

    def spread(self, values: Sequence[float | None]) -> list[float | None]:
        """Return the values of the days with a run, with None for the days without one."""
        found: list[float | None] = [None] * len(self.dates)
        for row, value in zip(self._rows, values, strict=True):
            found[row] = value
        return found

    def rows_of(self, days: frozenset[int]) -> frozenset[int]:
        """Return the rows of the chart that days with a run have."""
        return frozenset(self._rows[n] for n in days)


def _labels(days: Sequence[DailyLabels]) -> list[str]:
    return sorted({label for day in days for label in day.labels})


def _shares(days: Sequence[DailyLabels], label: str) -> list[Point]:
    return [Point(day.at, day.shares.get(label, 0.0), day.labelled) for day in days]


def _mean_scores(days: Sequence[DailyLabels]) -> list[Point]:
    return [Point(day.at, day.mean_score, day.labelled) for day in days]


def _unusual(points: Sequence[Point]) -> frozenset[int]:
    return frozenset(n for n, (p, band) in enumerate(zip(points, bands(points), strict=True)) if is_unusual(p, band))
