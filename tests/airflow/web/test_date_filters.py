"""Date filters of the reviews page: days in the viewer's time zone."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import update

from review_scoring.airflow.web.pages import reviews
from review_scoring.warehouse.engine import writing
from tests.stubs import Warehouse

Pages = Callable[..., TestClient]

IDS = re.compile(r'id=(\d+)"><bdi>')


def scored_at(warehouse: Warehouse, *moments: datetime) -> None:
    """Score one review for each moment, and set its time of scoring."""
    warehouse.create()
    warehouse.fill(len(moments))
    warehouse.score()
    scores = warehouse.tables.scores
    with writing(warehouse.engine).begin() as connection:
        for n, moment in enumerate(moments):
            connection.execute(update(scores).where(scores.c.review_id == str(n + 1)).values(scored_at=moment))


HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(
    ("zone", "day", "begins", "hours"),
    [
        ("Asia/Tokyo", "2026-03-01", datetime(2026, 2, 28, 15, tzinfo=UTC), 24),
        ("Europe/Paris", "2026-03-29", datetime(2026, 3, 28, 23, tzinfo=UTC), 23),
        ("Europe/Paris", "2026-10-25", datetime(2026, 10, 24, 22, tzinfo=UTC), 25),
        ("Africa/Cairo", "2026-04-24", datetime(2026, 4, 23, 22, tzinfo=UTC), 23),  # clocks go forward at midnight
        ("", "2026-03-29", datetime(2026, 3, 29, tzinfo=UTC), 24),
        ("Nowhere/Never", "2026-03-29", datetime(2026, 3, 29, tzinfo=UTC), 24),
        ("../../etc/passwd", "2026-03-29", datetime(2026, 3, 29, tzinfo=UTC), 24),
        ("Europe", "2026-03-29", datetime(2026, 3, 29, tzinfo=UTC), 24),
    ],
)
def test_a_day_is_a_day_in_the_viewers_zone(
    pages: Pages, warehouse: Warehouse, zone: str, day: str, begins: datetime, hours: int
) -> None:
    ends = begins + hours * HOUR
    scored_at(warehouse, begins - SECOND, begins, ends - SECOND, ends)
    asked = {"scored_from": day, "scored_to": day, "zone": zone}
    shown = pages().get("/reviews", params=asked).text
    assert sorted(IDS.findall(shown)) == ["2", "3"]
    named = zone if zone in {"Asia/Tokyo", "Europe/Paris", "Africa/Cairo"} else "UTC"
    assert shown.count(f"(<span data-zone>{named}</span>)") == 2
    assert f'name="zone" value="{named}"' in shown


def test_the_zone_of_a_day_is_kept_from_page_to_page(
    pages: Pages, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reviews, "ROWS", 2)
    evening = datetime(2026, 2, 28, 20, tzinfo=UTC)
    scored_at(warehouse, evening, evening, evening)
    client = pages()
    shown = client.get("/reviews?scored_from=2026-03-01&zone=Asia/Tokyo").text
    following = re.search(r'rel="next" href="(reviews\?[^"]+)"', shown)
    assert following is not None
    shown += client.get("/" + html.unescape(following[1])).text
    assert sorted(IDS.findall(shown)) == ["1", "2", "3"]


def test_a_zone_alone_filters_nothing(pages: Pages, warehouse: Warehouse) -> None:
    warehouse.create()
    shown = pages().get("/reviews?zone=Asia/Tokyo").text
    assert "Nothing has been scored yet" in shown
    assert 'name="zone" value=""' in shown
    assert shown.count("(<span data-zone>UTC</span>)") == 2, "until a script knows better"
