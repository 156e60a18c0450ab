"""A run counts each row once, however often it fails, is cleared or yields, and whatever the source holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from review_scoring.errors import YieldedError
from review_scoring.job import Rescore
from review_scoring.request import RunKey
from review_scoring.run import reader as reading
from review_scoring.run.finishing import finish_run
from review_scoring.run.planning import plan_run
from review_scoring.warehouse.selection.shards import ShardLimits
from tests.run.nights import finish, night, plan
from tests.stubs import MODEL, StubClassifier, Warehouse, asked

OTHER = replace(MODEL, revision="1" * 64)


class StoppedError(Exception):
    """Ends a run at one text."""


def stopping_at(text: str) -> StubClassifier:
    def before_batch(texts: Sequence[str]) -> None:
        if text in texts:
            raise StoppedError

    return StubClassifier(before_batch=before_batch)


def fail_at(warehouse: Warehouse, text: str, run_id: str, rescore: Rescore = Rescore.NOTHING, **options: Any) -> None:
    """Have a run fail at one text; the next try of it will not."""
    warehouse.classifier = stopping_at(text)
    with pytest.raises(StoppedError):
        warehouse.score(run_id, rescore, chunk_rows=1, **options)
    warehouse.classifier = StubClassifier()


def with_repeats(warehouse: Warehouse) -> None:
    """Create four rows, two of which have one id."""
    warehouse.create("INTEGER")
    warehouse.insert((1, "a"), (1, "b"), (2, "c"), (3, "d"))
    warehouse.score("night")


UNDISTURBED = "read=4 scored=1 unchanged=2 rejected=1"


def test_repeated_ids_are_counted_once_by_a_rescore_that_is_tried_again(warehouse: Warehouse) -> None:
    with_repeats(warehouse)
    warehouse.run("UPDATE reviews SET body = 'new' WHERE id = 3")
    fail_at(warehouse, "new", "rescore", Rescore.CHANGED)
    assert str(warehouse.score("rescore", Rescore.CHANGED, chunk_rows=1).counts) == UNDISTURBED


def test_repeated_ids_are_counted_once_by_a_rescore_that_yields(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_repeats(warehouse)
    warehouse.run("UPDATE reviews SET body = 'new' WHERE id = 3")
    ledger, night = warehouse.prepare().ledger, RunKey("dag", "score", "night 2")
    assert ledger is not None
    ready: Callable[..., object] = reading.Reader._ready
    calls: list[int] = []

    def night_comes(self: reading.Reader, chunk: object) -> object:
        calls.append(1)
        if len(calls) == 2:
            ledger.preemption.request(night)
        return ready(self, chunk)

    with monkeypatch.context() as patched, pytest.raises(YieldedError):
        patched.setattr(reading.Reader, "_ready", night_comes)
        warehouse.score("rescore", Rescore.CHANGED, chunk_rows=1, yields=True)
    ledger.preemption.withdraw(night)
    assert str(warehouse.score("rescore", Rescore.CHANGED, chunk_rows=1, yields=True).counts) == UNDISTURBED


def test_repeated_ids_are_counted_once_by_a_rescore_that_is_planned_anew(warehouse: Warehouse) -> None:
    if warehouse.engine.dialect.name in {"sqlite", "duckdb"}:
        pytest.skip("these databases take one writer, and get one shard")
    with_repeats(warehouse)
    warehouse.run("UPDATE reviews SET body = 'new' WHERE id = 3")
    key = RunKey("dag", "score", "rescore")
    shards = plan_run(warehouse.prepare(), asked(key, rescore=Rescore.CHANGED), ShardLimits(most=2, least=1))
    assert len(shards) == 2
    warehouse.score("rescore", Rescore.CHANGED, shards[0], map_index=0)
    fail_at(warehouse, "new", "rescore", Rescore.CHANGED, shard=shards[1], map_index=1)
    anew = plan_run(warehouse.prepare(), asked(key, rescore=Rescore.CHANGED), ShardLimits(most=1, least=1))
    warehouse.score("rescore", Rescore.CHANGED, anew[0], map_index=0)
    ledger = warehouse.prepare().ledger
    assert ledger is not None
    assert str(finish_run(ledger, key, anew).counts) == UNDISTURBED


@pytest.fixture
def timed(warehouse: Warehouse) -> Warehouse:
    """Three scored reviews with an `updated_at`, which the first one has lost."""
    warehouse.job = warehouse.job.replace(updated_at_column="changed")
    warehouse.create(extra=", changed VARCHAR(20)")
    warehouse.insert((1, "a"), (2, "b"), (3, "c"))
    warehouse.run("UPDATE reviews SET changed = 'x'")
    warehouse.score("night")
    warehouse.run("UPDATE reviews SET changed = NULL WHERE id = 1")
    return warehouse


def test_a_row_without_a_time_is_compared_by_its_hash_once_in_each_rescore(timed: Warehouse) -> None:
    told = [str(timed.score(f"rescore {n}", Rescore.CHANGED).counts) for n in range(3)]
    assert told == ["read=1 scored=0 unchanged=1 rejected=0"] * 3


def test_a_row_without_a_time_is_counted_once_by_a_rescore_that_is_tried_again(timed: Warehouse) -> None:
    timed.run("UPDATE reviews SET body = 'new', changed = 'y' WHERE id = 3")
    timed.run("UPDATE reviews SET changed = 'y' WHERE id = 2")
    fail_at(timed, "new", "rescore", Rescore.CHANGED)
    counts = timed.score("rescore", Rescore.CHANGED, chunk_rows=1).counts
    assert str(counts) == "read=3 scored=1 unchanged=2 rejected=0"


def test_a_text_that_changed_and_never_had_a_time_is_scored_again(timed: Warehouse) -> None:
    timed.score("rescore 1", Rescore.CHANGED)
    timed.run("UPDATE reviews SET body = 'new' WHERE id = 1")
    assert timed.score("rescore 2", Rescore.CHANGED).counts.scored == 1


def test_repeated_ids_with_several_times_are_counted_once(warehouse: Warehouse) -> None:
    warehouse.job = warehouse.job.replace(updated_at_column="changed")
    warehouse.create("INTEGER", extra=", changed VARCHAR(20)")
    warehouse.run("INSERT INTO reviews VALUES (1, 'a', 'x'), (1, 'b', 'y'), (2, 'c', 'x')")
    warehouse.score("night")
    warehouse.run("UPDATE reviews SET body = 'new', changed = 'z' WHERE id = 2")
    fail_at(warehouse, "new", "rescore", Rescore.CHANGED)
    counts = warehouse.score("rescore", Rescore.CHANGED, chunk_rows=1).counts
    assert str(counts) == "read=3 scored=1 unchanged=1 rejected=1"


def test_a_limited_rescore_by_hash_gets_behind_what_is_unchanged(warehouse: Warehouse) -> None:
    warehouse.create()
    warehouse.fill(9)
    warehouse.score("night")
    warehouse.run("UPDATE reviews SET body = 'new' WHERE id IN (5, 7, 9)")
    told = [str(warehouse.score(f"rescore {n}", Rescore.CHANGED, limit=2, chunk_rows=4).counts) for n in range(3)]
    assert told == [
        "read=7 scored=2 unchanged=5 rejected=0",
        "read=9 scored=1 unchanged=8 rejected=0",
        "read=9 scored=0 unchanged=9 rejected=0",
    ]


def test_a_reject_belongs_to_the_model_that_rejected_it_whatever_its_run_went_on_with(warehouse: Warehouse) -> None:
    warehouse.create()
    warehouse.insert((1, ""), (2, "b"))
    fail_at(warehouse, "b", "night")
    warehouse.score("night", model=OTHER, chunk_rows=1)
    assert warehouse.rejects()["1"].revision == MODEL.revision
    assert (
        str(warehouse.score("again", Rescore.REVISION, model=OTHER).counts) == "read=1 scored=0 unchanged=0 rejected=1"
    )
    assert warehouse.rejects()["1"].attempts == 2


def test_rows_without_an_id_stay_in_the_counts_of_a_run_with_a_cursor_that_is_run_again(warehouse: Warehouse) -> None:
    warehouse.job = warehouse.job.replace(cursor_column="seq", cursor_lookback=0)
    warehouse.create("INTEGER", extra=", seq INTEGER")
    warehouse.run("INSERT INTO reviews VALUES (1, 'a', 1), (2, 'b', 2), (3, 'c', 3), (NULL, 'd', 4)")
    first = warehouse.score("night").counts
    assert str(first) == "read=4 scored=3 unchanged=0 rejected=1"
    assert str(warehouse.score("night").counts) == str(first)


def test_rows_that_repeat_an_id_do_not_use_up_the_limit_of_a_run_that_is_tried_again(warehouse: Warehouse) -> None:
    warehouse.create("INTEGER")
    warehouse.insert((1, "a"), (1, "b"), (1, "c"), (2, "d"), (3, "e"), (4, "f"))
    fail_at(warehouse, "d", "night", limit=3)
    assert warehouse.score("night", limit=3, chunk_rows=1).counts.scored == 3


def test_a_run_that_is_run_again_with_its_budget_used_up_keeps_what_it_has_counted(warehouse: Warehouse) -> None:
    warehouse.create("INTEGER")
    warehouse.fill(5)
    warehouse.insert((None, "sans id"), (None, "sans id"))
    shards = plan(warehouse, limit=3)
    counts = [str(warehouse.score("night", shard=shards[0], map_index=0).counts) for _ in range(2)]
    assert counts == ["read=5 scored=3 unchanged=0 rejected=2"] * 2
    assert str(finish(warehouse, shards).counts) == counts[0]


def test_a_rescore_that_is_run_again_with_its_budget_used_up_keeps_what_it_found_unchanged(
    warehouse: Warehouse,
) -> None:
    warehouse.create()
    warehouse.fill(9)
    warehouse.score("night")
    warehouse.run("UPDATE reviews SET body = 'new' WHERE id IN (5, 7, 9)")
    (shard,) = plan(warehouse, "rescore", rescore=Rescore.CHANGED, limit=2)
    counts = [str(warehouse.score("rescore", shard=shard, map_index=0, chunk_rows=4).counts) for _ in range(2)]
    assert counts == ["read=7 scored=2 unchanged=5 rejected=0"] * 2


def test_a_run_that_is_run_again_after_its_minutes_keeps_what_it_has_counted(warehouse: Warehouse) -> None:
    warehouse.create("TEXT")
    warehouse.insert(("a", "un"), ("b" * 300, "deux"), ("c", "trois"), (None, "sans id"))
    (shard,) = plan(warehouse, minutes=10)
    first = warehouse.score("night", shard=shard, map_index=0).counts
    assert str(first) == "read=4 scored=2 unchanged=0 rejected=2"
    late = replace(shard, deadline=datetime(2026, 1, 1, tzinfo=UTC))
    assert str(warehouse.score("night", shard=late, map_index=0).counts) == str(first)
    assert str(finish(warehouse, [late]).counts) == str(first)


@pytest.mark.parametrize("limit", [None, 10])
def test_a_quiet_night_counts_the_rows_without_an_id_whatever_its_budget(
    warehouse: Warehouse, limit: int | None
) -> None:
    warehouse.create("INTEGER")
    warehouse.insert((1, "a"), (None, "sans id"))
    night(warehouse, "1", limit=limit)
    assert str(night(warehouse, "2", limit=limit).counts) == "read=1 scored=0 unchanged=0 rejected=1"
    assert str(warehouse.score("3", limit=limit).counts) == "read=1 scored=0 unchanged=0 rejected=1"
    assert str(warehouse.score("3", limit=limit).counts) == "read=1 scored=0 unchanged=0 rejected=1"
