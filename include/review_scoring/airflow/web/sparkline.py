"""Sparklines: the label shares of the last days as a small drawing, without a script."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from review_scoring.warehouse.history.daily_labels import DailyLabels

DAY_WIDTH, HEIGHT = 4, 24

KNOWN = frozenset({"neg", "neu", "pos"})
"""Labels with a colour of their own, as in the charts. Others have one of four by their order."""


@dataclass(frozen=True)
class Bar:
    """A part of a day's column: the share of one label. Positions are in the units of the drawing.

    :param colour: the name of a CSS variable, without its dashes
    """

    colour: str
    x: float
    y: float
    height: float


@dataclass(frozen=True)
class Sparkline:
    """Columns of label shares, one for each day; days without scores are empty.

    :param summary: what it shows, in one sentence, for screen readers
    """

    width: int
    bars: Sequence[Bar]
    summary: str
    height: int = HEIGHT


def sparkline(oldest_first: Sequence[DailyLabels], today: date, days: int) -> Sparkline:
    """Return the label shares of the last days, up to today (UTC)."""
    first = today - timedelta(days=days - 1)
    drawn = [day for day in oldest_first if day.date >= first]
    labels = sorted({label for day in drawn for label in day.labels})
    colours = {label: label if label in KNOWN else f"c{n % 4 + 1}" for n, label in enumerate(labels)}
    bars: list[Bar] = []
    for day in drawn:
        top = float(HEIGHT)
        for label, share in sorted(day.shares.items()):
            height = share * HEIGHT
            top -= height
            bars.append(Bar(colours[label], (day.date - first).days * DAY_WIDTH, round(top, 2), round(height, 2)))
    newest = ", ".join(f"{share:.0%} {label}" for label, share in sorted(drawn[-1].shares.items())) if drawn else ""
    summary = f"Label shares on {len(drawn)} of {days} days; on the newest: {newest}." if drawn else "No labels."
    return Sparkline(days * DAY_WIDTH, bars, summary)
