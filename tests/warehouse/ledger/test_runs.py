"""The row of a run: what it was asked to do, the counts of its shards, and a state that is not green too early."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from functools import reduce
from operator import add

import pytest

from review_scoring.errors import UnaccountedError
from review_scoring.job import Rescore
from review_scoring.request import KeyRange, RunKey, TimeRange
from review_scoring.run.finishing import finish_one_shard, finish_run
from review_scoring.run.planning import plan_one_shard, plan_run
from review_scoring.warehouse.ledger.counts import Counts
from review_scoring.warehouse.schema import ABANDONED, FAILED, RUNNING, SUCCESS, YIELDED
from review_scoring.warehouse.selection.shards import ShardLimits
from tests.stubs import Warehouse, asked
from tests.warehouse.history.reading import read_runs

KEY = RunKey("dag", "score", "night")


@pytest.fixture
def filled(warehouse: Warehouse) -> Warehouse:
    warehouse.create()
    warehouse.fill(20)
    warehouse.insert((21, None))
    return warehouse


def test_a_run_records_what_it_was_asked_to_do(filled: Warehouse) -> None:
    scored = TimeRange(datetime(2026, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))
    filled.score("1")
    filled.score("2", Rescore.ALL, keys=KeyRange(3, 9), scored=scored, limit=4)
    first, second = filled.runs()
    assert (first.dag_id, first.task_id, first.dag_run_id, first.shards) == ("dag", "score", "1", 1)
    assert (first.rescore, first.key_after, first.key_upto, first.max_reviews) == ("nothing", None, None, None)
    assert (second.rescore, second.key_after, second.key_upto, second.max_reviews) == ("all", "3", "9", 4)
    assert (second.scored_since, second.scored_until) == (scored.since, scored.until)
    assert (second.state, second.scored) == (SUCCESS, 4)


def test_a_planned_run_has_the_counts_of_its_shards_and_succeeds_when_they_were_compared(filled: Warehouse) -> None:
    prepared = filled.prepare()
    shards = plan_run(prepared, asked(KEY), ShardLimits(most=3, least=1))
    (planned,) = filled.runs()
    assert (planned.state, planned.shards, planned.read) == (RUNNING, len(shards), 0)
    for number, shard in enumerate(shards):
        filled.score("night", shard=shard, map_index=number)
        (run,) = filled.runs()
        assert (run.state, run.ended_at) == (RUNNING, None)
        assert Counts.from_row(run) == reduce(add, map(Counts.from_row, filled.shards()), Counts())
    report = finish_run(prepared.existing_ledger, KEY, shards)
    (run,) = filled.runs()
    assert (run.state, Counts.from_row(run)) == (SUCCESS, report.counts)
    assert run.ended_at >= max(shard.ended_at for shard in filled.shards())
    assert (run.key_after, run.key_upto) == (None, None), "a shard's range is not the run's"


def test_a_run_whose_counts_differ_from_the_tables_has_failed(filled: Warehouse) -> None:
    prepared = filled.prepare()
    shards = plan_run(prepared, asked(KEY), ShardLimits(most=1))
    filled.score("night", shard=shards[0], map_index=0)
    filled.run("DELETE FROM review_scores WHERE review_id = '7'")
    with pytest.raises(UnaccountedError):
        finish_run(prepared.existing_ledger, KEY, shards)
    assert [run.state for run in filled.runs()] == [FAILED]


def test_a_run_that_is_finished_without_a_shard_has_failed(filled: Warehouse) -> None:
    prepared = filled.prepare()
    shards = plan_run(prepared, asked(KEY), ShardLimits(most=1))
    with pytest.raises(UnaccountedError, match="these are not done: 0"):
        finish_run(prepared.existing_ledger, KEY, shards)
    assert [(run.state, run.ended_at is None) for run in filled.runs()] == [(FAILED, False)]


def test_a_shard_that_only_an_earlier_plan_had_is_counted_but_does_not_decide_the_state(filled: Warehouse) -> None:
    prepared = filled.prepare()
    ledger = prepared.existing_ledger
    ledger.shards.plan(asked(KEY), 3)
    filled.score("night", shard=plan_one_shard(prepared, asked(KEY, limit=9)), map_index=0)
    for number, state in ((1, SUCCESS), (2, FAILED)):
        ledger.leases.end(ledger.leases.take(asked(replace(KEY, map_index=number))), state)
    assert [run.state for run in filled.runs()] == [FAILED]
    shards = plan_run(prepared, asked(KEY), ShardLimits(most=1))
    filled.score("night", shard=shards[0], map_index=0)
    assert [(run.state, run.read) for run in filled.runs()] == [(RUNNING, 21)]
    finish_run(ledger, KEY, shards)
    assert [(run.state, run.shards) for run in filled.runs()] == [(SUCCESS, 1)]
    (shown,) = read_runs(filled)
    assert (shown.state, shown.shards, shown.shards_done, shown.counts.read) == (SUCCESS, 1, 1, 21)


def test_a_task_that_scored_alone_before_its_run_was_planned_does_not_decide_the_state(filled: Warehouse) -> None:
    """Its DAG was changed, and the DAG run cleared."""
    prepared = filled.prepare()
    ledger = prepared.existing_ledger
    ledger.leases.end(ledger.leases.take(asked(KEY)), FAILED)
    assert [run.state for run in filled.runs()] == [FAILED]
    shards = plan_run(prepared, asked(KEY), ShardLimits(most=1))
    filled.score("night", shard=shards[0], map_index=0)
    assert [run.state for run in filled.runs()] == [RUNNING]


def test_tasks_that_are_mapped_without_a_plan_succeed_when_the_last_of_them_does(filled: Warehouse) -> None:
    ledger = filled.prepare().existing_ledger
    ledger.leases.end(ledger.leases.take(asked(replace(KEY, map_index=1))), FAILED)
    filled.score("night", map_index=0)
    assert [(run.state, run.shards) for run in filled.runs()] == [(FAILED, 2)]
    filled.score("night", map_index=1)
    assert [(run.state, run.shards) for run in filled.runs()] == [(SUCCESS, 2)]


def test_a_failed_comparison_stays_until_a_shard_begins_again(filled: Warehouse) -> None:
    prepared = filled.prepare()
    ledger, second = prepared.existing_ledger, asked(replace(KEY, map_index=1))
    ledger.shards.plan(asked(KEY), 2)
    shards = [plan_one_shard(prepared, asked(KEY)), plan_one_shard(prepared, asked(KEY))]
    filled.score("night", shard=shards[0], map_index=0)
    slow = ledger.leases.take(second)
    with pytest.raises(UnaccountedError, match="these are not done: 1"):
        finish_run(ledger, KEY, shards)  # the task was marked as success in Airflow, and its worker goes on
    (failed,) = filled.runs()
    ledger.leases.end(slow, SUCCESS)
    (run,) = filled.runs()
    assert (run.state, run.ended_at) == (FAILED, failed.ended_at)
    lease = ledger.leases.take(second)
    assert [(run.state, run.ended_at) for run in filled.runs()] == [(RUNNING, None)]
    ledger.leases.end(lease, SUCCESS)
    finish_run(ledger, KEY, shards)
    assert [run.state for run in filled.runs()] == [SUCCESS]


def test_a_task_without_a_plan_whose_counts_differ_fails_its_run_until_it_is_tried_again(filled: Warehouse) -> None:
    prepared = filled.prepare()
    first = asked(replace(KEY, map_index=0))
    shard = plan_one_shard(prepared, first)
    filled.score("night", shard=shard, map_index=0)
    filled.run("DELETE FROM review_scores WHERE review_id = '7'")
    with pytest.raises(UnaccountedError, match="rows unaccounted for"):
        finish_one_shard(prepared.existing_ledger, first, shard)
    assert [run.state for run in filled.runs()] == [FAILED]
    assert filled.score("night", map_index=1).counts.scored == 1
    assert [run.state for run in filled.runs()] == [FAILED], "its sibling has succeeded"
    filled.score("night", map_index=0)
    assert [run.state for run in filled.runs()] == [SUCCESS]


@pytest.mark.parametrize("state", [FAILED, YIELDED])
def test_a_run_has_the_state_in_which_its_shard_ended_until_another_try(filled: Warehouse, state: str) -> None:
    ledger = filled.prepare().existing_ledger
    for again in range(2):
        lease = ledger.leases.take(asked(KEY))
        assert [run.state for run in filled.runs()] == [RUNNING]
        ledger.leases.end(lease, state)
        assert [run.state for run in filled.runs()] == [state], again


def test_a_run_that_another_one_has_taken_over_has_failed(filled: Warehouse) -> None:
    ledger = filled.prepare().existing_ledger
    ledger.leases.take(asked(KEY))
    filled.run("UPDATE scoring_shards SET lease_until = '2026-01-01 00:00:00.000000'")
    ledger.leases.take(asked(replace(KEY, dag_run_id="another")))
    assert [(run.dag_run_id, run.state) for run in filled.runs()] == [("night", FAILED), ("another", RUNNING)]
    assert [shard.state for shard in filled.shards()] == [ABANDONED, RUNNING]


def test_a_run_that_ends_while_another_one_takes_it_over_has_succeeded(filled: Warehouse) -> None:
    """Its lease has expired, but its worker lives."""
    if filled.engine.dialect.name in {"sqlite", "duckdb"}:
        pytest.skip("one process at a time writes")
    ledger = filled.prepare().existing_ledger
    slow = ledger.leases.take(asked(KEY))
    filled.run("UPDATE scoring_shards SET lease_until = '2026-01-01 00:00:00.000000'")

    def overlap(*_: object) -> bool:
        ledger.leases.end(slow, SUCCESS)
        return True

    ledger.leases.take(asked(replace(KEY, dag_run_id="another")), overlap=overlap)
    assert [shard.state for shard in filled.shards()] == [SUCCESS, RUNNING]


def test_a_model_has_one_row_however_many_runs_and_jobs_use_it(filled: Warehouse) -> None:
    filled.score("1")
    filled.fill(3, first=100)
    filled.score("2")
    filled.job = filled.job.replace(name="books")
    filled.score("3")
    assert len(filled.run("SELECT id FROM scored_models")) == 1
