"""Chart data: a chart is a table with roles for its columns, which the page shows and its script draws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal

Form = Literal["number", "percent", "score"]
"""How a value is formatted."""


@dataclass(frozen=True)
class Series:
    """One column of a chart.

    :param role: `bar`, `line`, `low` or `high` (limits of a band), `x` (of a point), or `count` (not drawn)
    :param values: one for each row; None leaves a gap
    :param legend: text in the legend: None for the name, empty for none
    """

    name: str
    role: Literal["bar", "line", "low", "high", "x", "count"]
    values: Sequence[float | None]
    form: Form = "number"
    legend: str | None = None


@dataclass(frozen=True)
class Chart:
    """A chart with its table.

    :param kind: `shares` (stacked bars that add up to one), `bars`, `control` (a line with the control limits of each
        point), `line`, `points` or `reliability` (points joined by a line)
    :param rows: what each row stands for: a day (UTC), a time, or a name
    :param summary: what the chart shows, in one sentence, for screen readers
    :param unusual: indexes of the rows to highlight, such as those outside their control limits
    :param diagonal: text in the legend for a diagonal reference line; empty for a chart without one
    """

    title: str
    kind: Literal["shares", "bars", "control", "line", "points", "reliability"]
    row_title: str
    rows: Sequence[date | datetime | str]
    series: Sequence[Series]
    summary: str
    unusual: frozenset[int] = frozenset()
    y_title: str = ""
    x_title: str = ""
    diagonal: str = ""
