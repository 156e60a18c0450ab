"""A run ends within its budget, takes the newest or the oldest reviews first, and the next runs take the rest."""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine

from review_scoring.errors import ConfigurationError, WarehouseUnavailableError
from review_scoring.job import Order, Rescore
from review_scoring.run import preflight
from review_scoring.run.planning import plan_alone
from review_scoring.warehouse.ledger.counts import Tally
from review_scoring.warehouse.selection import waiting as waiting_module
from review_scoring.warehouse.selection.shards import Shard, ShardLimits, split
from review_scoring.warehouse.selection.waiting import Place, Waiting
from review_scoring.warehouse.source import pace
from review_scoring.warehouse.source.stretches import Position, Stretch
from review_scoring.warehouse.source.table import SourceTable
from tests.run.nights import KEY, NEWEST, finish, night, plan
from tests.stubs import Warehouse, asked

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


@pytest.mark.parametrize(("cursor", "start"), [(None, 60), ("seq", "60"), (None, "60")])
def test_what_is_older_than_the_start_is_never_scored_and_counted(
    warehouse: Warehouse, cursor: str | None, start: object
) -> None:
    warehouse.job = warehouse.job.replace(cursor_column=cursor)
    warehouse.create(extra=", seq INTEGER")
    warehouse.fill(100)
    warehouse.run("UPDATE reviews SET seq = id")
    report = night(warehouse, "1", limit=10, start_after=start, **NEWEST)
    assert (report.counts.scored, report.waiting.reviews, report.excluded) == (10, 30, Tally(60))
    assert report.line.endswith("waiting=30 excluded=60")
    report = night(warehouse, "2", limit=100, start_after=start, **NEWEST)
    assert (report.counts.scored, report.waiting.reviews) == (30, 0)
    assert min(map(int, warehouse.scores())) == 61


def test_a_time_can_be_the_start(postgres_engine: Engine) -> None:
    warehouse = Warehouse(postgres_engine)
    warehouse.job = warehouse.job.replace(cursor_column="written", start_after="2026-03-01")
    warehouse.create(extra=", written timestamptz")
    warehouse.run("INSERT INTO reviews SELECT n, 'x', date '2026-01-01' + n FROM generate_series(1, 100) n")
    assert night(warehouse, start_after="2026-03-01", **NEWEST).counts.scored == 100 - 59


@pytest.mark.parametrize(
    ("cursor", "start", "message"),
    [
        (None, "2026-01-31", "no value of column 'id' of reviews; give an id"),
        ("seq", "2026-01-31", "no value of column 'seq' of reviews; give a value of the cursor column"),
    ],
)
def test_a_start_that_is_none_is_refused_before_anything_is_planned(
    warehouse: Warehouse, cursor: str | None, start: str, message: str
) -> None:
    warehouse.job = warehouse.job.replace(cursor_column=cursor, start_after=start)
    warehouse.create(extra=", seq INTEGER")
    with pytest.raises(ConfigurationError, match=f"start_after is '2026-01-31', which is {message}"):
        warehouse.prepare()


def test_a_run_of_a_job_with_ids_that_repeat_keeps_them_together(warehouse: Warehouse) -> None:
    warehouse.job = warehouse.job.replace(cursor_column="seq", cursor_lookback=0)
    warehouse.create("INTEGER", extra=", seq INTEGER")
    warehouse.fill(40)
    warehouse.insert(*((n, f"encore {n}") for n in range(1, 16)))
    warehouse.run("UPDATE reviews SET seq = id")
    scored = [night(warehouse, f"{number}", limit=12, **NEWEST).counts.scored for number in range(4)]
    assert scored == [12, 12, 12, 4]
    assert len(warehouse.scores()) == 40


def test_an_empty_night_between_two_databases_reads_the_ids_once(
    sqlite_engine: Engine, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from review_scoring.warehouse.engine import make_engine

    warehouse = Warehouse(sqlite_engine, make_engine(f"sqlite:///{tmp_path / 'scores.db'}"))
    warehouse.create()
    warehouse.fill(25_000)
    night(warehouse, "1", **NEWEST)
    read = []
    real: Any = SourceTable.fetch

    def fetch(*arguments: Any, **options: Any) -> Any:
        rows = real(*arguments, **options)
        read.append(len(rows))
        return rows

    monkeypatch.setattr(SourceTable, "fetch", fetch)
    assert night(warehouse, "2", **NEWEST).counts.read == 0
    assert 25_000 <= sum(read) < 25_010


def test_no_statement_compares_more_rows_than_a_window(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "WINDOW_ROWS", 40)
    warehouse.create()
    warehouse.fill(500)
    assert night(warehouse, "1", limit=105, **NEWEST).waiting.reviews == 395
    assert night(warehouse, "2", most=4, **NEWEST).counts.scored == 395
    warehouse.run("DELETE FROM review_scores WHERE review_id IN ('3', '250', '499')")
    (shard,) = plan(warehouse, "3", **NEWEST)
    prepared = warehouse.prepare()
    windows = list(prepared.source.windows(shard.stretches[0]))
    assert len(windows) == 13
    assert sum(prepared.source.count(prepared.source.id > 0, stretch=window) for window in windows) == 500
    warehouse.score("3", shard=shard, map_index=0, chunk_rows=1)
    assert finish(warehouse, [shard], "3").counts.scored == 3


def test_what_waits_beyond_the_budget_is_estimated_where_counting_it_takes_too_long(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting_module, "COUNT_S", -1.0)
    warehouse.create()
    warehouse.fill(3000)
    name = warehouse.engine.dialect.name
    if name == "postgresql":
        warehouse.run("ANALYZE reviews")
    if name == "mysql":
        warehouse.run("ANALYZE TABLE reviews")
    report = night(warehouse, limit=100, **NEWEST)
    assert not report.waiting.is_exact
    if name in {"postgresql", "mysql"}:
        assert 2500 < report.waiting.reviews < 3300
        assert report.waiting.reviews % 100 == 0
    assert f"more than {report.waiting.reviews:,} reviews are waiting".lower() in report.paragraph.lower()
    assert night(warehouse, "2", **NEWEST).counts.scored == 2900


def test_two_hundred_million_reviews_are_planned_as_shards_of_two_hundred_thousand_at_most(
    warehouse: Warehouse,
) -> None:
    """The places are those that a walk keeps of as many rows; the database has none of them."""
    if warehouse.engine.dialect.name in {"sqlite", "duckdb"}:
        pytest.skip("one writer at a time gets one shard")
    warehouse.create()
    prepared = warehouse.prepare()
    limits = ShardLimits(most=4)
    most = limits.most_reviews(one_writer=False)
    assert most == 160_000_000
    step = 2**14
    places = tuple(Place(0, Position(n), n) for n in range(step, most, step))
    assert len(places) < waiting_module.MARKS
    stretch = Stretch(newest_first=True)
    candidates = replace(
        Shard(stretches=(stretch,)).candidates(prepared.source, prepared.ledger, asked(KEY)), limit=most
    )
    shards = split(candidates, Waiting(most, places, Place(0, Position(1), most)), limits)
    assert len(shards) == 1000
    assert max(shard.planned or 0 for shard in shards) <= 200_000
    assert sum(shard.limit or 0 for shard in shards) == most


@pytest.mark.parametrize("seed", range(6))
def test_any_budgets_in_any_order_score_each_review_once(warehouse: Warehouse, seed: int) -> None:
    draw = random.Random(seed)  # noqa: S311 reproducible, not secret
    has_cursor = seed % 2 == 0
    warehouse.job = warehouse.job.replace(
        cursor_column="seq" if has_cursor else None, cursor_lookback=5, full_pass_days=draw.choice((0, 7))
    )
    warehouse.create(extra=", seq INTEGER")
    ids = iter(draw.sample(range(10_000), 2000))
    clock, total = 0, 0
    for number in range(12):
        for _ in range(draw.randrange(0, 60)):
            clock += draw.randrange(0, 2)
            late = draw.choice((None, clock, clock, clock - draw.randrange(0, 5)))
            warehouse.run("INSERT INTO reviews VALUES (:id, :body, :seq)", id=next(ids), body=f"avis {total}", seq=late)
            total += 1
        options = {"order": draw.choice(list(Order)), "limit": draw.choice((None, 5, 17, 60))}
        night(warehouse, f"night {number}", most=draw.choice((1, 3)), chunk_rows=7, **options)
    warehouse.run("UPDATE scoring_jobs SET full_pass_at = '2026-01-01 00:00:00.000000'")
    last = night(warehouse, "last", **NEWEST)
    assert (len(warehouse.scores()), last.waiting.reviews) == (total, 0)
    assert len(warehouse.classifier.calls) == total


def test_a_rescore_leaves_new_reviews_to_the_nightly_run(warehouse: Warehouse) -> None:
    warehouse.create()
    warehouse.fill(10)
    night(warehouse, "1")
    warehouse.fill(500, first=100)
    assert night(warehouse, "2", rescore=Rescore.ALL).counts.scored == 10


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


@pytest.fixture
def dated(warehouse: Warehouse) -> Warehouse:
    """A hundred reviews with a cursor."""
    warehouse.job = warehouse.job.replace(cursor_column="seq", cursor_lookback=0)
    warehouse.create(extra=", seq INTEGER")
    warehouse.fill(100)
    warehouse.run("UPDATE reviews SET seq = id")
    return warehouse


def test_an_unusable_id_at_the_end_of_the_budget_stops_no_run(warehouse: Warehouse) -> None:
    warehouse.create("TEXT PRIMARY KEY")
    long = "x" * 300
    warehouse.insert(*((f"{n:03}{long if n in (91, 95) else ''}", f"texte {n}") for n in range(1, 101)))
    scored = [night(warehouse, str(n), limit=10, **NEWEST).counts.scored for n in range(13)]
    assert min(scored[:9]) >= 8, "rows with such ids take a place in each run"
    assert sum(scored) == 98


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


def test_a_task_that_is_mapped_without_a_plan_and_with_a_budget_moves_no_cursor(dated: Warehouse) -> None:
    dated.score("1", map_index=0, limit=10, **NEWEST)
    assert dated.score("2", map_index=0, limit=10, **NEWEST).counts.scored == 10
    assert night(dated, "3", limit=200, **NEWEST).counts.scored == 80


@pytest.mark.parametrize("order", list(Order))
def test_a_start_of_one_run_or_one_that_is_removed_hides_nothing(dated: Warehouse, order: Order) -> None:
    assert night(dated, "1", limit=100, start_after=95, order=order).counts.scored == 5
    assert night(dated, "2", limit=10, order=order).waiting.reviews == 85
    assert night(dated, "by hand", limit=10, start_after=97, order=order).counts.read == 0
    assert [night(dated, f"then {n}", limit=45, order=order).waiting.reviews for n in range(2)] == [40, 0]
    assert len(dated.scores()) == 100


def test_rows_that_come_between_plan_and_scoring_hide_no_planned_row(dated: Warehouse) -> None:
    dated.job = dated.job.replace(cursor_lookback=5)
    shards = plan(dated, "1", most=2, limit=20, **NEWEST)
    dated.run("INSERT INTO reviews VALUES (201, 'l', 99), (202, 'l', 98), (203, 'l', 100)")
    for index, shard in enumerate(shards):
        dated.score("1", shard=shard, map_index=index)
    finish(dated, shards, "1")
    assert night(dated, "2", limit=3, **NEWEST).counts.scored == 3
    assert min(int(id_) for id_ in dated.scores()) >= 81, "the next run takes what was left first"
    assert night(dated, "3", **NEWEST).counts.scored == 80


def test_a_quiet_night_that_begins_after_its_minutes_succeeds(dated: Warehouse) -> None:
    night(dated, "1", **NEWEST)
    (shard,) = plan(dated, "2", minutes=1, **NEWEST)
    late = replace(shard, deadline=datetime(2026, 1, 1, tzinfo=UTC))
    dated.score("2", shard=late, map_index=0)
    assert finish(dated, [late], "2").counts.read == 0


def test_a_run_that_finishes_after_another_leaves_that_ones_backlog(dated: Warehouse) -> None:
    night(dated, "0", **NEWEST)
    (first,) = plan(dated, "a", limit=100, **NEWEST)
    dated.run("INSERT INTO reviews VALUES (201, 'x', 5), (202, 'x', 6), (203, 'x', 7)")
    dated.run("UPDATE scoring_jobs SET full_pass_at = '2026-01-01 00:00:00.000000'")
    assert night(dated, "b", limit=1, **NEWEST).waiting.reviews == 2
    dated.score("a", shard=first, map_index=0)
    finish(dated, [first], "a")
    assert night(dated, "c", limit=10, **NEWEST).counts.scored == 2


def test_a_retry_has_the_minutes_of_the_first_try(dated: Warehouse) -> None:
    request = asked(replace(KEY, map_index=-1), minutes=60, **NEWEST)
    dated.score("night", minutes=60, **NEWEST)
    dated.run("UPDATE scoring_shards SET started_at = '2026-01-01 00:00:00.000000'")
    deadline = plan_alone(dated.prepare(), request).deadline
    assert deadline == datetime(2026, 1, 1, 1, tzinfo=UTC)


def test_a_start_that_is_none_lets_no_rescore_wait(dated: Warehouse) -> None:
    with pytest.raises(ConfigurationError, match="start_after is 'abc'"):
        plan(dated, "2", start_after="abc")
    with pytest.raises(ConfigurationError, match="start_after"):
        plan(dated, "3", start_after="9" * 30)
    assert dated.run("SELECT requested_by FROM scoring_jobs")[0].requested_by is None


def test_a_rescore_counts_what_it_leaves_and_nothing_as_excluded(
    dated: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    night(dated, "1", **NEWEST)
    monkeypatch.setattr(waiting_module, "COUNT_S", -1.0)
    report = night(dated, "2", rescore=Rescore.ALL, limit=10, start_after=30)
    assert (report.waiting.reviews, report.excluded) == (90, None)


def test_an_index_or_a_cursor_that_is_missing_is_advised(
    postgres_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preflight, "MANY_ROWS", 500)
    warehouse = Warehouse(postgres_engine)
    warehouse.create(extra=", seq INTEGER, changed timestamptz")
    warehouse.fill(1000)
    warehouse.run("ANALYZE reviews")
    (without,) = preflight.advice(warehouse.prepare())
    assert without.startswith("reviews has about 1,000 rows, and every run compares all their ids")
    warehouse.job = warehouse.job.replace(cursor_column="seq", updated_at_column="changed")
    cursor, changed = preflight.advice(warehouse.prepare())
    assert cursor.endswith("create one: CREATE INDEX reviews_seq ON reviews (seq)")
    assert changed.endswith("create one: CREATE INDEX reviews_changed ON reviews (changed)")
    warehouse.run("CREATE INDEX ON reviews (seq, id)")
    warehouse.run("CREATE INDEX ON reviews (changed)")
    assert preflight.advice(warehouse.prepare()) == []


def test_a_slow_source_gets_smaller_windows_and_larger_ones_when_it_is_fast_again() -> None:
    slow = pace.Pace(100)
    assert slow.rows() == 100_000
    for _ in range(10):
        slow.note(30.0)
        rows = slow.rows()
    assert rows == 1_000
    assert [slow.rows() for _ in range(8)][-1] == 100_000
    assert pace.Pace(5).rows() < 100_000


def test_a_statement_on_the_source_ends_at_the_jobs_limit(postgres_engine: Engine) -> None:
    warehouse = Warehouse(postgres_engine)
    warehouse.job = warehouse.job.replace(source_table="slow", source_statement_s=1)
    warehouse.create()
    warehouse.fill(3)
    prepared_view = "CREATE VIEW slow AS SELECT id, body FROM reviews WHERE id < 3 OR pg_sleep(5) IS NOT NULL"
    warehouse.run("CREATE VIEW slow AS SELECT id, body FROM reviews")
    prepared = warehouse.prepare()
    warehouse.run("DROP VIEW slow")
    warehouse.run(prepared_view)
    began = time.monotonic()
    with pytest.raises(WarehouseUnavailableError, match="raise `source_statement_s` of the job"):
        warehouse.score("1", prepared=prepared)
    assert time.monotonic() - began < 4


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
