"""A run ends within its budget of minutes, and the next runs take the rest."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from review_scoring.job import Order
from review_scoring.run.planning import plan_alone
from tests.run.nights import KEY, NEWEST, finish, night, plan
from tests.stubs import Warehouse, asked


def test_a_budget_of_minutes_ends_the_run_between_two_chunks_as_a_success(warehouse: Warehouse) -> None:
    warehouse.job = warehouse.job.replace(cursor_column="seq", cursor_lookback=0)
    warehouse.create(extra=", seq INTEGER")
    warehouse.fill(200)
    warehouse.run("UPDATE reviews SET seq = id")
    (shard,) = plan(warehouse, "1", minutes=10, **NEWEST)
    assert shard.deadline is not None
    assert timedelta(minutes=9) < shard.deadline - datetime.now(UTC) < timedelta(minutes=10)
    shard = replace(shard, deadline=datetime.now(UTC) + timedelta(seconds=1))
    warehouse.classifier.before_batch = lambda texts: time.sleep(0.2)
    warehouse.score("1", shard=shard, map_index=0, chunk_rows=10)
    report = finish(warehouse, [shard], "1")
    assert 0 < report.counts.scored < 100
    assert report.waiting.reviews == 200 - report.counts.scored
    assert "200" in warehouse.scores()
    assert warehouse.runs()[-1].state == "success"
    warehouse.classifier.before_batch = lambda texts: None
    assert night(warehouse, "2", **NEWEST).counts.scored == 200 - report.counts.scored


def test_shards_that_ran_out_of_time_leave_the_cursor_at_the_first_of_them(warehouse: Warehouse) -> None:
    if warehouse.engine.dialect.name in {"sqlite", "duckdb"}:
        pytest.skip("one writer at a time gets one shard")
    warehouse.job = warehouse.job.replace(cursor_column="seq", cursor_lookback=0)
    warehouse.create(extra=", seq INTEGER")
    warehouse.fill(90)
    warehouse.run("UPDATE reviews SET seq = id")
    shards = plan(warehouse, "1", most=3, minutes=10, **NEWEST)
    shards[1] = replace(shards[1], deadline=datetime(2026, 1, 1, tzinfo=UTC))
    for index, shard in enumerate(shards):
        warehouse.score("1", shard=shard, map_index=index)
    assert finish(warehouse, shards, "1").waiting.reviews == 30
    assert warehouse.run("SELECT cursor_backlog FROM scoring_jobs")[0].cursor_backlog == '["seq", 61]'
    assert night(warehouse, "2", **NEWEST).counts.scored == 30
    assert len(warehouse.scores()) == 90


def test_a_quiet_night_that_begins_after_its_minutes_succeeds(dated: Warehouse) -> None:
    night(dated, "1", **NEWEST)
    (shard,) = plan(dated, "2", minutes=1, **NEWEST)
    late = replace(shard, deadline=datetime(2026, 1, 1, tzinfo=UTC))
    dated.score("2", shard=late, map_index=0)
    assert finish(dated, [late], "2").counts.read == 0


def test_a_retry_has_the_minutes_of_the_first_try(dated: Warehouse) -> None:
    request = asked(replace(KEY, map_index=-1), minutes=60, **NEWEST)
    dated.score("night", minutes=60, **NEWEST)
    dated.run("UPDATE scoring_shards SET started_at = '2026-01-01 00:00:00.000000'")
    deadline = plan_alone(dated.prepare(), request).deadline
    assert deadline == datetime(2026, 1, 1, 1, tzinfo=UTC)


def test_a_run_oldest_first_that_ran_out_of_time_among_recent_rows_keeps_them_beside_an_old_backlog(
    dated: Warehouse,
) -> None:
    if dated.engine.dialect.name in {"sqlite", "duckdb"}:
        pytest.skip("one writer at a time gets one shard")
    night(dated, "1", limit=90, **NEWEST)
    dated.run("INSERT INTO reviews SELECT id + 1000, body, seq + 1000 FROM reviews")
    shards = plan(dated, "2", most=4, minutes=10, order=Order.OLDEST)
    shards[1] = replace(shards[1], deadline=datetime(2026, 1, 1, tzinfo=UTC))
    for index, shard in enumerate(shards):
        dated.score("2", shard=shard, map_index=index)
    left = finish(dated, shards, "2").waiting.reviews
    assert left > 0
    assert night(dated, "3", order=Order.OLDEST).counts.scored == left
    assert len(dated.scores()) == 200
