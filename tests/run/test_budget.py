"""A run ends within its budget of reviews, leaves out what is older than its start, and counts both."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from sqlalchemy import Engine

from review_scoring.errors import ConfigurationError
from review_scoring.job import Order, Rescore
from review_scoring.warehouse.ledger.counts import Tally
from review_scoring.warehouse.selection import waiting as waiting_module
from review_scoring.warehouse.selection.shards import Shard, ShardLimits, split
from review_scoring.warehouse.selection.waiting import Place, Waiting
from review_scoring.warehouse.source.stretches import Position, Stretch
from tests.conftest import seeds
from tests.run.nights import KEY, NEWEST, finish, night, plan
from tests.stubs import Warehouse, asked


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


@pytest.mark.parametrize("seed", seeds(1, 6))
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


def test_an_unusable_id_at_the_end_of_the_budget_stops_no_run(warehouse: Warehouse) -> None:
    warehouse.create("TEXT PRIMARY KEY")
    long = "x" * 300
    warehouse.insert(*((f"{n:03}{long if n in (91, 95) else ''}", f"texte {n}") for n in range(1, 101)))
    scored = [night(warehouse, str(n), limit=10, **NEWEST).counts.scored for n in range(13)]
    assert min(scored[:9]) >= 8, "rows with such ids take a place in each run"
    assert sum(scored) == 98


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


def test_a_run_that_finishes_after_another_leaves_that_ones_backlog(dated: Warehouse) -> None:
    night(dated, "0", **NEWEST)
    (first,) = plan(dated, "a", limit=100, **NEWEST)
    dated.run("INSERT INTO reviews VALUES (201, 'x', 5), (202, 'x', 6), (203, 'x', 7)")
    dated.run("UPDATE scoring_jobs SET full_pass_at = '2026-01-01 00:00:00.000000'")
    assert night(dated, "b", limit=1, **NEWEST).waiting.reviews == 2
    dated.score("a", shard=first, map_index=0)
    finish(dated, [first], "a")
    assert night(dated, "c", limit=10, **NEWEST).counts.scored == 2


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
