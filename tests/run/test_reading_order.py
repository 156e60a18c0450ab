"""A run takes the newest or the oldest reviews first, and the next runs take the rest."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from sqlalchemy import Engine

from review_scoring.job import Order
from review_scoring.warehouse.source.stretches import Position
from tests.run.nights import NEWEST, finish, night, plan
from tests.stubs import Warehouse

IDS: dict[str, Callable[[int], Any]] = {
    "INTEGER PRIMARY KEY": lambda n: n,
    "VARCHAR(40) PRIMARY KEY": lambda n: f"film-{n:06}",
    "UUID PRIMARY KEY": lambda n: uuid.UUID(int=n),
}


@pytest.mark.parametrize("declared", IDS)
@pytest.mark.parametrize("has_cursor", [False, True])
def test_the_newest_are_scored_first_and_the_nights_after_take_the_rest(
    warehouse: Warehouse, declared: str, has_cursor: bool
) -> None:
    named = IDS[declared]
    if declared.startswith("UUID") and warehouse.engine.dialect.name == "sqlite":
        declared = declared.replace("UUID", "TEXT")
    warehouse.create(declared, extra=", seq INTEGER")
    warehouse.insert(*((named(n), f"ancienne critique {n}") for n in range(1000, 1500)))
    warehouse.insert(*((named(n), f"nouvelle critique {n}") for n in range(2000, 2010)))
    if has_cursor:
        warehouse.job = warehouse.job.replace(cursor_column="seq")
        warehouse.run("UPDATE reviews SET seq = CASE WHEN body LIKE 'nouvelle%' THEN 1000 ELSE 500 END")
    first = night(warehouse, "1", limit=100, **NEWEST)
    assert (first.counts.scored, first.waiting.reviews, first.waiting.is_exact) == (100, 410, True)
    assert {str(named(n)) for n in range(2000, 2010)} < warehouse.scores().keys()
    assert "waiting=410" in first.line
    assert "410 reviews are waiting, for about 5 more runs of this size." in first.paragraph
    for number, left in enumerate((310, 210, 110, 10, 0)):
        report = night(warehouse, f"then {number}", limit=100, **NEWEST)
        assert report.waiting.reviews == left
    assert len(warehouse.scores()) == 510
    assert night(warehouse, "none", limit=100, **NEWEST).counts.read == 0


def test_the_oldest_can_be_scored_first(warehouse: Warehouse) -> None:
    warehouse.create(extra=", seq INTEGER")
    warehouse.fill(300)
    warehouse.run("UPDATE reviews SET seq = 1000 - id")
    assert night(warehouse, "by id", limit=50, order=Order.OLDEST).counts.scored == 50
    assert warehouse.scores().keys() == {str(n) for n in range(1, 51)}
    warehouse.job = warehouse.job.replace(cursor_column="seq")
    night(warehouse, "by cursor", limit=50, order=Order.OLDEST)
    assert warehouse.scores().keys() == {str(n) for n in (*range(1, 51), *range(251, 301))}


def test_new_reviews_come_before_the_backlog_which_goes_on_where_it_stopped(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse.job = warehouse.job.replace(cursor_column="seq", cursor_lookback=10)
    warehouse.create(extra=", seq INTEGER")
    warehouse.fill(1000)
    warehouse.run("UPDATE reviews SET seq = id")
    night(warehouse, "1", limit=600, **NEWEST)
    warehouse.run("INSERT INTO reviews VALUES (2000, 'toute nouvelle', 1001), (2001, 'en retard', 995)")
    (shard,) = plan(warehouse, "2", limit=100, **NEWEST)
    recent, backlog = shard.stretches
    assert (recent.since, recent.until) == (990, 1001)
    assert (backlog.since, backlog.until, backlog.upto) == (None, 401, Position(303, 303))
    warehouse.score("2", shard=shard, map_index=0)
    assert finish(warehouse, [shard], "2").waiting.reviews == 302
    assert {"2000", "2001", "303"} < warehouse.scores().keys()
    report = night(warehouse, "3", limit=1000, **NEWEST)
    assert (report.counts.read, report.waiting.reviews) == (302, 0)
    (shard,) = plan(warehouse, "4", limit=1000, **NEWEST)
    assert shard.stretches == ()
    assert warehouse.run("SELECT cursor_backlog FROM scoring_jobs")[0].cursor_backlog is None


def test_more_new_reviews_than_the_budget_takes_leave_no_gap(warehouse: Warehouse) -> None:
    warehouse.job = warehouse.job.replace(cursor_column="seq", cursor_lookback=0)
    warehouse.create(extra=", seq INTEGER")
    warehouse.fill(200)
    warehouse.run("UPDATE reviews SET seq = id")
    night(warehouse, "1", limit=100, **NEWEST)
    warehouse.fill(200, first=1001)
    warehouse.run("UPDATE reviews SET seq = id")
    assert night(warehouse, "2", limit=150, **NEWEST).waiting.reviews == 150
    assert night(warehouse, "3", limit=150, **NEWEST).counts.scored == 150
    assert len(warehouse.scores()) == 400


def test_rows_without_a_cursor_and_those_with_a_wrong_one_come_last(warehouse: Warehouse) -> None:
    warehouse.job = warehouse.job.replace(cursor_column="seq", cursor_lookback=0)
    warehouse.create(extra=", seq INTEGER")
    warehouse.fill(50)
    warehouse.run("UPDATE reviews SET seq = id")
    warehouse.run("INSERT INTO reviews VALUES (90, 'sans', NULL), (91, 'loin', 1000000000)")
    night(warehouse, "1", limit=50, **NEWEST)
    assert not {"90", "91"} & warehouse.scores().keys()
    assert night(warehouse, "2", limit=50, **NEWEST).counts.scored == 2


def test_a_changed_order_loses_no_backlog(warehouse: Warehouse) -> None:
    warehouse.job = warehouse.job.replace(cursor_column="seq", cursor_lookback=0)
    warehouse.create(extra=", seq INTEGER")
    warehouse.fill(100)
    warehouse.run("UPDATE reviews SET seq = id")
    night(warehouse, "1", limit=30, **NEWEST)
    assert night(warehouse, "2", limit=30, order=Order.OLDEST).waiting.reviews == 40
    assert night(warehouse, "3", limit=90, **NEWEST).counts.scored == 40


def test_times_are_ordered_too_and_ties_are_cut_by_id(postgres_engine: Engine) -> None:
    warehouse = Warehouse(postgres_engine)
    warehouse.job = warehouse.job.replace(cursor_column="written", cursor_lookback=3600)
    warehouse.create(extra=", written timestamptz")
    warehouse.run(
        "INSERT INTO reviews SELECT n, 'critique ' || n, date_trunc('day', now()) - (n % 5) * interval '1 day'"
        " FROM generate_series(1, 100) n"
    )
    warehouse.run("INSERT INTO reviews VALUES (201, 'jamais', 'infinity'), (202, 'toujours', '-infinity')")
    assert night(warehouse, "1", limit=30, most=3, **NEWEST).waiting.reviews == 72
    newest = {str(n) for n in range(5, 101, 5)}
    assert warehouse.scores().keys() == newest | {str(n) for n in range(51, 101, 5)}
    assert night(warehouse, "2", limit=100, most=3, **NEWEST).counts.scored == 72


def test_a_run_of_a_job_with_ids_that_repeat_keeps_them_together(warehouse: Warehouse) -> None:
    warehouse.job = warehouse.job.replace(cursor_column="seq", cursor_lookback=0)
    warehouse.create("INTEGER", extra=", seq INTEGER")
    warehouse.fill(40)
    warehouse.insert(*((n, f"encore {n}") for n in range(1, 16)))
    warehouse.run("UPDATE reviews SET seq = id")
    scored = [night(warehouse, f"{number}", limit=12, **NEWEST).counts.scored for number in range(4)]
    assert scored == [12, 12, 12, 4]
    assert len(warehouse.scores()) == 40


def test_a_backlog_of_fifty_thousand_is_taken_in_nights_with_the_ten_newest_in_the_first(warehouse: Warehouse) -> None:
    warehouse.create()
    warehouse.insert(*((n, f"ancienne critique {n}") for n in range(1, 50_001)))
    warehouse.insert(*((n, f"nouvelle critique {n}") for n in range(60_001, 60_011)))
    first = night(warehouse, "1", limit=1000, **NEWEST)
    assert first.line == "read=1000 scored=1000 unchanged=0 rejected=0 waiting=49010"
    assert {str(n) for n in range(60_001, 60_011)} < warehouse.scores().keys()
    left = [night(warehouse, f"{n}", limit=20_000, **NEWEST).waiting.reviews for n in range(2, 5)]
    assert left == [29_010, 9_010, 0]
    assert len(warehouse.scores()) == 50_010


@pytest.mark.parametrize(("order", "row", "to"), [(Order.OLDEST, 1, 95), (Order.NEWEST, 70, 101)])
def test_a_row_whose_cursor_changes_while_it_is_on_its_way_is_scored_once(
    dated: Warehouse, order: Order, row: int, to: int
) -> None:
    done: list[int] = []

    def move(texts: Sequence[str]) -> None:
        if not done:
            done.append(1)
            dated.run("UPDATE reviews SET seq = :to WHERE id = :row", to=to, row=row)

    dated.classifier.on_prepare = move
    assert night(dated, "1", chunk_rows=50, order=order).counts.scored == 100
    assert len(dated.classifier.calls) == 100


def test_a_row_that_moves_into_another_shard_of_the_run_is_counted_once(dated: Warehouse) -> None:
    if dated.engine.dialect.name in {"sqlite", "duckdb"}:
        pytest.skip("one writer at a time gets one shard")
    shards = plan(dated, "1", most=2, order=Order.OLDEST)

    def move_and_score_the_other(texts: Sequence[str]) -> None:
        dated.classifier.before_batch = lambda _: None
        dated.run("UPDATE reviews SET seq = 75 WHERE id = 1")
        dated.score("1", shard=shards[1], map_index=1)

    dated.classifier.before_batch = move_and_score_the_other
    dated.score("1", shard=shards[0], map_index=0)
    assert finish(dated, shards, "1").counts.scored == len(dated.scores()) == 100
