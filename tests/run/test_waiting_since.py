"""A run says since when the oldest review waits that it leaves, by the times of the job's cursor column."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from review_scoring.job import Order
from review_scoring.run import loop
from review_scoring.warehouse.engine import make_engine
from review_scoring.warehouse.selection import waiting
from tests.conftest import ENGINES, LONG_FORM
from tests.run.nights import finish, night, plan
from tests.stubs import Warehouse

FIRST = datetime(2026, 3, 1, tzinfo=UTC)


def day(number: int) -> datetime:
    """Return when a review of :func:`written` was written."""
    return FIRST + timedelta(days=number)


@pytest.fixture(params=["postgresql", "mariadb", "postgresql to sqlite", pytest.param("duckdb", marks=LONG_FORM)])
def written(request: pytest.FixtureRequest, tmp_path: Path) -> Warehouse:
    """Thirty reviews, one a day, of which the one of each even day has the higher id.

    They are not in SQLite, which keeps times as text and takes none as a cursor.
    """
    kind, _, target = request.param.partition(" to ")
    scores = make_engine(f"sqlite:///{tmp_path / 'scores.db'}") if target else None
    warehouse = Warehouse(request.getfixturevalue(ENGINES[kind]), scores)
    column_type = "DATETIME" if warehouse.engine.dialect.name == "mysql" else "TIMESTAMP"
    warehouse.job = warehouse.job.replace(cursor_column="written", cursor_lookback=0)
    warehouse.create(extra=f", written {column_type}")
    warehouse.fill(30)
    for number in range(30):
        moment = f"{day(number):%Y-%m-%d %H:%M:%S}"
        warehouse.run(
            f"UPDATE reviews SET written = '{moment}' WHERE id = :id", id=1 + (number // 2 + 15 * (number % 2 == 0))
        )
    return warehouse


@pytest.mark.parametrize(("order", "nights"), [(Order.NEWEST, [0, 0, None]), (Order.OLDEST, [10, 20, None])])
def test_the_oldest_review_beyond_the_budget_waits_since_it_was_written(
    written: Warehouse, order: Order, nights: list[int | None]
) -> None:
    for number, oldest in enumerate(nights):
        report = night(written, str(number), limit=10, order=order)
        assert report.counts.scored == 10
        assert report.waiting_since == (None if oldest is None else day(oldest))
    assert "waiting_since" not in report.as_xcom()


def test_an_age_that_takes_too_long_to_find_is_unknown(written: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "COUNT_S", -1.0)
    report = night(written, "1", limit=10, order=Order.NEWEST)
    assert report.waiting
    assert report.waiting_since is None


def test_a_new_review_beyond_the_budget_is_older_than_none_of_the_backlog(written: Warehouse) -> None:
    night(written, "1", limit=10, order=Order.NEWEST)
    written.run(f"INSERT INTO reviews VALUES (99, 'encore', '{day(40):%Y-%m-%d %H:%M:%S}')")
    written.run("DELETE FROM reviews WHERE written < '2026-03-04'")
    report = night(written, "2", limit=5, order=Order.NEWEST)
    assert (report.waiting.reviews, report.waiting_since) == (30 - 10 - 3 + 1 - 5, day(3))
    assert report.as_xcom()["waiting_since"] == "2026-03-04T00:00:00+00:00"


def end_after_ten_reviews(written: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the minutes of runs end after ten reviews."""
    done = 0

    class Clock:
        """A clock for the loop."""

        @staticmethod
        def now(zone: object) -> datetime:
            del zone
            return (datetime.max if done >= 10 else datetime.min).replace(tzinfo=UTC)

    def count(texts: object) -> None:
        nonlocal done
        del texts
        done += 5

    monkeypatch.setattr(loop, "datetime", Clock)
    written.classifier.before_batch = count


@pytest.mark.parametrize(("order", "oldest"), [(Order.NEWEST, 0), (Order.OLDEST, 9)])
def test_what_a_run_leaves_that_its_minutes_end_waits_too(
    written: Warehouse, order: Order, oldest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    end_after_ten_reviews(written, monkeypatch)
    (shard,) = plan(written, minutes=10, order=order)
    written.score("night", shard=shard, map_index=0, chunk_rows=5)
    report = finish(written, [shard])
    assert (report.counts.scored, report.waiting.reviews) == (10, 20)
    # The run has read up to day 9; another review of that day could come later.
    assert report.waiting_since == day(oldest)


@pytest.mark.parametrize("column", ["id", None])
def test_it_is_unknown_without_times(written: Warehouse, column: str | None) -> None:
    written.job = written.job.replace(cursor_column=column)
    report = night(written, limit=10, order=Order.NEWEST)
    assert (report.waiting.reviews, report.waiting_since) == (20, None)


def test_reviews_without_a_time_have_no_age(written: Warehouse) -> None:
    written.run("UPDATE reviews SET written = NULL WHERE written < '2026-03-21'")
    report = night(written, limit=10, order=Order.NEWEST)
    assert (report.waiting.reviews, report.waiting_since) == (20, None)


@pytest.mark.parametrize("order", list(Order))
def test_changed_reviews_that_wait_have_no_age(
    written: Warehouse, order: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    written.run(
        f"ALTER TABLE reviews ADD edited {'DATETIME' if written.engine.dialect.name == 'mysql' else 'TIMESTAMP'}"
    )
    written.run("UPDATE reviews SET edited = '2026-03-01 00:00:00'")
    written.job = written.job.replace(updated_at_column="edited")
    assert night(written, "before", order=order).counts.scored == 30
    written.run("UPDATE reviews SET body = 'changed', edited = '2026-04-01 00:00:00' WHERE id <= 12")
    end_after_ten_reviews(written, monkeypatch)
    (shard,) = plan(written, minutes=10, order=order)
    written.score("night", shard=shard, map_index=0, chunk_rows=5)
    report = finish(written, [shard])
    assert (report.waiting.reviews > 0, report.waiting_since) == (True, None)
