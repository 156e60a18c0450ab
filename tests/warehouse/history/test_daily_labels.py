"""Daily label counts: each day has the labels of its new reviews, and no others."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import update

from review_scoring.job import Rescore
from review_scoring.request import RunKey
from review_scoring.run.planning import plan_one_shard
from review_scoring.warehouse.engine import writing
from review_scoring.warehouse.history import daily_labels
from review_scoring.warehouse.ledger.counts import add_labels
from tests.stubs import MODEL, Warehouse, asked
from tests.warehouse.history.reading import date_back, read_days, read_runs


def test_labels_and_mean_score_agree_with_the_table(warehouse: Warehouse) -> None:
    warehouse.create()
    warehouse.fill(70)
    warehouse.insert((100, None))
    warehouse.score("1", chunk_rows=16)
    (run,) = read_runs(warehouse)
    rows = list(warehouse.scores().values())
    assert {label: count for label, (count, _) in run.counts.labels.items()} == Counter(row.label for row in rows)
    (day,) = read_days(warehouse)
    assert day.mean_score == pytest.approx(sum(row.score for row in rows) / len(rows))
    assert (day.date, day.labelled, day.shares) == (run.started_at.date(), 70, run.shares)
    assert sum(run.shares.values()) == pytest.approx(1)
    assert (run.state, run.counts.read, run.counts.rejected, run.labelled) == ("success", 71, 1, 70)
    warehouse.score("2", Rescore.ALL)
    assert read_runs(warehouse)[0].counts.labels == run.counts.labels


@pytest.mark.parametrize("rescore", [Rescore.CHANGED, Rescore.REVISION, Rescore.ALL])
def test_a_rescore_is_excluded_from_daily_labels(warehouse: Warehouse, rescore: Rescore) -> None:
    warehouse.create()
    warehouse.fill(20)
    warehouse.score("1")
    date_back(warehouse, "1", timedelta(days=3))
    before = read_days(warehouse)
    warehouse.run("UPDATE reviews SET body = 'autre chose' WHERE id <= 5")
    assert warehouse.score("2", rescore, model=replace(MODEL, revision="1" * 64)).counts.scored >= 5
    assert read_days(warehouse) == before
    assert [run.is_rescore for run in read_runs(warehouse)] == [True, False]
    assert [run.rescore for run in warehouse.runs()] == ["nothing", rescore.value]


def test_a_day_adds_up_all_its_runs(warehouse: Warehouse) -> None:
    warehouse.create()
    for n, back in enumerate((200, 2, 2, 1, 1, 0)):
        warehouse.fill(10 + n, first=100 * n)
        warehouse.score(str(n))
        date_back(warehouse, str(n), timedelta(days=back))
    warehouse.score("nothing new")
    assert [day.labelled for day in read_days(warehouse)] == [11 + 12, 13 + 14, 15]
    assert [day.labelled for day in read_days(warehouse, timedelta(days=1))] == [13 + 14, 15]
    first, second = (run.counts.labels for run in read_runs(warehouse)[4:6])
    assert read_days(warehouse)[0].labels == add_labels(first, second)


def test_a_run_in_progress_is_not_counted_in_its_day(warehouse: Warehouse) -> None:
    warehouse.create()
    warehouse.fill(10)
    warehouse.score("1")
    warehouse.fill(20, first=100)
    for index in range(2):
        warehouse.score("2", map_index=index, chunk_rows=5, limit=10)
    shards = warehouse.tables.shards
    last = warehouse.shards()[-1]
    going = {"state": "running", "ended_at": None, "lease_until": last.lease_until + timedelta(hours=1)}
    with writing(warehouse.engine).begin() as connection:
        connection.execute(update(shards).where(shards.c.id == last.id).values(going))
    assert [day.labelled for day in read_days(warehouse)] == [10]
    with writing(warehouse.engine).begin() as connection:
        connection.execute(update(shards).where(shards.c.id == last.id).values(state="success"))
    assert [day.labelled for day in read_days(warehouse)] == [30]


def test_a_run_between_two_shards_is_not_counted_in_its_day(warehouse: Warehouse) -> None:
    warehouse.create()
    warehouse.fill(10)
    prepared, request = warehouse.prepare(), asked(RunKey("dag", "score", "1"))
    prepared.existing_ledger.shards.plan(request, 2)
    warehouse.score("1", shard=plan_one_shard(prepared, request), map_index=0)
    assert read_days(warehouse) == []
    date_back(warehouse, "1", timedelta(minutes=5))
    assert [day.labelled for day in read_days(warehouse)] == [10], "its other shard has not begun since"


def test_more_tasks_than_the_limit_shorten_the_history_by_whole_days(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(daily_labels, "MOST_TASKS", 3)
    warehouse.create()
    for n, back in enumerate((2, 1, 1, 0)):
        warehouse.fill(10 + n, first=100 * n)
        warehouse.score(str(n))
        date_back(warehouse, str(n), timedelta(days=back))
    assert [day.labelled for day in read_days(warehouse)] == [13]
