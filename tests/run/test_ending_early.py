"""A run that its minutes end keeps how far it came, and the next one goes on there."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from review_scoring.job import Order
from review_scoring.reviews import text_hash
from review_scoring.run import loop
from review_scoring.run.report import RunReport
from review_scoring.warehouse.engine import make_engine
from review_scoring.warehouse.selection.shards import Shard
from tests.conftest import seeds
from tests.run.nights import NEWEST, finish, night, plan
from tests.stubs import Warehouse


@dataclass
class Clock:
    """A clock for the loop, by which the minutes of a run end while the last of some chunks is classified."""

    warehouse: Warehouse
    chunks: int = 0

    def now(self, zone: object) -> datetime:
        """Return a time before or after every deadline."""
        del zone
        return (datetime.min if self.chunks > 0 else datetime.max).replace(tzinfo=UTC)

    def set(self, chunks: int) -> None:
        """Leave time for this many chunks."""
        self.chunks = chunks
        self.warehouse.classifier.before_batch = self._count

    def _count(self, texts: Sequence[str]) -> None:
        del texts
        self.chunks -= 1


@pytest.fixture
def clock(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock(warehouse)
    monkeypatch.setattr(loop, "datetime", found)
    return found


def score(clock: Clock, shards: Sequence[Shard], run_id: str, chunks: Sequence[int], rows: int = 10) -> RunReport:
    """Score the shards of a run, each for so many chunks, and finish it."""
    for index, (shard, number) in enumerate(zip(shards, chunks, strict=True)):
        clock.set(number)
        clock.warehouse.score(run_id, shard=shard, map_index=index, chunk_rows=rows)
    return finish(clock.warehouse, shards, run_id)


def backlog(warehouse: Warehouse) -> tuple[str | None, str | None]:
    row = warehouse.run("SELECT cursor_seen, cursor_backlog FROM scoring_jobs")[0]
    return row.cursor_seen, row.cursor_backlog


@pytest.mark.parametrize("order", list(Order))
def test_nights_that_all_end_by_their_minutes_do_not_pass_over_what_earlier_ones_have_scored(
    dated: Warehouse, clock: Clock, order: Order
) -> None:
    dated.insert(*((n, f"critique {n}") for n in range(101, 201)))
    dated.run("UPDATE reviews SET seq = id")
    passed = []
    for number in range(6):
        dated.run(f"INSERT INTO reviews VALUES ({1000 + number}, 'nouvelle', {1000 + number})")
        (shard,) = plan(dated, str(number), minutes=10, order=order)
        source = dated.prepare().source
        rows = sum(source.count(source.id.is_not(None), stretch=each) for each in shard.stretches)
        passed.append(rows - (shard.planned or 0))
        assert score(clock, [shard], str(number), [3]).counts.scored > 20
    assert max(passed) <= 2, f"no more than the rows at the two values of the cursor: {passed}"
    clock.set(1000)
    night(dated, "last", order=order)
    assert len(dated.scores()) == 206


def test_a_killed_task_whose_retry_has_no_time_left_keeps_how_far_it_came(dated: Warehouse, clock: Clock) -> None:
    (shard,) = plan(dated, "1", minutes=10, **NEWEST)
    _kill_in_its_fourth_chunk(dated, shard, clock)
    clock.set(0)
    dated.score("1", shard=shard, map_index=0)
    assert finish(dated, [shard], "1").counts.scored == 30
    assert backlog(dated) == ('["seq", 100]', '["seq", 71]')
    assert night(dated, "2", **NEWEST).counts.scored == 70


def test_a_run_that_is_planned_again_forgets_how_far_its_earlier_plan_came(dated: Warehouse, clock: Clock) -> None:
    (shard,) = plan(dated, "1", minutes=10, **NEWEST)
    _kill_in_its_fourth_chunk(dated, shard, clock)
    shards = plan(dated, "1", minutes=10, order=Order.OLDEST)
    score(clock, shards, "1", [0])
    assert backlog(dated) == (None, None)
    assert night(dated, "2", **NEWEST).counts.scored == 70


def _kill_in_its_fourth_chunk(warehouse: Warehouse, shard: Shard, clock: Clock) -> None:
    clock.set(4)

    def kill(texts: Sequence[str]) -> None:
        clock.chunks -= 1
        if clock.chunks == 0:
            raise KeyboardInterrupt

    warehouse.classifier.before_batch = kill
    with pytest.raises(KeyboardInterrupt):
        warehouse.score("1", shard=shard, map_index=0, chunk_rows=10)


def test_of_several_shards_the_first_that_ended_early_says_how_far_the_run_came(dated: Warehouse, clock: Clock) -> None:
    if dated.engine.dialect.name in {"sqlite", "duckdb"}:
        pytest.skip("one writer at a time gets one shard")
    shards = plan(dated, "1", most=4, minutes=10, **NEWEST)
    assert score(clock, shards, "1", [9, 1, 2, 9]).counts.scored == 25 + 10 + 20 + 25
    assert backlog(dated) == ('["seq", 100]', '["seq", 66]')
    assert night(dated, "2", **NEWEST).counts.scored == 20


def test_a_chunk_that_the_limit_has_cut_does_not_count_as_read(dated: Warehouse, clock: Clock) -> None:
    (shard,) = plan(dated, "1", limit=20, **NEWEST)
    dated.run("INSERT INTO reviews SELECT id + 200, body, 100 FROM reviews WHERE id <= 5")
    assert score(clock, [shard], "1", [9], rows=15).counts.scored == 20
    assert backlog(dated) == ('["seq", 100]', '["seq", 91]')
    assert night(dated, "2", **NEWEST).counts.scored == 85


def test_a_cursor_that_is_no_whole_number_does_not_say_how_far_a_run_came(dated: Warehouse, clock: Clock) -> None:
    if dated.engine.dialect.name != "sqlite":
        pytest.skip("a column of integers has nothing else")
    dated.run("UPDATE reviews SET seq = 50.5 WHERE id <= 90")
    (shard,) = plan(dated, "1", minutes=10, **NEWEST)
    assert score(clock, [shard], "1", [3]).counts.scored == 30
    assert backlog(dated) == ('["seq", 100]', '["seq", 91]')
    clock.set(1000)
    assert night(dated, "2", **NEWEST).counts.scored == 70


@pytest.mark.parametrize("is_apart", [False, True])
@pytest.mark.parametrize("seed", seeds(1, 3))
def test_nights_that_end_by_minutes_at_any_chunk_lose_no_review_and_double_none(
    warehouse: Warehouse, clock: Clock, tmp_path: Path, seed: int, is_apart: bool
) -> None:
    """Reviews are inserted late, changed, and inserted while they are scored; only the cursor finds what is left."""
    draw = random.Random(seed)  # noqa: S311 reproducible, not secret
    if is_apart:
        warehouse.target = make_engine(f"sqlite:///{tmp_path / 'scores.db'}")
    warehouse.job = warehouse.job.replace(
        cursor_column="seq", updated_at_column="changed", cursor_lookback=5, full_pass_days=1000
    )
    warehouse.create(extra=", changed INTEGER, seq INTEGER")
    now, ids = 0, iter(draw.sample(range(10_000), 2000))
    texts: dict[int, str] = {}

    def disturb(most: int) -> None:
        nonlocal now
        for _ in range(draw.randrange(0, most)):
            now += draw.randrange(0, 2)
            id_ = draw.choice(list(texts)) if texts and draw.random() < 0.2 else next(ids)
            seq = draw.choice((None, now, now, now, now - draw.randrange(0, 5)))
            change = "UPDATE reviews SET body = :body, changed = :now WHERE id = :id"
            values: dict[str, Any] = {"id": id_, "body": f"avis {id_} de {now} {draw.random()}", "now": now}
            if id_ in texts:
                warehouse.run(change, **values)
            else:
                warehouse.run("INSERT INTO reviews VALUES (:id, :body, :now, :seq)", **values, seq=seq)
            texts[id_] = values["body"]

    def count_and_disturb(_: Sequence[str]) -> None:
        clock.chunks -= 1
        disturb(3)

    for number in range(14):
        disturb(60)
        options: dict[str, Any] = {
            "order": draw.choice(list(Order)),
            "limit": draw.choice((None, None, 40)),
            "minutes": 10,
        }
        shards = plan(warehouse, f"night {number}", most=draw.choice((1, 3)), **options)
        for index, shard in enumerate(shards):
            clock.set(draw.choice((0, 1, 2, 5, 100)))
            warehouse.classifier.before_batch = count_and_disturb
            warehouse.score(f"night {number}", shard=shard, map_index=index, chunk_rows=7)
        finish(warehouse, shards, f"night {number}")
    clock.set(1_000_000)
    for name in ("last", "compare again"):
        night(warehouse, name, **NEWEST)
    found = warehouse.scores()
    assert found.keys() == {str(id_) for id_ in texts}
    assert {id_: text_hash(body) for id_, body in texts.items()} == {
        int(id_): row.text_hash for id_, row in found.items()
    }
    assert len(warehouse.classifier.calls) == len(set(warehouse.classifier.calls))
